//! One followed group: its hot ring, which all shards read, and its text form, made once.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use gaung_engine::{HotRing, PushOutcome, RingBudget, RingOwner, RingRead, RingSegment, RingTake, RunPiece};
use gaung_proto::{ClientId, GroupId, LogId, Seq, run::Run, signing::ticket_expiry};
use tonic::Code;

use crate::{audience::Audience, directory::GroupInfo, failure::Failure, text_output::text_lines};

/// A group that is followed for at least one session, or for the hub itself.
#[derive(Debug)]
pub struct Group {
    pub(crate) id: GroupId,
    pub(crate) audience: Audience,
    info: RwLock<Arc<GroupInfo>>,
    shared: RwLock<Shared>,
    /// Of all rings.
    rings: Arc<RingBudget>,
    /// The current log id as in `shared`, for a look without the lock; 0 before the first.
    log: AtomicU64,
    ended: AtomicBool,
    text: Mutex<TextCache>,
    /// How many sessions of each shard want to be woken.
    watchers: Box<[AtomicU32]>,
    pass: Mutex<Pass>,
}

/// What a private group is read by: the ticket of its sessions that lasts longest.
#[derive(Debug, Default)]
struct Pass {
    ticket: Bytes,
    /// In ms since 1970.
    expires: i64,
    /// When the one expires that the relay was shown last.
    shown: i64,
}

/// The relay is shown a newer ticket when it lasts longer by this much: sessions renew theirs every few seconds, each.
const PASS_STEP_MS: i64 = 60_000;

#[derive(Debug)]
struct Shared {
    log: Option<LogId>,
    ring: HotRing,
    phase: Phase,
    /// What the relay said last about why it does not send the group.
    trouble: Option<Failure>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// The relay has not answered yet.
    Starting,
    Live,
    Ended(EndedGroup),
}

/// Why no more of a group comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndedGroup {
    pub(crate) code: Code,
    pub(crate) message: String,
}

/// Whether and where a subscription begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupStart {
    /// The relay has not begun to send the group.
    NotYet,
    /// Nothing of the group comes any more.
    Ended(EndedGroup),
    /// Here.
    At(StartPosition),
}

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StartPosition {
    pub(crate) log: LogId,
    /// The first message.
    pub(crate) next: Seq,
    /// The last message that is logged.
    pub(crate) head: Seq,
    /// The subscription named a log that is no more.
    pub(crate) history_lost: bool,
}

impl Group {
    /// A group of which nothing has come yet. `ring_bytes`: the most of `rings` that it may have.
    pub fn new(info: Arc<GroupInfo>, rings: &Arc<RingBudget>, ring_bytes: usize, shards: usize) -> Arc<Self> {
        Arc::new_cyclic(|group: &Weak<Self>| {
            let ring = HotRing::within(Arc::clone(rings), group.clone(), ring_bytes);
            let shared = Shared { log: None, ring, phase: Phase::Starting, trouble: None };
            Self {
                id: info.id,
                audience: Audience::default(),
                info: RwLock::new(info),
                shared: RwLock::new(shared),
                rings: Arc::clone(rings),
                log: AtomicU64::new(0),
                ended: AtomicBool::new(false),
                text: Mutex::default(),
                watchers: (0..shards).map(|_| AtomicU32::new(0)).collect(),
                pass: Mutex::default(),
            }
        })
    }

    /// Its id.
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

    /// A session showed a ticket, which was checked; true if the relay should be shown it.
    pub(crate) fn keep_ticket(&self, ticket: &Bytes) -> bool {
        let Some(expires) = ticket_expiry(ticket) else { return false };
        let mut pass = self.pass();
        if expires > pass.expires {
            pass.expires = expires;
            pass.ticket = ticket.clone();
        }
        pass.expires.saturating_sub(pass.shown) >= PASS_STEP_MS
    }

    /// The ticket to follow the group by; empty for a group that needs none.
    pub(crate) fn ticket(&self) -> Bytes {
        self.pass().ticket.clone()
    }

    /// The same, to be shown to the relay now.
    pub(crate) fn show_ticket(&self) -> Bytes {
        let mut pass = self.pass();
        pass.shown = pass.expires;
        pass.ticket.clone()
    }

    /// A ticket that the relay should be shown, if there is a newer one.
    pub(crate) fn newer_ticket(&self) -> Option<Bytes> {
        let mut pass = self.pass();
        (pass.expires.saturating_sub(pass.shown) >= PASS_STEP_MS).then(|| {
            pass.shown = pass.expires;
            pass.ticket.clone()
        })
    }

    fn pass(&self) -> MutexGuard<'_, Pass> {
        self.pass.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn watch(&self, shard: usize) {
        self.watchers[shard].fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn unwatch(&self, shard: usize) {
        self.watchers[shard].fetch_sub(1, Ordering::AcqRel);
    }

    /// The shards that have a session of this group.
    pub(crate) fn watching_shards(&self) -> impl Iterator<Item = usize> + '_ {
        let counts = self.watchers.iter().enumerate();
        counts.filter(|(_, count)| count.load(Ordering::Acquire) > 0).map(|(shard, _)| shard)
    }

