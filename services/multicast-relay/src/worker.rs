//! The engine of one worker thread, which owns a disjoint set of groups: it sequences messages, hands them to the log, and
//! sends what is durable.

mod audience;
mod command;
mod completions;
mod group;
mod handle;
mod outlet;
mod reply;
mod rosters;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    net::SocketAddrV4,
    sync::Arc,
    time::{Duration, Instant},
};

use gaung_engine::{
    ClaimHasher, ClockWatch, Cookies, DEFAULT_WINDOW_BYTES, Rate, RefuseReason, RepairShares, RequestId, Transmit,
};
use gaung_log::{Append, Done, Log};
use gaung_net::{
    SenderAddr, SocketError,
    driver::{Drive, SocketChange, SocketId},
    interface::Link,
};
use gaung_proto::{Epoch, GroupId};
use tracing::{info, warn};

use crate::{
    clock,
    failed_openings::FailedOpenings,
    metrics::RelayFigures,
    sockets::{DataPlane, DriverRole},
};

pub(crate) use self::{
    command::{AttachGroup, ReceivedDatagram, SessionsReport, WorkerCommand, WorkerPublish},
    completions::Completions,
    handle::{WorkerHandle, WorkerHandles},
    reply::{PublishOutcome, PublishReply},
};
use self::{completions::AppendCompletion, group::WorkerGroup};

/// Shared state and settings of all workers.
#[derive(Debug, Clone)]
pub(crate) struct WorkerContext {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) completions: Arc<Completions>,
    pub(crate) failed_openings: Arc<FailedOpenings>,
    pub(crate) figures: RelayFigures,
    pub(crate) cookies: Cookies,
    pub(crate) repair_shares: RepairShares,
    /// Hashes publishers' proofs, by which a client window knows its owner.
    pub(crate) claims: ClaimHasher,
    /// Whether a device that a datagram names is believed. It proves none, so where it is not believed, its author has none.
    pub(crate) believes_devices: bool,
    /// Bytes of the client windows of all of this worker's groups.
    pub(crate) window_bytes: usize,
    pub(crate) repair_bytes: usize,
    pub(crate) rate: Rate,
    /// Whether DATA is padded to one length, see [`gaung_engine::SenderConfig::pads`].
    pub(crate) pads: bool,
}

/// The engine of one worker thread.
#[derive(Debug)]
pub(crate) struct Worker {
    context: WorkerContext,
    plane: Arc<DataPlane>,
    /// Addresses of the relay's own sockets, whose datagrams in text groups are ignored.
    own_addrs: BTreeSet<SocketAddrV4>,
    groups: HashMap<GroupId, WorkerGroup>,
    /// Groups that changed in this turn and must be flushed.
    touched: BTreeSet<GroupId>,
    timers: BTreeSet<(Instant, GroupId)>,
    outbox: WorkerOutbox,
    sockets: TextSockets,
    next_request: u64,
    clock: ClockWatch,
    next_expiry: Instant,
    next_window_check: Instant,
    /// Bytes of all groups' client windows, as last added to the metrics.
    window_bytes: usize,
    /// A time in the past, which as a deadline means "at once".
    began: Instant,
}

/// Time between two searches for clients that were silent for a day.
const EXPIRY: Duration = Duration::from_secs(60);
/// Time between two checks of the memory of all client windows together.
const WINDOW_CHECK: Duration = Duration::from_secs(1);

impl Worker {
    pub(crate) fn new(context: WorkerContext, plane: Arc<DataPlane>, now: Instant) -> Self {
        let mut worker = Self {
            context,
            plane: Arc::default(),
            own_addrs: BTreeSet::new(),
            groups: HashMap::new(),
            touched: BTreeSet::new(),
            timers: BTreeSet::new(),
            outbox: WorkerOutbox::default(),
            sockets: TextSockets::default(),
            next_request: 0,
            clock: ClockWatch::default(),
            next_expiry: now + EXPIRY,
            next_window_check: now + WINDOW_CHECK,
            window_bytes: 0,
            began: now,
        };
        worker.handle_sockets(plane);
        worker
    }

