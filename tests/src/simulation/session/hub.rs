//! The hub around the sessions: a directory, real groups with real rings, and the logs that they are read from.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use broadcast_hub::{
    Failure, Group, GroupInfo, Limits,
    session_core::{Counted, GroupKey, LogPart, LogRead, LogReadGuard, PublishRequest, SessionHub},
};
use bytes::Bytes;
use gaung_engine::{RingBudget, TicketError};
use gaung_proto::{
    ClientId, ClientSeq, Content, ContentType, DeviceId, Epoch, Generation, GroupId, LogId, RelayId, Seq, SeqRange,
    block::{Author, BlockBuilder, MessageRef, SentAt},
    pb::relay::AckRange,
    run::{Run, RunHeader},
};
use tonic::Code;

/// All groups, and what sessions asked of the hub.
pub(super) struct Hub {
    pub(super) groups: Vec<LoggedGroup>,
    pub(super) knows_everyone: bool,
    limits: Limits,
    rings: Arc<RingBudget>,
    /// How often each session is in each group.
    watchers: BTreeMap<(usize, GroupId), usize>,
    /// Messages that no session published, by log and number.
    world: BTreeSet<(LogId, u64)>,
    /// To be done once the session's turn is over.
    pub(super) asked: Vec<Asked>,
}

/// A group with its log.
pub(super) struct LoggedGroup {
    pub(super) group: Arc<Group>,
    pub(super) info: Arc<GroupInfo>,
    pub(super) log: LogId,
    pub(super) runs: Vec<Run>,
    pub(super) has_ended: bool,
}

/// Something that takes time.
pub(super) enum Asked {
    LookUp { session: usize, number: u64, key: GroupKey },
    Publish { session: usize, group: GroupId, request: PublishRequest },
    Read { session: usize, read: OpenRead },
}

/// A read of a log that a session has begun.
#[derive(Debug, Clone)]
pub(super) struct OpenRead {
    pub(super) number: u64,
    pub(super) group: GroupId,
    pub(super) log: LogId,
    next: Seq,
    pub(super) is_resync: bool,
    is_ended: Rc<Cell<bool>>,
    /// The head when it began.
    last: Seq,
}

impl Hub {
    pub(super) fn new(groups: usize, limits: Limits) -> Self {
        let rings = Arc::new(RingBudget::new(limits.rings_bytes));
        let mut hub = Self {
            groups: Vec::new(),
            knows_everyone: false,
            limits,
            rings,
            watchers: BTreeMap::new(),
            world: BTreeSet::new(),
            asked: Vec::new(),
        };
        for number in 0..=groups {
            hub.add_group(number);
        }
        hub
    }

    fn add_group(&mut self, number: usize) {
        let is_everyone = number == 0;
        let name = if is_everyone { "everyone".to_owned() } else { format!("g{number}") };
        let log = LogId(100 + number as u64);
        let info = Arc::new(GroupInfo {
            id: GroupId([1 + number as u8; 16]),
            name,
            private: false,
            relay: RelayId([1; 16]),
            generation: Generation(1),
            log,
            reserved: is_everyone,
        });
        let group = Group::new(info.clone(), &self.rings, self.limits.ring_bytes, 1);
        group.start(log, Seq::FIRST);
        self.groups.push(LoggedGroup { group, info, log, runs: Vec::new(), has_ended: false });
    }

    pub(super) fn group(&self, id: GroupId) -> Option<&LoggedGroup> {
        self.groups.iter().find(|group| group.info.id == id)
    }

    pub(super) fn group_mut(&mut self, id: GroupId) -> Option<&mut LoggedGroup> {
        self.groups.iter_mut().find(|group| group.info.id == id)
    }

    /// Sessions that are in the group.
    pub(super) fn members(&self, id: GroupId) -> Vec<usize> {
        self.watchers.keys().filter(|(_, group)| *group == id).map(|(session, _)| *session).collect()
    }

    /// Groups that the session is in.
    pub(super) fn groups_of(&self, session: usize) -> usize {
        self.watchers.keys().filter(|(watcher, _)| *watcher == session).count()
    }

