//! Client windows: which messages of each client have been logged, so that a duplicate is answered and not logged
//! again.

mod shares;
mod snapshot;
mod window;

use std::collections::BTreeMap;

use gaung_proto::{ClientId, ClientSeq, Seq, block::Author};

pub use self::snapshot::SnapshotError;
use self::{
    shares::{EvictionEntry, EvictionOutcome, WindowShares},
    window::{ClientWindow, SeqRow},
};
use crate::claim::{Claimant, UNCLAIMED};

/// Result of looking a message up in its client's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DuplicateCheck {
    /// Never logged: give it a seq.
    New,
    /// Logged before, under this seq.
    Duplicate(Seq),
    /// Too far below the client's highest to tell, or 0.
    OutOfWindow,
    /// The client belongs to another claimant.
    OtherPublisher,
}

/// Per client id the last [`CLIENT_WINDOW`](gaung_proto::limits::CLIENT_WINDOW) messages.
///
/// A window belongs to the first [`Claimant`] who publishes under the client; after a restart without a snapshot, to
/// the first who comes then. Memory grows with what is remembered. At the limit the longest silent client of the
/// address that fills most is forgotten: newcomers are never refused, and an address that fills the table loses only
/// its own. Call order for a message: [`check`](Self::check), then [`record`](Self::record) once it has its seq.
#[derive(Debug)]
pub struct ClientWindows {
    clients: BTreeMap<StreamId, ClientWindow>,
    shares: WindowShares,
    bytes: usize,
    limit_bytes: usize,
    next_ticket: u64,
    forgotten: u64,
}

/// The client id alone: a datagram may be damaged, and a message under another device must not count as another.
type StreamId = ClientId;

/// Bytes of all windows of one group, estimated: 65 000 clients of a few messages, or 650 of 1024 that others' messages
/// lie between.
pub const DEFAULT_WINDOW_BYTES: usize = 16 * 1024 * 1024;
/// A client is forgotten after this long without a message, ms (24 h; clients stop retrying after 1 h).
pub const CLIENT_MEMORY_MS: i64 = 24 * 3600 * 1000;

/// Bytes that a client costs with one row of messages: key, window, its share of a tree node and its place in the order of
/// eviction.
const CLIENT_BYTES: usize = 256;
/// Highest client_seq that is taken. Nobody counts so far; a forged one must not make the end of a row overflow.
const MAX_CLIENT_SEQ: u64 = u64::MAX / 2;
/// So much of the limit becomes free at once: to find who fills most takes longer than to forget a client.
const EVICTION_PART: usize = 64;

const fn stream_of(author: Author) -> StreamId {
    author.client
}