    /// Switches to other sockets. Groups keep their state: later datagrams leave through the new sockets, and text
    /// groups are joined on the new links.
    fn handle_sockets(&mut self, plane: Arc<DataPlane>) {
        self.sockets.changes.extend(plane.changes(&self.plane, DriverRole::Send));
        self.own_addrs = plane.addrs().map(|(_, addr)| addr).collect();
        if plane.links() != self.plane.links() {
            // Memberships belong to interfaces, so on new ones each group is joined again.
            let hearing = self.groups.values().filter_map(|group| Some((group.socket?, group.config.addr)));
            for (id, addr) in hearing {
                self.sockets.relink(id, addr.socket_addr(), plane.links());
            }
        }
        self.plane = plane;
        let bytes = self.plane.data_body();
        self.groups.values_mut().for_each(|group| group.outlet.set_data_body(bytes));
    }

    fn attach(&mut self, now: Instant, attach: AttachGroup) {
        let id = attach.config.id;
        self.detach(id);
        let socket = match WorkerGroup::hears_text(&attach.config) {
            true => Some(self.sockets.open(id, attach.config.addr.socket_addr(), self.plane.links())),
            false => None,
        };
        let mut group = WorkerGroup::new(attach, socket, &self.context, now);
        group.outlet.set_data_body(self.plane.data_body());
        self.groups.insert(id, group);
        self.touched.insert(id);
        self.context.figures.groups.inc();
    }

    fn detach(&mut self, id: GroupId) {
        let Some(mut group) = self.groups.remove(&id) else { return };
        group.abandon(&self.context.figures);
        if let Some(at) = group.timer {
            self.timers.remove(&(at, id));
        }
        if let Some(socket) = group.socket {
            self.sockets.close(socket);
        }
        self.context.figures.groups.dec();
    }

    fn publish(&mut self, publish: WorkerPublish) {
        let WorkerPublish { group, log, batch, reply } = publish;
        // The log was begun anew while the request was on its way; sent again it is checked against that one.
        let Some(group) = self.groups.get_mut(&group).filter(|group| group.identity.log == log) else {
            reply.send(Err(RefuseReason::Unavailable));
            return;
        };
        let request = RequestId(self.next_request);
        self.next_request += 1;
        group.publish(clock::sent_at(), request, &batch, reply);
        self.touched.insert(group.identity.group);
    }

    /// Moves sequenced messages to the log, and durable ones to members and publishers, until nothing is left to do.
    fn pump(&mut self, now: Instant) {
        loop {
            for AppendCompletion { group: id, epoch, runs, durable } in self.context.completions.take() {
                // The group was opened again meanwhile, with a log that has these runs or not: publishers send again what was not acknowledged.
                let Some(group) = self.groups.get_mut(&id).filter(|group| group.identity.epoch == epoch) else {
                    continue;
                };
                group.handle_appended(now, runs, durable, &self.context.figures);
                self.touched.insert(id);
            }
            let touched = std::mem::take(&mut self.touched);
            for id in touched {
                self.drain(now, id);
            }
            if self.context.completions.is_empty() {
                return;
            }
        }
    }

    /// Drains a group's outputs after its inputs of this turn.
    fn drain(&mut self, now: Instant, id: GroupId) {
        let groups = self.groups.len();
        let Some(group) = self.groups.get_mut(&id) else { return };
        group.outlet.set_groups(groups);
        group.handle_events(now, &self.context.figures);
        let epoch = group.identity.epoch;
        // An append failed. What the log holds is known only once it is opened again.
        if group.is_over() {
            self.detach(id);
            self.context.failed_openings.report(id, epoch);
            return;
        }
        let appends = group.take_appends();
        if !appends.is_empty() {
            self.append(now, id, epoch, appends);
        }
        let Some(group) = self.groups.get_mut(&id) else { return };
        group.flush(now, &self.context.figures, |transmit| self.outbox.push(transmit, &self.context.figures));
        let due = group.poll_timeout();
        if due != group.timer {
            if let Some(at) = group.timer {
                self.timers.remove(&(at, id));
            }
            group.timer = due;
            self.timers.extend(due.map(|at| (at, id)));
        }
    }