    /// Logs messages of the world's own, which say what they are: `m100.7` is message 7 of log 100.
    pub(super) fn append_own(&mut self, index: usize, sizes: &[usize]) {
        let group = &mut self.groups[index];
        let first = group.head().next();
        let payload = |(i, size): (usize, &usize)| {
            let seq = first.0 + i as u64;
            let text = format!("m{}.{seq} {}", group.log.0, "x".repeat(*size));
            Content::text("w", text).encode().1
        };
        let payloads: Vec<Bytes> = sizes.iter().enumerate().map(payload).collect();
        self.world.extend((first.0..first.0 + sizes.len() as u64).map(|seq| (group.log, seq)));
        group.append(ClientId([0xff; 16]), ClientSeq(first.0), &payloads);
    }

    /// The world's own messages of a log, from `first` and before `end`.
    pub(super) fn world_messages(&self, log: LogId, first: u64, end: u64) -> Vec<u64> {
        self.world.range((log, first)..(log, end.max(first))).map(|(_, seq)| *seq).collect()
    }

    /// What a read brings next; `None` once it is over.
    pub(super) fn step(&self, read: &mut OpenRead) -> Option<LogPart> {
        if read.is_ended.get() {
            return None;
        }
        let gone = || LogPart::Failed(Failure::new(Code::FailedPrecondition, "another log"));
        let Some(group) = self.group(read.group).filter(|group| group.log == read.log) else { return Some(gone()) };
        if read.next > read.last {
            return Some(LogPart::End);
        }
        let oldest = group.oldest();
        if read.next < oldest
            && let Some(range) = SeqRange::new(read.next, Seq(oldest.0 - 1))
        {
            read.next = oldest;
            return Some(LogPart::Gap(range));
        }
        let index = group.runs.partition_point(|run| run.last_seq() < read.next);
        let Some(run) = group.runs.get(index) else { return Some(LogPart::End) };
        read.next = run.last_seq().next();
        Some(LogPart::Run(run.clone()))
    }
}

impl LoggedGroup {
    pub(super) fn head(&self) -> Seq {
        self.group.head()
    }

    /// The first message that the log has, or the next one.
    pub(super) fn oldest(&self) -> Seq {
        self.runs.first().map_or(self.head().next(), Run::first_seq)
    }

    /// The run that has this message, if the log has it.
    pub(super) fn run_holding(&self, seq: Seq) -> Option<&Run> {
        let index = self.runs.partition_point(|run| run.last_seq() < seq);
        self.runs.get(index).filter(|run| run.first_seq() <= seq)
    }

    /// Logs messages of one author.
    pub(super) fn append(&mut self, client: ClientId, first: ClientSeq, payloads: &[Bytes]) -> Run {
        let mut block = BlockBuilder::new();
        for (i, payload) in payloads.iter().enumerate() {
            block.push(&MessageRef {
                author: Author { device: DeviceId::NONE, client },
                client_seq: ClientSeq(first.0 + i as u64),
                content_type: ContentType::Text,
                sent_at: SentAt(7),
                payload,
            });
        }
        let header = RunHeader { group: self.info.id, log: self.log, epoch: Epoch(1), base_seq: self.head().next() };
        let run = Run::encode(header, &block);
        self.runs.push(run.clone());
        self.group.push(run.clone());
        run
    }

    /// The log loses its older half.
    pub(super) fn trim(&mut self) {
        let half = self.runs.len() / 2;
        self.runs.drain(..half);
    }

    /// The group gets another log, with nothing in it.
    pub(super) fn replace(&mut self) {
        self.log = LogId(self.log.0 + 1000);
        self.runs.clear();
        self.group.start(self.log, Seq::FIRST);
    }

    pub(super) fn end(&mut self) {
        self.has_ended = true;
        self.group.end(Code::NotFound, "the group was deleted");
    }
}

/// The hub as one session reaches it.
pub(super) struct HubOf<'a> {
    pub(super) hub: &'a mut Hub,
    pub(super) session: usize,
}

