//! What a session reaches of the hub: its shard's context, and through it the services that all sessions share.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_engine::TicketError;
use gaung_proto::{DeviceId, GroupId, pb::relay};
use service_kit::secure::PlaintextPolicy;
use tokio::sync::{Notify, mpsc};
use tonic::Code;

use crate::{
    config::Limits,
    directory::{Directory, GroupInfo},
    failure::Failure,
    followed_groups::FollowedGroups,
    group::Group,
    history::HistoryReader,
    metrics::Figures,
    page_sessions::{PageSession, PageSessions},
    publish_queue::{AnswerRoute, PublishQueue},
    registry::{GroupLookups, LookupRoute},
    relays::Relays,
    session_core::{Counted, GroupKey, LogRead, LogReadGuard, PublishRequest, SessionHub},
};

use super::{HISTORY_AHEAD, HistoryChannel};

/// What the sessions of all shards use of the hub.
pub(crate) struct SessionServices {
    pub(crate) limits: Arc<Limits>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) groups: Arc<FollowedGroups>,
    pub(crate) relays: Arc<Relays>,
    pub(crate) lookups: GroupLookups,
    pub(crate) history: Arc<HistoryReader>,
    pub(crate) numbers: SessionNumbers,
    /// From where sessions may come by plaintext, and so whether those that prove nothing are believed.
    pub(crate) plaintext: PlaintextPolicy,
    /// The page's port, which text sessions that speak HTTP are pointed to.
    pub(crate) page_port: Option<u16>,
    pub(crate) page_sessions: Arc<PageSessions>,
    pub(crate) figures: Figures,
}

/// The numbers that distinguish sessions and clients of this hub.
#[derive(Debug, Default)]
pub(crate) struct SessionNumbers {
    sessions: AtomicU64,
    text_clients: AtomicU64,
    /// Hashes stream keys and addresses to numbers that reveal nothing of them.
    owners: RandomState,
}

/// What the sessions of one shard share.
pub(crate) struct ShardContext {
    pub(crate) services: Arc<SessionServices>,
    pub(crate) index: usize,
    /// The buffer that sockets are read into, by one session at a time.
    pub(super) scratch: RefCell<Vec<u8>>,
    /// The sessions in each group.
    members: RefCell<HashMap<GroupId, HashSet<u64>>>,
    /// Queues with requests submitted since they were woken last.
    submitted: RefCell<Vec<Arc<PublishQueue>>>,
    submits: Notify,
    /// The part of [`TURN_BYTES`] that is used up.
    spent: Cell<usize>,
}

const SCRATCH_BYTES: usize = 64 * 1024;
/// Bytes written before other tasks and threads get a turn: some hundred microseconds.
const TURN_BYTES: usize = 1024 * 1024;
/// A write costs as much as to copy so many bytes more.
const WRITE_BYTES: usize = 16 * 1024;

impl SessionNumbers {
    pub(crate) fn session_id(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns the next N of `client-N`, from 1.
    pub(crate) fn client_number(&self) -> u64 {
        self.text_clients.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns a number that sessions of one client share and others cannot know.
    fn owner_of(&self, stream_key: Option<[u8; 16]>, address: IpAddr) -> u64 {
        match stream_key {
            Some(key) => self.owners.hash_one(key),
            None => self.owners.hash_one(address),
        }
    }
}

impl ShardContext {
    pub(crate) fn new(services: Arc<SessionServices>, index: usize) -> Self {
        Self {
            services,
            index,
            scratch: RefCell::new(vec![0; SCRATCH_BYTES]),
            members: RefCell::default(),
            submitted: RefCell::default(),
            submits: Notify::new(),
            spent: Cell::new(0),
        }
    }

    /// Returns the sessions in a group.
    pub(crate) fn members(&self, group: GroupId) -> Vec<u64> {
        self.members.borrow().get(&group).map(|sessions| sessions.iter().copied().collect()).unwrap_or_default()
    }

    /// Waits until requests were submitted to relays, and wakes these once for all that sessions submit in a turn of the
    /// runtime.
    pub(crate) async fn wake_relays(&self) {
        self.submits.notified().await;
        self.submitted.take().iter().for_each(|queue| queue.wake());
    }

    /// Notes that a session has written so many bytes.
    pub(super) fn spend(&self, bytes: usize) {
        self.spent.set(self.spent.get() + bytes);
    }

    /// Counts one more write; returns true if the turn is over and other tasks and threads are due.
    pub(crate) fn ends_turn(&self) -> bool {
        let spent = self.spent.get() + WRITE_BYTES;
        let is_over = spent >= TURN_BYTES;
        self.spent.set(if is_over { 0 } else { spent });
        is_over
    }

    fn note_submitted(&self, queue: &Arc<PublishQueue>) {
        let mut submitted = self.submitted.borrow_mut();
        if !submitted.iter().any(|known| Arc::ptr_eq(known, queue)) {
            submitted.push(queue.clone());
        }
        self.submits.notify_one();
    }
}

/// The hub for one session.
pub(super) struct SessionAccess<'a> {
    pub(super) context: &'a ShardContext,
    pub(super) session: u64,
    pub(super) address: IpAddr,
    pub(super) history: &'a mut Option<HistoryChannel>,
    pub(super) page: &'a mut Option<PageSession>,
}

impl SessionHub for SessionAccess<'_> {
    fn everyone(&self) -> Option<Arc<GroupInfo>> {
        self.context.services.directory.everyone()
    }