    fn append(&self, now: Instant, group: GroupId, epoch: Epoch, appends: Vec<Append>) {
        let completions = Arc::clone(&self.context.completions);
        let figures = self.context.figures.clone();
        let runs = appends.len();
        let done: Done = Box::new(move |outcome| {
            if let Err(error) = &outcome {
                warn!(%group, %error, "append failed");
            }
            figures.observe_append(now.elapsed());
            completions.add(AppendCompletion { group, epoch, runs, durable: outcome.is_ok() });
        });
        // `pump`, which this is a part of, goes on until there are no completions.
        self.context.completions.before_looking(|| self.context.log.append(appends, done));
    }

    fn expire(&mut self, now: Instant) {
        if now >= self.next_expiry {
            self.next_expiry = now + EXPIRY;
            let now_unix_ms = clock::unix_ms();
            let set_forward_ms = self.clock.observe(clock::uptime(), now_unix_ms);
            self.groups.values_mut().for_each(|group| group.expire_clients(now_unix_ms, set_forward_ms));
        }
        if now >= self.next_window_check {
            self.next_window_check = now + WINDOW_CHECK;
            self.share_windows();
        }
    }

    /// Evicts clients from the largest windows if all windows together exceed their memory.
    fn share_windows(&mut self) {
        let mut sizes: Vec<usize> = self.groups.values().map(WorkerGroup::window_bytes).collect();
        let limit = fair_limit(&mut sizes, self.context.window_bytes).min(DEFAULT_WINDOW_BYTES);
        let mut bytes = 0;
        for group in self.groups.values_mut() {
            group.limit_windows(limit, &self.context.figures);
            bytes += group.window_bytes();
        }
        let before = std::mem::replace(&mut self.window_bytes, bytes);
        self.context.figures.client_window_bytes.inc_by(bytes as i64 - before as i64);
    }
}

impl Drive for Worker {
    type Command = WorkerCommand;

    fn handle_command(&mut self, now: Instant, command: WorkerCommand) {
        match command {
            WorkerCommand::Attach(attach) => self.attach(now, *attach),
            WorkerCommand::Move { group: id, to } => {
                if let Some(group) = self.groups.get_mut(&id) {
                    group.outlet.handle_move(now, to);
                    self.touched.insert(id);
                }
            }
            WorkerCommand::Detach { group, done } => {
                self.detach(group);
                let _ = done.send(());
            }
            WorkerCommand::Publish(publish) => self.publish(publish),
            WorkerCommand::PublishAll(all) => all.into_iter().for_each(|publish| self.publish(publish)),
            WorkerCommand::Datagram(datagram) => {
                let request = RequestId(self.next_request);
                self.next_request += 1;
                if let Some(group) = self.groups.get_mut(&datagram.group) {
                    group.handle_datagram(now, request, &datagram, &self.context);
                    self.touched.insert(datagram.group);
                }
            }
            WorkerCommand::Completed => {}
            WorkerCommand::Sessions(SessionsReport { group: id, log, reporter, sessions }) => {
                if let Some(group) = self.groups.get_mut(&id).filter(|group| group.identity.log == log) {
                    group.outlet.handle_sessions(now, reporter, &sessions);
                    self.touched.insert(id);
                }
            }
            WorkerCommand::Members { group, reply } => {
                // A group that ended meanwhile has no members; dropping the reply says so.
                if let Some(known) = self.groups.get_mut(&group) {
                    known.rosters.request(reply);
                    self.touched.insert(group);
                }
            }
            WorkerCommand::Oldest { group, oldest } => {
                if let Some(group) = self.groups.get_mut(&group) {
                    group.outlet.set_oldest_logged(oldest);
                }
            }
            WorkerCommand::Sockets(plane) => self.handle_sockets(plane),
        }
    }

