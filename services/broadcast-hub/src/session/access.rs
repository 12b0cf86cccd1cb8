//! What a session reaches of the hub: its shard's context, and through it the hub's tables and links.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_engine::TicketError;
use gaung_proto::{DeviceId, GroupId, pb::relay};
use tokio::sync::{Notify, mpsc};
use tonic::Code;

use crate::{
    config::Limits,
    directory::GroupInfo,
    failure::Failure,
    group::Group,
    history::HistoryRead,
    hub::Hub,
    publish_queue::Route,
    registry::{self, Lookup},
    relays::RelayLink,
    session_core::{Counted, GroupKey, LogRead, LogReadGuard, PublishRequest, SessionHub},
};

use super::{HISTORY_AHEAD, HistoryChannel};

/// What the sessions of one shard have in common.
pub(crate) struct ShardContext {
    pub(crate) hub: Arc<Hub>,
    pub(crate) index: usize,
    pub(crate) limits: Arc<Limits>,
    /// For reading into, by one session at a time.
    pub(super) scratch: RefCell<Vec<u8>>,
    /// Which sessions are in a group.
    members: RefCell<HashMap<GroupId, HashSet<u64>>>,
    /// Relays whose queues were given something that they were not told of yet.
    submitted: RefCell<Vec<Arc<RelayLink>>>,
    submits: Notify,
    /// Of [`TURN_BYTES`].
    spent: Cell<usize>,
}

const SCRATCH_BYTES: usize = 64 * 1024;
/// Bytes written before other tasks and threads get a turn: some hundred microseconds.
const TURN_BYTES: usize = 1024 * 1024;
/// A write costs as much as to copy so many bytes more.
const WRITE_BYTES: usize = 16 * 1024;

impl ShardContext {
    pub(crate) fn new(hub: Arc<Hub>, index: usize) -> Self {
        let limits = Arc::new(hub.config.limits.clone());
        Self {
            hub,
            index,
            limits,
            scratch: RefCell::new(vec![0; SCRATCH_BYTES]),
            members: RefCell::default(),
            submitted: RefCell::default(),
            submits: Notify::new(),
            spent: Cell::new(0),
        }
    }

    /// The sessions that are in a group.
    pub(crate) fn members(&self, group: GroupId) -> Vec<u64> {
        self.members.borrow().get(&group).map(|sessions| sessions.iter().copied().collect()).unwrap_or_default()
    }

    /// Waits until requests were submitted to relays, and wakes these once for all that sessions submit in a turn of the
    /// runtime.
    pub(crate) async fn wake_relays(&self) {
        self.submits.notified().await;
        self.submitted.take().iter().for_each(|link| link.publish.wake());
    }

    /// Notes that a session has written so many bytes.
    pub(super) fn spend(&self, bytes: usize) {
        self.spent.set(self.spent.get() + bytes);
    }

    /// Whether others are due after one more session.
    pub(crate) fn ends_turn(&self) -> bool {
        let spent = self.spent.get() + WRITE_BYTES;
        let is_over = spent >= TURN_BYTES;
        self.spent.set(if is_over { 0 } else { spent });
        is_over
    }

    fn submit(&self, link: Arc<RelayLink>) {
        let mut submitted = self.submitted.borrow_mut();
        if !submitted.iter().any(|known| Arc::ptr_eq(known, &link)) {
            submitted.push(link);
        }
        self.submits.notify_one();
    }
}

/// The hub as one session reaches it.
pub(super) struct SessionAccess<'a> {
    pub(super) context: &'a ShardContext,
    pub(super) session: u64,
    pub(super) address: IpAddr,
    pub(super) history: &'a mut Option<HistoryChannel>,
}

