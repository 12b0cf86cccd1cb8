//! The judge: one row of messages that only grows, and how far each member has got in it. It knows no protocol.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gaung_proto::{ClientId, ClientSeq, ContentType, Seq, SeqRange, block::Message, run::Run};

use super::trace::{digest, mixed};

/// What must hold, and whether it did.
#[derive(Debug)]
pub(super) struct Judge {
    failure: Option<String>,
    /// Damaged and forged datagrams are about, which nothing tells from true ones yet.
    is_lenient: bool,
    /// Datagrams are forged, but not damaged: in the end everybody who can read the log has what it has.
    corrects: bool,
    /// What publishers were asked to say.
    said: BTreeMap<(ClientId, ClientSeq), u64>,
    /// The message with seq i + 1.
    log: Vec<Logged>,
    in_log: BTreeSet<(ClientId, ClientSeq)>,
    members: Vec<Listener>,
    acked: u64,
    delivered: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Logged {
    client: ClientId,
    client_seq: ClientSeq,
    content: u64,
}

/// A member as the judge sees it.
#[derive(Debug, Clone, Default)]
struct Listener {
    /// The next message that it has to deliver; `None` while it is not there.
    next: Option<Seq>,
    has_history: bool,
    /// What damaged or forged DATA claimed to be.
    doubtful: Vec<SeqRange>,
    /// A forged heartbeat told it where to begin.
    is_misled: bool,
    /// What it was given last under these seqs is not what the log has.
    wrong: BTreeSet<Seq>,
}

impl Judge {
    pub(super) fn new(members: usize, is_lenient: bool, corrects: bool) -> Self {
        Self {
            failure: None,
            is_lenient,
            corrects,
            said: BTreeMap::new(),
            log: Vec::new(),
            in_log: BTreeSet::new(),
            members: vec![Listener::default(); members],
            acked: 0,
            delivered: 0,
        }
    }

    /// The first thing that did not hold.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    pub(super) fn fail(&mut self, what: impl FnOnce() -> String) {
        if self.failure.is_none() {
            self.failure = Some(what());
        }
    }

    pub(super) const fn acked_count(&self) -> u64 {
        self.acked
    }

    pub(super) const fn delivered_count(&self) -> u64 {
        self.delivered
    }

    pub(super) fn head(&self) -> Seq {
        Seq(self.log.len() as u64)
    }

    /// A publisher will try to say it.
    pub(super) fn said(&mut self, client: ClientId, client_seq: ClientSeq, payload: &[u8]) {
        self.said.insert((client, client_seq), content(ContentType::Text, payload));
    }

    /// A run is in the log from now on, whatever crashes.
    pub(super) fn logged(&mut self, run: &Run) {
        for message in run.messages() {
            let place = self.head().next();
            let (seq, entry) = (message.seq, logged(&message));
            let Logged { client, client_seq, content } = entry;
            if seq != place {
                self.fail(|| {
                    format!("seq {seq} was logged where {place} comes next: two messages share a seq, or none has one")
                });
            }
            if !self.in_log.insert((client, client_seq)) {
                self.fail(|| format!("client_seq {client_seq:?} of {client:?} was logged twice, again as {seq}"));
            }
            if self.said.get(&(client, client_seq)) != Some(&content) && !self.is_lenient {
                self.fail(|| format!("seq {seq} is not what its publisher said"));
            }
            self.log.push(entry);
        }
    }

    /// The relay sends messages up to `last`.
    pub(super) fn sent(&mut self, last: Seq) {
        if last > self.head() {
            self.fail(|| format!("seq {last} is sent before it is in the log"));
        }
    }

    /// A publisher was told that its message is durable under `seq`.
    pub(super) fn acked(&mut self, client: ClientId, client_seq: ClientSeq, seq: Seq) {
        self.acked += 1;
        let there = self.place(seq).is_some_and(|entry| entry.client == client && entry.client_seq == client_seq);
        if !there {
            self.fail(|| {
                format!("client_seq {client_seq:?} of {client:?} was acknowledged as {seq}, which is not in the log")
            });
        }
    }

    /// A publisher was told that its message failed.
    pub(super) fn refused(&mut self, client: ClientId, client_seq: ClientSeq) {
        if !self.is_lenient {
            self.fail(|| format!("client_seq {client_seq:?} of {client:?} was refused"));
        }
    }

    /// A member is there and wants what comes from `next` on.
    pub(super) fn began(&mut self, member: usize, next: Seq, has_history: bool, genuine: bool) {
        let is_misled = !genuine;
        self.members[member] = Listener { next: Some(next), has_history, is_misled, ..Listener::default() };
    }

    pub(super) fn left(&mut self, member: usize) {
        self.members[member].next = None;
    }

