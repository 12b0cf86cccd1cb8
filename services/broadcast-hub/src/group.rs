//! One followed group: its hot ring, which all shards read, and the text form of its runs, made once.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use gaung_engine::{HotRing, PushOutcome, RingBudget, RingOwner, RingRead, RingSegment, RingTake, RunPiece};
use gaung_proto::{
    ClientId, GroupId, LogId, Seq,
    policy::SignedPolicy,
    run::Run,
    signing::{ticket_expiry, ticket_holder},
};
use tokio::sync::Notify;
use tonic::Code;

use crate::{audience::Audience, directory::GroupInfo, failure::Failure, text_output::text_lines};

/// A group that is followed for at least one session, or for the hub itself.
#[derive(Debug)]
pub struct Group {
    pub(crate) id: GroupId,
    pub(crate) audience: Audience,
    info: RwLock<Arc<GroupInfo>>,
    state: RwLock<GroupState>,
    /// The memory of all groups' rings.
    rings: Arc<RingBudget>,
    /// A copy of the log id in `state`, to be read without its lock; 0 before the first.
    log: AtomicU64,
    ended: AtomicBool,
    /// Told of every start and end.
    phase_changed: Notify,
    text: Mutex<TextCache>,
    /// Number of sessions in the group by shard.
    watchers: Box<[AtomicU32]>,
    ticket: Mutex<GroupTicket>,
    policy: RwLock<Option<Arc<SignedPolicy>>>,
    /// The version of `policy`, to be read without its lock; 0 before there is one.
    policy_version: AtomicU64,
}

/// The ticket by which the hub follows a private group: the one of its sessions that expires last.
#[derive(Debug, Default)]
struct GroupTicket {
    ticket: Bytes,
    /// When it expires, in ms since 1970.
    expires: i64,
    /// When the ticket expires that the relay was shown last.
    shown_expires: i64,
}

/// Least extension for which the relay is shown a newer ticket, because every session renews its own every few seconds.
const TICKET_STEP_MS: i64 = 60_000;

#[derive(Debug)]
struct GroupState {
    log: Option<LogId>,
    ring: HotRing,
    phase: GroupPhase,
    /// The relay's last reason for not sending the group.
    trouble: Option<Failure>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum GroupPhase {
    /// The relay has not begun to send the group.
    Starting,
    Live,
    Ended(EndedGroup),
}

/// Why a group has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndedGroup {
    pub(crate) code: Code,
    pub(crate) message: String,
}

/// The answer to whether and where a subscription begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupStart {
    /// The relay has not begun to send the group.
    NotYet,
    /// The group has ended.
    Ended(EndedGroup),
    /// It begins here.
    At(StartPosition),
}

/// The position at which a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StartPosition {
    pub(crate) log: LogId,
    /// The first message.
    pub(crate) next: Seq,
    /// The last message that is logged.
    pub(crate) head: Seq,
    /// True if the subscription named a log that was replaced.
    pub(crate) history_lost: bool,
}

impl Group {
    /// Creates a group that the relay has not begun to send. Its ring may use at most `ring_bytes` of `rings`.
    pub fn new(info: Arc<GroupInfo>, rings: &Arc<RingBudget>, ring_bytes: usize, shards: usize) -> Arc<Self> {
        Arc::new_cyclic(|group: &Weak<Self>| {
            let ring = HotRing::within(Arc::clone(rings), group.clone(), ring_bytes);
            let state = GroupState { log: None, ring, phase: GroupPhase::Starting, trouble: None };
            Self {
                id: info.id,
                audience: Audience::default(),
                info: RwLock::new(info),
                state: RwLock::new(state),
                rings: Arc::clone(rings),
                log: AtomicU64::new(0),
                ended: AtomicBool::new(false),
                phase_changed: Notify::new(),
                text: Mutex::default(),
                watchers: (0..shards).map(|_| AtomicU32::new(0)).collect(),
                ticket: Mutex::default(),
                policy: RwLock::default(),
                policy_version: AtomicU64::new(0),
            }
        })
    }

    /// Returns the group's id.
    #[must_use]
    pub const fn id(&self) -> GroupId {
        self.id
    }

    pub(crate) fn info(&self) -> Arc<GroupInfo> {
        self.info.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_info(&self, info: Arc<GroupInfo>) {
        *self.info.write().unwrap_or_else(PoisonError::into_inner) = info;
    }

    /// Sets the group's policy. The hub no longer follows the group by the ticket of a device that it bans or has kicked; any other
    /// session's next one takes its place.
    pub(crate) fn set_policy(&self, signed: SignedPolicy) {
        let version = signed.policy().version;
        let mut kept = self.kept_ticket();
        let holder = ticket_holder(&kept.ticket);
        if holder.is_some_and(|(device, issued)| signed.policy().check_ticket(device, issued).is_err()) {
            *kept = GroupTicket::default();
        }
        drop(kept);
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(signed));
        self.policy_version.store(version, Ordering::Release);
    }