impl SessionHub for SessionAccess<'_> {
    fn everyone(&self) -> Option<Arc<GroupInfo>> {
        self.context.hub.directory.everyone()
    }

    fn known_group(&self, key: &GroupKey) -> Option<Arc<GroupInfo>> {
        match key {
            GroupKey::Name(name) => self.context.hub.directory.by_name(name),
            GroupKey::Id(id) => self.context.hub.directory.by_id(*id),
            GroupKey::Known(info) => Some(info.clone()),
        }
    }

    fn look_up(&mut self, number: u64, key: GroupKey, ticket: Bytes) -> Result<(), Failure> {
        let ShardContext { hub, index, .. } = self.context;
        // Sessions cost an address little, so that they share what they may ask.
        let place = hub.lookups.take(self.address.into(), 1);
        let place = place.map_err(|full| Failure::new(Code::ResourceExhausted, full.to_string()))?;
        registry::look_up(hub, key, ticket, Lookup { shard: *index, session: self.session, number, place });
        Ok(())
    }

    fn check_ticket(&self, now: Instant, group: GroupId, device: DeviceId, ticket: &[u8]) -> Result<(), TicketError> {
        self.context.hub.directory.check_ticket(now, group, device, ticket)
    }

    fn ticket_time(&self, now: Instant) -> i64 {
        self.context.hub.directory.ticket_time(now)
    }

    fn owner_of(&self, stream_key: Option<[u8; 16]>) -> u64 {
        self.context.hub.owner_of(stream_key, self.address)
    }

    fn watch(&mut self, info: &Arc<GroupInfo>, ticket: &Bytes) -> Result<Arc<Group>, Failure> {
        let ShardContext { hub, index, .. } = self.context;
        let group = hub.watch(info, *index, self.address.into(), ticket);
        let group = group.map_err(|full| Failure::new(Code::ResourceExhausted, full.to_string()))?;
        self.context.members.borrow_mut().entry(info.id).or_default().insert(self.session);
        Ok(group)
    }

    fn unwatch(&mut self, group: &Arc<Group>) {
        let ShardContext { hub, index, members, .. } = self.context;
        hub.groups.unwatch(group, *index, self.address.into());
        let mut members = members.borrow_mut();
        if let Some(sessions) = members.get_mut(&group.id) {
            sessions.remove(&self.session);
            if sessions.is_empty() {
                members.remove(&group.id);
            }
        }
    }

    fn renew_ticket(&mut self, group: &Arc<Group>, ticket: &Bytes) {
        self.context.hub.keep_ticket(group, ticket);
    }

    fn audience_changed(&mut self, group: &Arc<Group>) {
        self.context.hub.audience_changed(group);
    }

    fn read_log(&mut self, read: LogRead) -> LogReadGuard {
        let hub = &self.context.hub;
        if read.is_resync {
            hub.figures.resyncs.inc();
        }
        let channel = self.history.get_or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(HISTORY_AHEAD);
            HistoryChannel { sender, receiver }
        });
        let read = HistoryRead { hub: hub.clone(), read, origin: self.address.into(), to: channel.sender.clone() };
        let task = hub.runtime.spawn(read.run()).abort_handle();
        LogReadGuard::new(move || task.abort())
    }

    fn count(&mut self, what: Counted) {
        let figures = &self.context.hub.figures;
        match what {
            Counted::Ack => figures.acks.inc(),
            Counted::LongLine => figures.long_lines.inc(),
        };
    }

    fn publish(
        &mut self,
        now: Instant,
        group: &GroupInfo,
        request: PublishRequest,
        limit: Duration,
    ) -> Result<(), Failure> {
        let ShardContext { hub, index, .. } = self.context;
        let route = Route {
            shard: *index,
            session: self.session,
            tag: request.tag,
            group: group.id,
            bytes: request.bytes,
            messages: request.entries.len(),
        };
        let request = relay::PublishRequest {
            group_id: group.id.into(),
            client_id: request.client.into(),
            device_id: request.device.into(),
            entries: request.entries,
            ticket: request.ticket,
            log_id: request.log_id,
            stream_key: request.stream_key,
            origin: octets(self.address),
        };
        let link = hub.relays.link(hub, group.relay);
        match link.publish.submit(request, route, self.address.into(), now + limit) {
            Ok(()) => {
                self.context.submit(link);
                Ok(())
            }
            Err(full) => {
                hub.figures.publish_full.inc();
                Err(Failure::new(Code::Unavailable, full.to_string()))
            }
        }
    }
}

/// The address as a relay is told where a session is.
fn octets(address: IpAddr) -> Bytes {
    match address.to_canonical() {
        IpAddr::V4(v4) => Bytes::copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) => Bytes::copy_from_slice(&v6.octets()),
    }
}