impl SessionHub for HubOf<'_> {
    fn everyone(&self) -> Option<Arc<GroupInfo>> {
        self.hub.groups.first().filter(|_| self.hub.knows_everyone).map(|group| group.info.clone())
    }

    /// Every other group has to be looked up first.
    fn known_group(&self, key: &GroupKey) -> Option<Arc<GroupInfo>> {
        let info = self.hub.find(key)?;
        (info.id.as_bytes()[0] % 2 == 1).then_some(info)
    }

    fn look_up(&mut self, number: u64, key: GroupKey, _ticket: Bytes) -> Result<(), Failure> {
        self.hub.asked.push(Asked::LookUp { session: self.session, number, key });
        Ok(())
    }

    fn check_ticket(&self, _: Instant, _: GroupId, _: DeviceId, _: &[u8]) -> Result<(), TicketError> {
        Err(TicketError::NoTicket)
    }

    fn ticket_time(&self, _: Instant) -> i64 {
        0
    }

    fn owner_of(&self, _: Option<[u8; 16]>) -> u64 {
        self.session as u64
    }

    fn watch(&mut self, group: &Arc<GroupInfo>, _ticket: &Bytes) -> Result<Arc<Group>, Failure> {
        let watched = self.hub.group(group.id).map(|group| group.group.clone());
        let watched = watched.ok_or_else(|| Failure::new(Code::ResourceExhausted, "too many groups"))?;
        *self.hub.watchers.entry((self.session, group.id)).or_default() += 1;
        Ok(watched)
    }

    fn unwatch(&mut self, group: &Arc<Group>) {
        let removed = self.hub.watchers.remove(&(self.session, group.id()));
        assert_eq!(removed, Some(1), "a session is in a group once, and leaves it once");
    }

    fn renew_ticket(&mut self, _: &Arc<Group>, _: &Bytes) {}

    fn audience_changed(&mut self, _: &Arc<Group>) {}

    fn read_log(&mut self, read: LogRead) -> LogReadGuard {
        let is_ended = Rc::new(Cell::new(false));
        let open = OpenRead {
            number: read.number,
            group: read.group.id(),
            log: read.log,
            next: read.next,
            is_resync: read.is_resync,
            is_ended: is_ended.clone(),
            last: read.group.head(),
        };
        self.hub.asked.push(Asked::Read { session: self.session, read: open });
        LogReadGuard::new(move || is_ended.set(true))
    }

    fn count(&mut self, _: Counted) {}

    fn publish(
        &mut self,
        _: Instant,
        group: &GroupInfo,
        _: DeviceId,
        request: PublishRequest,
        _: Duration,
    ) -> Result<(), Failure> {
        self.hub.asked.push(Asked::Publish { session: self.session, group: group.id, request });
        Ok(())
    }
}

impl Hub {
    pub(super) fn find(&self, key: &GroupKey) -> Option<Arc<GroupInfo>> {
        let is_it = |group: &&LoggedGroup| match key {
            GroupKey::Name(name) => group.info.name == *name,
            GroupKey::Id(id) => group.info.id == *id,
            GroupKey::Known(info) => group.info.id == info.id,
        };
        self.groups.iter().filter(|group| !group.has_ended).find(is_it).map(|group| group.info.clone())
    }

    /// Logs what a session published; the answer, as the relay gives it.
    pub(super) fn publish(
        &mut self,
        group: GroupId,
        request: &PublishRequest,
    ) -> Result<(LogId, Vec<AckRange>), Failure> {
        let Some(group) = self.group_mut(group).filter(|group| !group.has_ended) else {
            return Err(Failure::new(Code::NotFound, "there is no such group"));
        };
        let payloads: Vec<Bytes> = request.entries.iter().map(|entry| entry.payload.clone()).collect();
        let first = request.entries.first().map_or(1, |entry| entry.client_seq);
        let run = group.append(request.client, ClientSeq(first), &payloads);
        let count = u32::try_from(payloads.len()).unwrap_or(u32::MAX);
        let ack = AckRange { first_client_seq: first, first_seq: run.first_seq().0, count };
        Ok((group.log, vec![ack]))
    }
}