impl ClientWindows {
    /// Makes an empty table for at most about `limit_bytes`.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        let clients = BTreeMap::new();
        Self { clients, shares: WindowShares::default(), bytes: 0, limit_bytes, next_ticket: 0, forgotten: 0 }
    }

    /// Looks a message of `claimant` up.
    #[must_use]
    pub fn check(&self, author: Author, claimant: &Claimant, client_seq: ClientSeq) -> DuplicateCheck {
        match self.clients.get(&stream_of(author)) {
            _ if client_seq.0 == 0 || client_seq.0 > MAX_CLIENT_SEQ => DuplicateCheck::OutOfWindow,
            Some(window) if !is_owner(window, claimant) => DuplicateCheck::OtherPublisher,
            Some(window) => window.check(client_seq.0),
            None => DuplicateCheck::New,
        }
    }

    /// Whether each message of `claimant` from `first` to `last` is [`DuplicateCheck::New`] for having a higher client_seq than any
    /// before.
    #[must_use]
    pub fn are_next(&self, author: Author, claimant: &Claimant, first: ClientSeq, last: ClientSeq) -> bool {
        let is_next = |window: &ClientWindow| is_owner(window, claimant) && window.is_after(first.0);
        last.0 <= MAX_CLIENT_SEQ && self.clients.get(&stream_of(author)).is_some_and(is_next)
    }

    /// Makes `claimant` the owner of a client that has none, if it is known.
    pub fn claim(&mut self, author: Author, claimant: &Claimant) {
        let stream = stream_of(author);
        let Some(window) = self.clients.get_mut(&stream).filter(|window| window.owner == UNCLAIMED) else { return };
        let bytes = CLIENT_BYTES + window.bytes();
        self.shares.shrink(window.charged, bytes);
        window.owner = claimant.owner;
        window.charged = claimant.charged;
        window.ticket = self.next_ticket;
        self.next_ticket += 1;
        let place = EvictionEntry { stream, ticket: window.ticket, at_unix_ms: window.at_unix_ms };
        self.shares.add(window.charged, bytes, place);
    }

    /// Notes that the message has `seq`. `claimant`: its publisher, or [`Claimant::UNKNOWN`] where it is read from the log.
    /// `at_unix_ms`: the relay's clock at the append.
    pub fn record(&mut self, author: Author, claimant: &Claimant, client_seq: ClientSeq, seq: Seq, at_unix_ms: i64) {
        self.record_row(author, claimant, client_seq, seq, 1, at_unix_ms);
    }

    /// Notes that `count` messages of consecutive client_seqs have consecutive seqs.
    pub fn record_row(
        &mut self,
        author: Author,
        claimant: &Claimant,
        first: ClientSeq,
        seq: Seq,
        count: u64,
        at_unix_ms: i64,
    ) {
        let row = SeqRow { first: first.0, seq: seq.0, count };
        match self.clients.get_mut(&stream_of(author)) {
            Some(window) => {
                let before = window.bytes();
                window.record(row);
                window.at_unix_ms = window.at_unix_ms.max(at_unix_ms);
                let (after, charged) = (window.bytes(), window.charged);
                if after != before {
                    self.bytes = self.bytes + after - before;
                    self.shares.grow(charged, after.saturating_sub(before));
                    self.shares.shrink(charged, before.saturating_sub(after));
                }
                if window.owner == UNCLAIMED && claimant.owner != UNCLAIMED {
                    self.claim(author, claimant);
                }
            }
            None => {
                let mut window = ClientWindow::starting_with(row);
                (window.owner, window.charged) = (claimant.owner, claimant.charged);
                window.at_unix_ms = at_unix_ms;
                self.put(stream_of(author), window);
            }
        }
        self.make_room();
    }

    /// Rolls back: seqs above `head` were not made durable and will be given again.
    pub fn forget_after(&mut self, head: Seq) {
        self.retain(|window| window.forget_after(head.0));
    }

    /// Forgets clients that have been silent for [`CLIENT_MEMORY_MS`]. Who was heard by a clock that was ahead counts as
    /// heard now. `set_forward_ms`: by how much the clock was set forward since the last call; nobody was silent for that
    /// time.
    pub fn expire(&mut self, now_unix_ms: i64, set_forward_ms: i64) {
        self.retain(|window| {
            window.at_unix_ms = window.at_unix_ms.saturating_add(set_forward_ms).min(now_unix_ms);
            now_unix_ms - window.at_unix_ms < CLIENT_MEMORY_MS
        });
    }

    /// Goes on after a restart: what passed since the newest message counts as nobody's silence, for the clock may have been
    /// set meanwhile, and clients that slept or found no relay still send again what was not acknowledged.
    pub fn resume(&mut self, now_unix_ms: i64) {
        let newest = self.clients.values().map(|window| window.at_unix_ms).max().unwrap_or(now_unix_ms);
        self.expire(now_unix_ms, now_unix_ms.saturating_sub(newest).max(0));
    }

    /// Changes the limit, and forgets what is above it.
    pub fn set_limit(&mut self, limit_bytes: usize) {
        self.limit_bytes = limit_bytes;
        self.make_room();
    }

    /// Returns how many clients are known.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Returns the estimated bytes of the windows.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns how many clients were forgotten for want of room.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Adds a client that is not known yet.
    fn put(&mut self, stream: StreamId, mut window: ClientWindow) {
        window.ticket = self.next_ticket;
        self.next_ticket += 1;
        let bytes = CLIENT_BYTES + window.bytes();
        let place = EvictionEntry { stream, ticket: window.ticket, at_unix_ms: window.at_unix_ms };
        self.shares.add(window.charged, bytes, place);
        self.bytes += bytes;
        self.clients.insert(stream, window);
        self.make_room();
    }

    fn make_room(&mut self) {
        if self.bytes <= self.limit_bytes {
            return;
        }
        let (clients, forgotten) = (&mut self.clients, &mut self.forgotten);
        let mut freed = 0;
        self.shares.evict(self.bytes - self.limit_bytes + self.limit_bytes / EVICTION_PART, |place| {
            let Some(window) = clients.get(&place.stream).filter(|window| window.ticket == place.ticket) else {
                return EvictionOutcome::Stale;
            };
            // Its entry is moved only here, because moving it at each message would cost every publish a search.
            if window.at_unix_ms > place.at_unix_ms {
                return EvictionOutcome::Later(EvictionEntry { at_unix_ms: window.at_unix_ms, ..place });
            }
            let bytes = CLIENT_BYTES + window.bytes();
            clients.remove(&place.stream);
            *forgotten += 1;
            freed += bytes;
            EvictionOutcome::Forgotten(bytes)
        });
        self.bytes -= freed;
    }

    fn retain(&mut self, mut keep: impl FnMut(&mut ClientWindow) -> bool) {
        let shares = &mut self.shares;
        let mut bytes = 0;
        self.clients.retain(|_, window| {
            let before = CLIENT_BYTES + window.bytes();
            let kept = keep(window);
            let after = if kept { CLIENT_BYTES + window.bytes() } else { 0 };
            if after < before {
                shares.shrink(window.charged, before - after);
            }
            bytes += after;
            kept
        });
        self.bytes = bytes;
    }
}

fn is_owner(window: &ClientWindow, claimant: &Claimant) -> bool {
    window.owner == claimant.owner || window.owner == UNCLAIMED
}

#[cfg(test)]
mod tests;