    fn known_group(&self, key: &GroupKey) -> Option<Arc<GroupInfo>> {
        match key {
            GroupKey::Name(name) => self.context.services.directory.by_name(name),
            GroupKey::Id(id) => self.context.services.directory.by_id(*id),
            GroupKey::Known(info) => Some(info.clone()),
        }
    }

    fn look_up(&mut self, number: u64, key: GroupKey, ticket: Bytes) -> Result<(), Failure> {
        let ShardContext { services, index, .. } = self.context;
        let route = LookupRoute { shard: *index, session: self.session, number };
        let started = services.lookups.look_up(key, ticket, self.address.into(), route);
        started.map_err(|full| Failure::new(Code::ResourceExhausted, full.to_string()))
    }

    fn check_ticket(&self, now: Instant, group: GroupId, device: DeviceId, ticket: &[u8]) -> Result<(), TicketError> {
        self.context.services.directory.check_ticket(now, group, device, ticket)
    }

    fn ticket_time(&self, now: Instant) -> i64 {
        self.context.services.directory.ticket_time(now)
    }

    fn owner_of(&self, stream_key: Option<[u8; 16]>) -> u64 {
        self.context.services.numbers.owner_of(stream_key, self.address)
    }

    fn device_proven(&mut self, challenge: [u8; 32], device: DeviceId) {
        *self.page = Some(self.context.services.page_sessions.open(challenge, device));
    }

    fn watch(&mut self, info: &Arc<GroupInfo>, ticket: &Bytes) -> Result<Arc<Group>, Failure> {
        let ShardContext { services, index, .. } = self.context;
        let group = services.groups.watch(info, *index, self.address.into(), ticket);
        let group = group.map_err(|full| Failure::new(Code::ResourceExhausted, full.to_string()))?;
        self.context.members.borrow_mut().entry(info.id).or_default().insert(self.session);
        Ok(group)
    }

    fn unwatch(&mut self, group: &Arc<Group>) {
        let ShardContext { services, index, members, .. } = self.context;
        services.groups.unwatch(group, *index, self.address.into());
        let mut members = members.borrow_mut();
        if let Some(sessions) = members.get_mut(&group.id) {
            sessions.remove(&self.session);
            if sessions.is_empty() {
                members.remove(&group.id);
            }
        }
    }

    fn renew_ticket(&mut self, group: &Arc<Group>, ticket: &Bytes) {
        self.context.services.groups.keep_ticket(group, ticket);
    }

    fn audience_changed(&mut self, group: &Arc<Group>) {
        self.context.services.groups.audience_changed(group);
    }

    fn read_log(&mut self, read: LogRead) -> LogReadGuard {
        let services = &self.context.services;
        if read.is_resync {
            services.figures.resyncs.inc();
        }
        let channel = self.history.get_or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(HISTORY_AHEAD);
            HistoryChannel { sender, receiver }
        });
        services.history.start(read, self.address.into(), channel.sender.clone())
    }

    fn count(&mut self, what: Counted) {
        let figures = &self.context.services.figures;
        match what {
            Counted::Ack => figures.acks.inc(),
            Counted::LongLine => figures.long_lines.inc(),
        };
    }

    fn publish(
        &mut self,
        now: Instant,
        group: &GroupInfo,
        device: DeviceId,
        request: PublishRequest,
        limit: Duration,
    ) -> Result<(), Failure> {
        let ShardContext { services, index, .. } = self.context;
        let route = AnswerRoute {
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
            device_id: device.into(),
            entries: request.entries,
            ticket: request.ticket,
            log_id: request.log_id,
            stream_key: request.stream_key,
            origin: octets(self.address),
        };
        let link = services.relays.link(group.relay);
        match link.publish.submit(request, route, self.address.into(), now + limit) {
            Ok(()) => {
                self.context.note_submitted(&link.publish);
                Ok(())
            }
            Err(full) => {
                services.figures.publish_full.inc();
                Err(Failure::new(Code::Unavailable, full.to_string()))
            }
        }
    }
}

/// Encodes a session's address for the relay.
fn octets(address: IpAddr) -> Bytes {
    match address.to_canonical() {
        IpAddr::V4(v4) => Bytes::copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) => Bytes::copy_from_slice(&v6.octets()),
    }
}