    fn handle_datagram(&mut self, _now: Instant, socket: SocketId, from: SenderAddr, bytes: &[u8]) {
        if self.own_addrs.contains(&from.0) || bytes.is_empty() {
            return;
        }
        let Some(id) = self.sockets.group_of(socket) else { return };
        let Some(group) = self.groups.get_mut(&id) else { return };
        self.context.figures.text_datagrams_received.inc();
        let request = RequestId(self.next_request);
        self.next_request += 1;
        group.log_stranger(clock::sent_at(), request, from.0, bytes);
        self.touched.insert(id);
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.timers.first().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, id));
            if let Some(group) = self.groups.get_mut(&id) {
                group.timer = None;
                group.outlet.handle_timeout(now);
                self.touched.insert(id);
            }
        }
        self.expire(now);
        self.pump(now);
    }

    fn handle_socket(&mut self, _now: Instant, socket: SocketId, outcome: Result<Vec<Link>, SocketError>) {
        let group = self.sockets.group_of(socket);
        match (group, outcome) {
            (Some(group), Err(error)) => {
                warn!(%group, %error, "text group cannot be heard; messages to it still leave")
            }
            (Some(group), Ok(failed)) => {
                for link in failed {
                    warn!(%group, interface = link.name, "text group cannot be joined on this interface");
                }
                info!(%group, "text group joined");
            }
            (None, _) => {}
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop()
    }

    fn poll_socket_change(&mut self) -> Option<SocketChange> {
        self.sockets.changes.pop_front()
    }

    /// Touched groups are drained once a turn, after all commands and datagrams of it, so that requests that arrived together
    /// share a run and their messages a datagram.
    fn poll_timeout(&self) -> Option<Instant> {
        if !self.touched.is_empty() || !self.context.completions.is_empty() {
            return Some(self.began);
        }
        let first = self.timers.first().map(|&(at, _)| at);
        let next = self.next_expiry.min(self.next_window_check);
        Some(first.map_or(next, |at| at.min(next)))
    }
}

/// Returns the max-min fair limit under which `sizes` fit `budget`: what small ones leave goes to the large ones.
fn fair_limit(sizes: &mut [usize], budget: usize) -> usize {
    sizes.sort_unstable();
    let mut left = budget;
    for (index, &size) in sizes.iter().enumerate() {
        let share = left / (sizes.len() - index);
        if size > share {
            return share;
        }
        left -= size;
    }
    usize::MAX
}

/// A bounded queue of datagrams that wait for the sockets. When it is full new ones are dropped, to be repaired or read from
/// the log later.
#[derive(Debug, Default)]
struct WorkerOutbox {
    waiting: VecDeque<Transmit>,
    bytes: usize,
}

/// Most bytes of datagrams that wait for full sockets.
const OUTBOX_BYTES: usize = 16 * 1024 * 1024;

impl WorkerOutbox {
    fn push(&mut self, transmit: Transmit, figures: &RelayFigures) {
        if self.bytes + transmit.payload.len() > OUTBOX_BYTES {
            figures.datagrams_dropped.inc();
            return;
        }
        self.bytes += transmit.payload.len();
        self.waiting.push_back(transmit);
    }

    fn pop(&mut self) -> Option<Transmit> {
        let transmit = self.waiting.pop_front()?;
        self.bytes -= transmit.payload.len();
        Some(transmit)
    }
}

/// The sockets that receive text groups' datagrams.
#[derive(Debug, Default)]
struct TextSockets {
    groups: BTreeMap<SocketId, GroupId>,
    next: u32,
    changes: VecDeque<SocketChange>,
}

/// Socket ids of text groups start here; lower ones are the relay's data sockets.
const FIRST_TEXT_SOCKET: u32 = 1 << 16;

impl TextSockets {
    fn open(&mut self, group: GroupId, addr: SocketAddrV4, links: &[Link]) -> SocketId {
        let id = SocketId(FIRST_TEXT_SOCKET + self.next);
        self.next += 1;
        self.groups.insert(id, group);
        self.relink(id, addr, links);
        id
    }

    fn relink(&mut self, id: SocketId, addr: SocketAddrV4, links: &[Link]) {
        self.changes.push_back(SocketChange::OpenGroup { id, group: addr, links: links.to_vec() });
    }

    fn close(&mut self, id: SocketId) {
        self.groups.remove(&id);
        self.changes.push_back(SocketChange::Close(id));
    }

    fn group_of(&self, id: SocketId) -> Option<GroupId> {
        self.groups.get(&id).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_groups_keep_all_and_large_ones_share_the_rest() {
        assert_eq!(fair_limit(&mut [], 10), usize::MAX);
        assert_eq!(fair_limit(&mut [4, 3, 3], 10), usize::MAX);
        assert_eq!(fair_limit(&mut [100, 1, 50, 2], 13), 5);
        assert_eq!(fair_limit(&mut [9, 9, 9], 10), 3);
    }
}