    /// Returns the group's policy, once the relay has sent one.
    pub(crate) fn policy(&self) -> Option<Arc<SignedPolicy>> {
        self.policy.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the version of the group's policy; 0 before there is one.
    pub(crate) fn policy_version(&self) -> u64 {
        self.policy_version.load(Ordering::Acquire)
    }

    /// Keeps a session's checked ticket if it expires later; returns true if the relay should be shown it.
    pub(crate) fn keep_ticket(&self, ticket: &Bytes) -> bool {
        let Some(expires) = ticket_expiry(ticket) else { return false };
        let mut kept = self.kept_ticket();
        if expires > kept.expires {
            kept.expires = expires;
            kept.ticket = ticket.clone();
        }
        kept.expires.saturating_sub(kept.shown_expires) >= TICKET_STEP_MS
    }

    /// Returns the ticket to follow the group by; empty for a public group.
    pub(crate) fn ticket(&self) -> Bytes {
        self.kept_ticket().ticket.clone()
    }

    /// Returns the same ticket and notes that the relay is shown it.
    pub(crate) fn show_ticket(&self) -> Bytes {
        let mut kept = self.kept_ticket();
        kept.shown_expires = kept.expires;
        kept.ticket.clone()
    }

    /// Returns the ticket if the relay should be shown it, and notes that it is; else `None`.
    pub(crate) fn newer_ticket(&self) -> Option<Bytes> {
        let mut kept = self.kept_ticket();
        (kept.expires.saturating_sub(kept.shown_expires) >= TICKET_STEP_MS).then(|| {
            kept.shown_expires = kept.expires;
            kept.ticket.clone()
        })
    }

    fn kept_ticket(&self) -> MutexGuard<'_, GroupTicket> {
        self.ticket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a session of the shard in.
    pub(crate) fn watch(&self, shard: usize) {
        self.watchers[shard].fetch_add(1, Ordering::AcqRel);
    }

    /// Counts a session of the shard out.
    pub(crate) fn unwatch(&self, shard: usize) {
        self.watchers[shard].fetch_sub(1, Ordering::AcqRel);
    }

    /// Returns the shards with a session in this group.
    pub(crate) fn watching_shards(&self) -> impl Iterator<Item = usize> + '_ {
        let counts = self.watchers.iter().enumerate();
        counts.filter(|(_, count)| count.load(Ordering::Acquire) > 0).map(|(shard, _)| shard)
    }

    /// Returns the number of sessions in this group.
    pub(crate) fn watcher_count(&self) -> u64 {
        self.watchers.iter().map(|count| u64::from(count.load(Ordering::Acquire))).sum()
    }

    /// Returns the current log; `None` until the relay has begun to send the group.
    pub(crate) fn log(&self) -> Option<LogId> {
        self.state().log
    }

