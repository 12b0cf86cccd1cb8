//! Which messages of which client have been logged, so that a repetition is answered and not logged again.

use std::collections::{BTreeMap, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};
use gaung_proto::{ClientId, ClientSeq, Seq, limits::CLIENT_WINDOW};

/// What is known of a `(client_id, client_seq)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Never logged: give it a seq.
    New,
    /// Logged before, under this seq.
    Duplicate(Seq),
    /// Too far below the client's highest to tell, or 0.
    OutOfWindow,
    /// A client that is not known yet, and there is no room for another.
    Full,
}

/// A snapshot that cannot be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the snapshot of client windows is damaged ({0})")]
pub struct SnapshotError(&'static str);

/// Per client the highest client_seq and the seqs of the [`CLIENT_WINDOW`] below it; bounded in bytes.
///
/// At the limit new clients are refused and none is forgotten early, because forgetting one would log its repetitions
/// twice. Call order for a message: [`check`](Self::check), then [`record`](Self::record) once it has its seq.
#[derive(Debug)]
pub struct ClientWindows {
    clients: BTreeMap<ClientId, Window>,
    bytes: usize,
    limit_bytes: usize,
}

/// Bytes of all windows of one group, estimated; 64 MiB are some 500 000 clients of one message each.
pub const DEFAULT_WINDOW_BYTES: usize = 64 * 1024 * 1024;
/// A client is forgotten after this long without a message, ms (24 h; clients stop retrying after 1 h).
pub const CLIENT_MEMORY_MS: i64 = 24 * 3600 * 1000;

const SNAPSHOT_VERSION: u8 = 1;
/// Bytes that a client costs besides its seqs: key, window and its share of a tree node.
const CLIENT_BYTES: usize = 128;
const SEQ_BYTES: usize = 8;
/// In place of the seq of a client_seq that was never seen.
const UNSEEN: u64 = 0;

impl ClientWindows {
    /// Empty, for at most about `limit_bytes`.
    #[must_use]
    pub const fn new(limit_bytes: usize) -> Self {
        Self { clients: BTreeMap::new(), bytes: 0, limit_bytes }
    }

    /// What is known of this message.
    #[must_use]
    pub fn check(&self, client: ClientId, client_seq: ClientSeq) -> Verdict {
        match self.clients.get(&client) {
            _ if client_seq.0 == 0 || client_seq.0 > u64::MAX / 2 => Verdict::OutOfWindow,
            Some(window) => window.check(client_seq.0),
            None if self.bytes + CLIENT_BYTES + SEQ_BYTES > self.limit_bytes => Verdict::Full,
            None => Verdict::New,
        }
    }

    /// Whether each message from `first` to `last` is [`Verdict::New`] for having a higher client_seq than any before.
    #[must_use]
    pub fn are_next(&self, client: ClientId, first: ClientSeq, last: ClientSeq) -> bool {
        let is_after = |window: &Window| first.0 >= window.end().max(window.floor) && last.0 <= u64::MAX / 2;
        self.clients.get(&client).is_some_and(is_after)
    }

    /// Notes that the message has `seq`. `at_unix_ms`: the relay's clock at the append.
    pub fn record(&mut self, client: ClientId, client_seq: ClientSeq, seq: Seq, at_unix_ms: i64) {
        self.record_row(client, client_seq, seq, 1, at_unix_ms);
    }

    /// Notes that `count` messages of consecutive client_seqs have consecutive seqs.
    pub fn record_row(&mut self, client: ClientId, first: ClientSeq, seq: Seq, count: u64, at_unix_ms: i64) {
        let mut added = 0;
        let window = self.clients.entry(client).or_insert_with(|| {
            added = CLIENT_BYTES;
            Window::starting_at(first.0)
        });
        let before = window.bytes();
        (0..count).for_each(|index| window.record(first.0 + index, seq.0 + index));
        window.at_unix_ms = window.at_unix_ms.max(at_unix_ms);
        self.bytes = self.bytes + added + window.bytes() - before;
    }

    /// Rolls back: seqs above `head` were not made durable and will be given again.
    pub fn forget_after(&mut self, head: Seq) {
        self.retain(|window| {
            window.forget_after(head.0);
            !window.seqs.is_empty()
        });
    }

    /// Forgets clients that have been silent for [`CLIENT_MEMORY_MS`].
    pub fn expire(&mut self, now_unix_ms: i64) {
        self.retain(|window| now_unix_ms.saturating_sub(window.at_unix_ms) < CLIENT_MEMORY_MS);
    }

    /// How many clients are known.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// What the windows cost, bytes, estimated.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// All windows as they were when `as_of` was the highest seq, as bytes, the same for the same state.
    ///
    /// `version u8 | clients u32 | clients × (client_id 16 | at_unix_ms i64 | floor u64 | first u64 | count u16 | seqs u64…)`
    #[must_use]
    pub fn snapshot(&self, as_of: Seq) -> Bytes {
        let seqs: usize = self.clients.values().map(|window| window.seqs.len()).sum();
        let mut out = BytesMut::with_capacity(5 + self.clients.len() * 42 + seqs * SEQ_BYTES);
        let kept =
            || self.clients.iter().filter_map(|(client, window)| Some((client, window, window.len_at(as_of.0)?)));
        out.put_u8(SNAPSHOT_VERSION);
        out.put_u32(kept().count() as u32);
        for (client, window, len) in kept() {
            out.put_slice(client.as_bytes());
            out.put_i64(window.at_unix_ms);
            out.put_u64(window.floor);
            out.put_u64(window.first);
            out.put_u16(len as u16);
            let seqs = window.seqs.iter().take(len);
            seqs.for_each(|&seq| out.put_u64(if seq > as_of.0 { UNSEEN } else { seq }));
        }
        out.freeze()
    }

    /// The windows of a snapshot. More than `limit_bytes` are taken over; only new clients are refused then.
    ///
    /// # Errors
    /// [`SnapshotError`]: replay the log instead.
    pub fn restore(snapshot: &[u8], limit_bytes: usize) -> Result<Self, SnapshotError> {
        let mut reader = Reader(snapshot);
        if reader.array::<1>()? != [SNAPSHOT_VERSION] {
            return Err(SnapshotError("unknown version"));
        }
        let count = u32::from_be_bytes(reader.array()?);
        let mut windows = Self::new(limit_bytes);
        for _ in 0..count {
            let client = ClientId(reader.array()?);
            let window = Window::read(&mut reader)?;
            windows.bytes += CLIENT_BYTES + window.bytes();
            if windows.clients.insert(client, window).is_some() {
                return Err(SnapshotError("a client stands in it twice"));
            }
        }
        if reader.0.is_empty() { Ok(windows) } else { Err(SnapshotError("bytes follow the end")) }
    }

    fn retain(&mut self, mut keep: impl FnMut(&mut Window) -> bool) {
        let mut bytes = 0;
        self.clients.retain(|_, window| {
            let kept = keep(window);
            bytes += if kept { CLIENT_BYTES + window.bytes() } else { 0 };
            kept
        });
        self.bytes = bytes;
    }
}

/// One client's last seqs. `seqs[i]` belongs to client_seq `first + i`; the last one was seen.
#[derive(Debug)]
struct Window {
    /// Lower client_seqs cannot be told any more; survives a roll-back, which lowers the highest.
    floor: u64,
    first: u64,
    seqs: VecDeque<u64>,
    at_unix_ms: i64,
}

impl Window {
    const fn starting_at(client_seq: u64) -> Self {
        Self { floor: lowest_below(client_seq), first: client_seq, seqs: VecDeque::new(), at_unix_ms: 0 }
    }

    fn bytes(&self) -> usize {
        self.seqs.len() * SEQ_BYTES
    }

    fn end(&self) -> u64 {
        self.first + self.seqs.len() as u64
    }

    fn check(&self, client_seq: u64) -> Verdict {
        if client_seq < self.floor {
            return Verdict::OutOfWindow;
        }
        let known = client_seq.checked_sub(self.first).and_then(|i| self.seqs.get(i as usize));
        match known {
            None | Some(&UNSEEN) => Verdict::New,
            Some(&seq) => Verdict::Duplicate(Seq(seq)),
        }
    }

    fn record(&mut self, client_seq: u64, seq: u64) {
        self.floor = self.floor.max(lowest_below(client_seq));
        if client_seq >= self.end() + CLIENT_WINDOW {
            self.seqs.clear();
            self.first = client_seq;
        }
        while client_seq < self.first {
            self.seqs.push_front(UNSEEN);
            self.first -= 1;
        }
        while self.end() <= client_seq {
            self.seqs.push_back(UNSEEN);
        }
        self.seqs[(client_seq - self.first) as usize] = seq;
        while self.first < self.floor {
            self.seqs.pop_front();
            self.first += 1;
        }
    }

    /// How many client_seqs from `first` on reach the last one that was seen up to seq `as_of`; `None` if none was.
    fn len_at(&self, as_of: u64) -> Option<usize> {
        self.seqs.iter().rposition(|&seq| seq != UNSEEN && seq <= as_of).map(|last| last + 1)
    }

    fn forget_after(&mut self, head: u64) {
        self.seqs.iter_mut().filter(|seq| **seq > head).for_each(|seq| *seq = UNSEEN);
        while self.seqs.back() == Some(&UNSEEN) {
            self.seqs.pop_back();
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let at_unix_ms = i64::from_be_bytes(reader.array()?);
        let floor = u64::from_be_bytes(reader.array()?);
        let first = u64::from_be_bytes(reader.array()?);
        let count = u16::from_be_bytes(reader.array()?);
        let ordered = 0 < floor && floor <= first && first <= u64::MAX / 2;
        if !ordered || count == 0 || u64::from(count) > CLIENT_WINDOW {
            return Err(SnapshotError("a window is out of range"));
        }
        let seqs = (0..count).map(|_| reader.array().map(u64::from_be_bytes)).collect::<Result<_, _>>()?;
        Ok(Self { floor, first, seqs, at_unix_ms })
    }
}

/// The lowest client_seq of the window whose highest is `client_seq`.
const fn lowest_below(client_seq: u64) -> u64 {
    let lowest = client_seq.saturating_sub(CLIENT_WINDOW - 1);
    if lowest == 0 { 1 } else { lowest }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(SnapshotError("it ends too early"))?;
        self.0 = rest;
        Ok(*head)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ANN: ClientId = ClientId([1; 16]);

    fn windows() -> ClientWindows {
        ClientWindows::new(DEFAULT_WINDOW_BYTES)
    }

    #[test]
    fn a_repetition_is_answered_with_its_seq() {
        let mut windows = windows();
        assert_eq!(windows.check(ANN, ClientSeq(5)), Verdict::New);
        windows.record(ANN, ClientSeq(5), Seq(70), 0);
        assert_eq!(windows.check(ANN, ClientSeq(5)), Verdict::Duplicate(Seq(70)));
        assert_eq!(windows.check(ANN, ClientSeq(3)), Verdict::New, "unseen, and within the window");
        windows.record(ANN, ClientSeq(3), Seq(71), 0);
        assert_eq!(windows.check(ANN, ClientSeq(3)), Verdict::Duplicate(Seq(71)));
        assert_eq!(windows.check(ANN, ClientSeq(4)), Verdict::New);
        assert_eq!(windows.check(ANN, ClientSeq(0)), Verdict::OutOfWindow);
        assert_eq!(windows.check(ANN, ClientSeq(u64::MAX)), Verdict::OutOfWindow);
    }

    #[test]
    fn a_row_is_recorded_as_its_messages_are() {
        let (mut rows, mut singles) = (windows(), windows());
        assert!(!rows.are_next(ANN, ClientSeq(1), ClientSeq(1)), "an unknown client has to be looked at");
        for (first, count) in [(1, 1), (2, 700), (702, 2000), (5000, 3), (9000, 40)] {
            let last = ClientSeq(first + count - 1);
            assert!(first == 1 || rows.are_next(ANN, ClientSeq(first), last));
            rows.record_row(ANN, ClientSeq(first), Seq(first + 100), count, first as i64);
            (first..first + count).for_each(|n| singles.record(ANN, ClientSeq(n), Seq(n + 100), first as i64));
            assert_eq!(rows.snapshot(Seq(20_000)), singles.snapshot(Seq(20_000)));
            assert_eq!(rows.bytes(), singles.bytes());
            assert!(!rows.are_next(ANN, last, last), "it was seen");
        }
        assert!(!rows.are_next(ANN, ClientSeq(9040), ClientSeq(u64::MAX)));
    }

    #[test]
    fn the_window_slides() {
        let mut windows = windows();
        for n in 1..=3000 {
            assert_eq!(windows.check(ANN, ClientSeq(n)), Verdict::New);
            windows.record(ANN, ClientSeq(n), Seq(n), 0);
        }
        assert_eq!(windows.check(ANN, ClientSeq(3000 - 1023)), Verdict::Duplicate(Seq(1977)));
        assert_eq!(windows.check(ANN, ClientSeq(3000 - 1024)), Verdict::OutOfWindow);
        windows.record(ANN, ClientSeq(1_000_000), Seq(3001), 0);
        assert_eq!(windows.check(ANN, ClientSeq(3000)), Verdict::OutOfWindow);
        assert_eq!(windows.check(ANN, ClientSeq(999_999)), Verdict::New);
        assert!(windows.bytes() < 1000);
    }

    #[test]
    fn a_roll_back_forgets_seqs_but_not_the_floor() {
        let mut windows = windows();
        (1..=2000).for_each(|n| windows.record(ANN, ClientSeq(n), Seq(n), 0));
        windows.forget_after(Seq(1990));
        assert_eq!(windows.check(ANN, ClientSeq(1990)), Verdict::Duplicate(Seq(1990)));
        assert_eq!(windows.check(ANN, ClientSeq(1991)), Verdict::New);
        assert_eq!(windows.check(ANN, ClientSeq(976)), Verdict::OutOfWindow, "it was logged once, and that is lost");
        windows.forget_after(Seq(0));
        assert_eq!((windows.clients(), windows.bytes()), (0, 0));
    }

    #[test]
    fn at_the_limit_new_clients_are_refused_until_old_ones_expire() {
        let mut windows = ClientWindows::new(3 * (CLIENT_BYTES + SEQ_BYTES));
        for n in 1..=3u8 {
            assert_eq!(windows.check(ClientId([n; 16]), ClientSeq(1)), Verdict::New);
            windows.record(ClientId([n; 16]), ClientSeq(1), Seq(n.into()), i64::from(n));
        }
        assert_eq!(windows.check(ClientId([9; 16]), ClientSeq(1)), Verdict::Full);
        assert_eq!(windows.check(ClientId([1; 16]), ClientSeq(1)), Verdict::Duplicate(Seq(1)));
        windows.expire(CLIENT_MEMORY_MS + 1);
        assert_eq!(windows.clients(), 2);
        assert_eq!(windows.check(ClientId([9; 16]), ClientSeq(1)), Verdict::New);
    }

    #[test]
    fn a_snapshot_comes_back_whole_and_a_damaged_one_is_refused() {
        let mut windows = windows();
        for n in 1..=50u64 {
            windows.record(ClientId([(n % 7) as u8; 16]), ClientSeq(n * 3), Seq(n), n as i64);
        }
        let snapshot = windows.snapshot(Seq(50));
        let restored = ClientWindows::restore(&snapshot, DEFAULT_WINDOW_BYTES).unwrap();
        assert_eq!(restored.snapshot(Seq(50)), snapshot);
        assert_eq!(restored.bytes(), windows.bytes());
        windows.forget_after(Seq(30));
        assert_eq!(restored.snapshot(Seq(30)), windows.snapshot(Seq(50)));
        for cut in (0..snapshot.len()).step_by(13) {
            assert!(ClientWindows::restore(&snapshot[..cut], DEFAULT_WINDOW_BYTES).is_err(), "cut at {cut}");
        }
        for at in (0..snapshot.len()).step_by(3) {
            let mut damaged = snapshot.to_vec();
            damaged[at] ^= 0xff;
            let _ = ClientWindows::restore(&damaged, DEFAULT_WINDOW_BYTES);
        }
    }
}