    pub(crate) fn watcher_count(&self) -> u64 {
        self.watchers.iter().map(|count| u64::from(count.load(Ordering::Acquire))).sum()
    }

    /// The log that is current; `None` until the relay has answered.
    pub(crate) fn log(&self) -> Option<LogId> {
        self.shared().log
    }

    /// Whether a cursor in `log` still means something.
    pub(crate) fn is_current(&self, log: LogId) -> bool {
        self.log.load(Ordering::Acquire) == log.0
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The last message that is logged; 0 before the first.
    pub fn head(&self) -> Seq {
        self.shared().ring.head()
    }

    pub(crate) fn is_live(&self) -> bool {
        self.shared().phase == Phase::Live
    }

    /// What to ask the relay for: log id (0: the current) and seq (0: the next).
    pub(crate) fn resume_point(&self) -> (u64, u64) {
        let shared = self.shared();
        match shared.log {
            Some(log) => (log.0, shared.ring.head().next().0),
            None => (0, 0),
        }
    }

    /// The relay has begun to send the group with message `next` of `log`, or its log has changed.
    pub fn start(&self, log: LogId, next: Seq) {
        let mut shared = self.shared_mut();
        let continues = shared.log == Some(log) && next <= shared.ring.head().next();
        if !continues {
            shared.ring.clear_to(next);
        }
        shared.log = Some(log);
        shared.phase = Phase::Live;
        shared.trouble = None;
        self.log.store(log.0, Ordering::Release);
        self.ended.store(false, Ordering::Release);
    }

    /// Takes a run from the relay. Returns the first seq of it that is new, `None` if nothing is.
    pub fn push(&self, run: Run) -> Option<Seq> {
        let mut shared = self.shared_mut();
        if shared.log != Some(run.header().log) || shared.phase != Phase::Live {
            return None;
        }
        let next = shared.ring.head().next();
        let first = run.first_seq();
        let pushed = shared.ring.push(run);
        drop(shared);
        self.rings.enforce();
        match pushed {
            PushOutcome::Appended => Some(next.max(first)),
            PushOutcome::Reset => Some(first),
            PushOutcome::Known => None,
        }
    }

    /// Ends the group: no more of it comes.
    pub fn end(&self, code: Code, message: &str) {
        self.shared_mut().phase = Phase::Ended(EndedGroup { code, message: message.to_owned() });
        self.ended.store(true, Ordering::Release);
    }

    /// The relay does not send it at the moment; it is asked again.
    pub(crate) fn pause(&self, trouble: Failure) {
        self.shared_mut().trouble = Some(trouble);
    }

    /// Why the relay does not send it, as far as it said so.
    pub(crate) fn trouble(&self) -> Option<Failure> {
        self.shared().trouble.clone()
    }

    /// Why it ended, if it did.
    pub(crate) fn ended(&self) -> Option<EndedGroup> {
        match &self.shared().phase {
            Phase::Ended(ended) => Some(ended.clone()),
            Phase::Starting | Phase::Live => None,
        }
    }

    /// Says where a subscription from `from` (0: the next) in `asked` (`None`: whichever) begins.
    pub(crate) fn start_at(&self, from: Seq, asked: Option<LogId>) -> GroupStart {
        let shared = self.shared();
        let log = match (&shared.phase, shared.log) {
            (Phase::Ended(ended), _) => return GroupStart::Ended(ended.clone()),
            (Phase::Live, Some(log)) => log,
            (Phase::Live, None) | (Phase::Starting, _) => return GroupStart::NotYet,
        };
        let head = shared.ring.head();
        let history_lost = asked.is_some_and(|asked| asked != log);
        let next = match (from, history_lost) {
            (Seq::ZERO, _) => head.next(),
            (_, true) => Seq::FIRST,
            (from, false) => from,
        };
        GroupStart::At(StartPosition { log, next, head, history_lost })
    }

    /// Appends what a cursor at `next` of `log` writes, about `budget_bytes` of runs, each as `encode` gives it.
    pub(crate) fn take(
        &self,
        log: LogId,
        next: Seq,
        budget_bytes: usize,
        out: &mut Vec<RunPiece>,
        encode: impl Fn(&Run) -> Bytes,
    ) -> RingTake {
        let (found, head) = {
            let shared = self.shared();
            if shared.log != Some(log) {
                return RingTake::Replaced;
            }
            (shared.ring.read_from(next, budget_bytes), shared.ring.head())
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

    /// The text form of a whole run; made once and shared while it is in the cache.
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

    fn shared(&self) -> RwLockReadGuard<'_, Shared> {
        self.shared.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn shared_mut(&self) -> RwLockWriteGuard<'_, Shared> {
        self.shared.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RingOwner for Group {
    fn give_way(&self, segment: RingSegment) {
        self.shared_mut().ring.drop_through(segment);
    }
}

/// A run as lines of text, and whose they are.
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

/// Text forms of the newest runs; the oldest go above [`TEXT_CACHE_BYTES`].
#[derive(Debug, Default)]
struct TextCache {
    forms: HashMap<TextKey, TextForm>,
    order: VecDeque<TextKey>,
    bytes: usize,
}

const TEXT_CACHE_BYTES: usize = 1024 * 1024;
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