    /// Returns true if `log` is the current one, so that a cursor in it is still valid.
    pub(crate) fn is_current(&self, log: LogId) -> bool {
        self.log.load(Ordering::Acquire) == log.0
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Returns the seq of the newest message; 0 before the first.
    pub fn head(&self) -> Seq {
        self.state().ring.head()
    }

    /// Waits until the relay sends the group, or the group has ended.
    pub(crate) async fn until_started_or_ended(&self) {
        loop {
            let changed = self.phase_changed.notified();
            // Looked at after `notified`, which hears of every change from its making on.
            if self.state().phase != GroupPhase::Starting {
                return;
            }
            changed.await;
        }
    }

    /// Returns where to follow the relay from: log id (0 for the current one) and seq (0 for the next message).
    pub(crate) fn resume_point(&self) -> (u64, u64) {
        let state = self.state();
        match state.log {
            Some(log) => (log.0, state.ring.head().next().0),
            None => (0, 0),
        }
    }

    /// Handles the relay's word that it sends the group from message `next` of `log` on, which may be another log.
    pub fn start(&self, log: LogId, next: Seq) {
        let mut state = self.state_mut();
        let continues = state.log == Some(log) && next <= state.ring.head().next();
        if !continues {
            state.ring.clear_to(next);
        }
        state.log = Some(log);
        state.phase = GroupPhase::Live;
        state.trouble = None;
        self.log.store(log.0, Ordering::Release);
        self.ended.store(false, Ordering::Release);
        drop(state);
        self.phase_changed.notify_waiters();
    }

    /// Appends a run from the relay to the hot ring. Returns the first seq of it that is new; `None` if none is.
    pub fn push(&self, run: Run) -> Option<Seq> {
        let mut state = self.state_mut();
        if state.log != Some(run.header().log) || state.phase != GroupPhase::Live {
            return None;
        }
        let next = state.ring.head().next();
        let first = run.first_seq();
        let pushed = state.ring.push(run);
        drop(state);
        self.rings.enforce();
        match pushed {
            PushOutcome::Appended => Some(next.max(first)),
            PushOutcome::Reset => Some(first),
            PushOutcome::Known => None,
        }
    }

    /// Ends the group for its sessions.
    pub fn end(&self, code: Code, message: &str) {
        self.state_mut().phase = GroupPhase::Ended(EndedGroup { code, message: message.to_owned() });
        self.ended.store(true, Ordering::Release);
        self.phase_changed.notify_waiters();
    }

    /// Notes why the relay does not send the group for now; it is requested again.
    pub(crate) fn pause(&self, trouble: Failure) {
        self.state_mut().trouble = Some(trouble);
    }

    /// Returns the relay's reason for not sending the group, if it gave one.
    pub(crate) fn trouble(&self) -> Option<Failure> {
        self.state().trouble.clone()
    }

    /// Returns why the group ended; `None` if it did not.
    pub(crate) fn ended(&self) -> Option<EndedGroup> {
        match &self.state().phase {
            GroupPhase::Ended(ended) => Some(ended.clone()),
            GroupPhase::Starting | GroupPhase::Live => None,
        }
    }

    /// Returns where a subscription from `from` (0 for the next message) in `wanted_log` (`None` for any) begins.
    pub(crate) fn start_at(&self, from: Seq, wanted_log: Option<LogId>) -> GroupStart {
        let state = self.state();
        let log = match (&state.phase, state.log) {
            (GroupPhase::Ended(ended), _) => return GroupStart::Ended(ended.clone()),
            (GroupPhase::Live, Some(log)) => log,
            (GroupPhase::Live, None) | (GroupPhase::Starting, _) => return GroupStart::NotYet,
        };
        let head = state.ring.head();
        let history_lost = wanted_log.is_some_and(|wanted| wanted != log);
        let next = match (from, history_lost) {
            (Seq::ZERO, _) => head.next(),
            (_, true) => Seq::FIRST,
            (from, false) => from,
        };
        GroupStart::At(StartPosition { log, next, head, history_lost })
    }

    /// Appends to `out` what a cursor at `next` of `log` writes next: about `budget_bytes` of runs, encoded by `encode`.
    pub(crate) fn take(
        &self,
        log: LogId,
        next: Seq,
        budget_bytes: usize,
        out: &mut Vec<RunPiece>,
        encode: impl Fn(&Run) -> Bytes,
    ) -> RingTake {
        let (found, head) = {
            let state = self.state();
            if state.log != Some(log) {
                return RingTake::Replaced;
            }
            (state.ring.read_from(next, budget_bytes), state.ring.head())
        };
        match found {
            RingRead::Runs(runs) => {
                let at_head = runs.last().is_some_and(|run| run.last_seq() >= head);
                out.extend(runs.iter().map(|run| RunPiece { bytes: encode(run), next: run.last_seq().next() }));
                RingTake::Pieces { at_head }
            }
            RingRead::Trimmed { oldest } => RingTake::Behind { oldest },
            RingRead::AtHead => RingTake::AtHead,
        }
    }

    /// Returns the text form of a whole run, which is made once and shared while it is in the cache.
    pub(crate) fn text_of(&self, run: &Run, prefix: &'static str) -> TextForm {
        let key = (run.header().log, run.first_seq(), prefix);
        let mut cache = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(form) = cache.forms.get(&key) {
            return form.clone();
        }
        let lines = text_lines(run, run.first_seq(), prefix, None);
        let form = TextForm { lines, clients: run.block().authors().map(|author| author.client).collect() };
        cache.insert(key, form.clone());
        form
    }

    fn state(&self) -> RwLockReadGuard<'_, GroupState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, GroupState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RingOwner for Group {
    fn give_way(&self, segment: RingSegment) {
        self.state_mut().ring.drop_through(segment);
    }
}

/// A run as lines of text, and the clients that sent them.
#[derive(Debug, Clone)]
pub(crate) struct TextForm {
    pub(crate) lines: Bytes,
    pub(crate) clients: Arc<[ClientId]>,
}

impl TextForm {
    fn cost(&self) -> usize {
        self.lines.len() + self.clients.len() * size_of::<ClientId>() + TEXT_ENTRY_BYTES
    }
}

type TextKey = (LogId, Seq, &'static str);

/// Caches the text forms of the newest runs; the oldest are dropped above [`TEXT_CACHE_BYTES`].
#[derive(Debug, Default)]
struct TextCache {
    forms: HashMap<TextKey, TextForm>,
    order: VecDeque<TextKey>,
    bytes: usize,
}

const TEXT_CACHE_BYTES: usize = 1024 * 1024;
/// Bytes that a cache entry counts for besides its lines and clients.
const TEXT_ENTRY_BYTES: usize = 128;

impl TextCache {
    fn insert(&mut self, key: TextKey, form: TextForm) {
        self.bytes += form.cost();
        self.forms.insert(key, form);
        self.order.push_back(key);
        while self.bytes > TEXT_CACHE_BYTES && self.order.len() > 1 {
            let oldest = self.order.pop_front().and_then(|key| self.forms.remove(&key));
            self.bytes -= oldest.map_or(0, |form| form.cost());
        }
    }
}