    /// Damaged or forged DATA came to a member, claiming to be these.
    pub(super) fn misinformed(&mut self, member: usize, claimed: SeqRange) {
        let doubtful = &mut self.members[member].doubtful;
        match doubtful.last_mut() {
            Some(last) if last.first <= claimed.first && claimed.first <= last.last => {
                last.last = last.last.max(claimed.last)
            }
            Some(_) | None => doubtful.push(claimed),
        }
    }

    pub(super) fn delivered_to(&mut self, member: usize, message: &Message) {
        self.delivered += 1;
        let seq = message.seq;
        let listener = &mut self.members[member];
        let expected = listener.next.replace(seq.next());
        if expected != Some(seq) {
            self.fail(|| format!("member {member} was given {seq} where {expected:?} comes next"));
        }
        if self.members[member].doubtful.iter().any(|range| range.contains(seq)) {
            let is_right = self.place(seq).is_some_and(|entry| entry == logged(message));
            let wrong = &mut self.members[member].wrong;
            let _changed = if is_right { wrong.remove(&seq) } else { wrong.insert(seq) };
            return;
        }
        match self.place(seq) {
            None => self.fail(|| format!("member {member} was given {seq}, which is not in the log")),
            Some(entry) if entry != logged(message) => {
                self.fail(|| format!("member {member} was given another message as {seq} than the log has"));
            }
            Some(_) => {}
        }
    }

    /// A member found that it was given what is not in the log, and begins again at the first of it.
    pub(super) fn went_back(&mut self, member: usize, range: SeqRange) {
        let listener = &mut self.members[member];
        let expected = listener.next.replace(range.first);
        listener.wrong.split_off(&range.first);
        if expected != Some(range.last.next()) {
            self.fail(|| format!("member {member} goes back over {range:?} where {expected:?} comes next"));
        }
        if !self.is_lenient {
            self.fail(|| format!("member {member} takes {range:?} for forged"));
        }
    }

    /// A member skipped messages. `oldest`: the first that the log has kept.
    pub(super) fn lost_by(&mut self, member: usize, range: SeqRange, oldest: Seq) {
        let listener = &mut self.members[member];
        let expected = listener.next.replace(range.last.next());
        let (may_lose, misled) = (!listener.has_history || range.last < oldest, listener.is_misled);
        if expected != Some(range.first) {
            self.fail(|| format!("member {member} skipped {range:?} where {expected:?} comes next"));
        }
        if !(may_lose || misled) {
            self.fail(|| format!("member {member} gave {range:?} up, and the log has it from {oldest} on"));
        }
        if range.last > self.head() && !self.is_lenient {
            self.fail(|| format!("member {member} skipped {range:?}, which was never logged"));
        }
    }

    /// All has been well for 10 s: everybody has everything up to `head`.
    pub(super) fn complete_to(&mut self, now: Duration, head: Seq) {
        let is_behind = |listener: &Listener| listener.next.is_some_and(|next| next <= head) && !listener.is_misled;
        if let Some(member) = self.members.iter().position(is_behind) {
            let next = self.members[member].next;
            self.fail(|| format!("at {now:?}, 10 s of calm, member {member} waits for {next:?}, {head} was logged"));
        }
    }

    /// All is well for 10 s: everybody has everything.
    pub(super) fn complete(&mut self) {
        let wanted = self.head().next();
        let is_wrong = |listener: &Listener| {
            let has_other = listener.has_history && !listener.wrong.is_empty();
            listener.next.is_some_and(|next| next > wanted || has_other)
        };
        if let Some(member) = (0..self.members.len()).find(|&member| self.corrects && is_wrong(&self.members[member])) {
            let Listener { next, wrong, .. } = self.members[member].clone();
            self.fail(|| {
                format!("10 s after healing member {member} waits for {next:?}, next to be logged is {wanted}; forged: {wrong:?}")
            });
        }
        let is_behind = |listener: &Listener| listener.next.is_some_and(|next| next < wanted) && !listener.is_misled;
        let behind: Vec<usize> = (0..self.members.len()).filter(|&member| is_behind(&self.members[member])).collect();
        if let Some(&member) = behind.first() {
            let next = self.members[member].next;
            self.fail(|| {
                format!("10 s after healing {} members lack something: member {member} waits for {next:?}, next to be logged is {wanted}", behind.len())
            });
        }
    }

    fn place(&self, seq: Seq) -> Option<Logged> {
        self.log.get(usize::try_from(seq.0.checked_sub(1)?).ok()?).copied()
    }
}

fn logged(message: &Message) -> Logged {
    let Message { author, client_seq, content_type, payload, .. } = message;
    Logged { client: author.client, client_seq: *client_seq, content: content(*content_type, payload) }
}

fn content(content_type: ContentType, payload: &[u8]) -> u64 {
    mixed(digest(payload) ^ u64::from(content_type.to_byte()))
}
