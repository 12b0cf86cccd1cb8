//! A hub session's side of the fan-out: one cursor for each of its groups, and the parts of the next write.

use std::collections::VecDeque;

use bytes::Bytes;
use gaung_proto::{GroupId, Seq};

/// Limits what one session may write at once and keep waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FanoutLimits {
    /// Approximate encoded bytes of one write.
    pub write_bytes: usize,
    /// Slices of one write; at least 2.
    pub write_slices: usize,
    /// Control frames that may wait; at the limit the session ends.
    pub control_bytes: usize,
}

impl Default for FanoutLimits {
    fn default() -> Self {
        Self { write_bytes: 256 * 1024, write_slices: 64, control_bytes: 1024 * 1024 }
    }
}

/// The part of one run that a session writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPiece {
    /// The shared bytes; empty where the session has nothing to write for the run.
    pub bytes: Bytes,
    /// Where the cursor stands once they are written.
    pub next: Seq,
}

/// What a ring has at a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RingTake {
    /// At least one piece was given.
    Pieces {
        /// Nothing more can be had until the group is marked again.
        at_head: bool,
    },
    /// Nothing was logged after the cursor yet.
    AtHead,
    /// The cursor is older than the ring.
    Behind {
        /// First seq that can be had.
        oldest: Seq,
    },
    /// The group has another log: the cursor's seq means nothing in it.
    Replaced,
}

/// A cursor that its ring cannot serve; it is held until it is moved or released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CursorBehind {
    /// The ring no longer has what the cursor needs, see [`RingTake::Behind`].
    Trimmed {
        /// The group of the cursor.
        group: GroupId,
        /// The seq that the session needs next.
        next: Seq,
        /// First seq that the ring has.
        oldest: Seq,
    },
    /// The group has another log, see [`RingTake::Replaced`].
    Replaced {
        /// The group of the cursor.
        group: GroupId,
    },
}

/// The limit of waiting control frames is reached: the reader is unresponsive and must be disconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {limit_bytes} bytes of answers wait for a reader that does not read")]
pub struct ControlFull {
    /// The limit that was reached, bytes.
    pub limit_bytes: usize,
}

/// One session's cursors and its half-written frame. It owns no copy of a message.
///
/// Call order: [`Fanout::mark`] when a group has something new; then [`Fanout::gather`], write [`Fanout::slices`],
/// report with [`Fanout::wrote`] how many bytes went out (0 if none), take [`Fanout::poll_behind`] until it is empty;
/// again while something was gathered and the socket takes more. A frame once begun is finished before anything else;
/// control frames go before runs; the groups take turns at frame borders.
#[derive(Debug)]
pub struct Fanout {
    limits: FanoutLimits,
    cursors: Vec<Cursor>,
    turn: usize,
    half: Option<Bytes>,
    control: VecDeque<Bytes>,
    control_bytes: usize,
    batch: Vec<BatchSlice>,
    found: Vec<RunPiece>,
    behind: VecDeque<CursorBehind>,
}

/// Says how much [`Fanout::gather`] put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatheredWrite {
    /// Slices; 0 means that there is nothing to write.
    pub slices: usize,
    /// Bytes in all slices together.
    pub bytes: usize,
}

impl Fanout {
    /// Creates a session's fan-out without groups.
    #[must_use]
    pub const fn new(limits: FanoutLimits) -> Self {
        Self {
            limits,
            cursors: Vec::new(),
            turn: 0,
            half: None,
            control: VecDeque::new(),
            control_bytes: 0,
            batch: Vec::new(),
            found: Vec::new(),
            behind: VecDeque::new(),
        }
    }

    /// Puts the group's cursor at `next`, adding it if there is none, and lets it run.
    pub fn place(&mut self, group: GroupId, next: Seq) {
        let cursor = Cursor { group, next, state: CursorState::Ready, feed: VecDeque::new(), feed_bytes: 0 };
        match self.index(group) {
            Some(index) => self.cursors[index] = cursor,
            None => self.cursors.push(cursor),
        }
    }

    /// Removes the group's cursor. A frame of it that is half written is still finished.
    pub fn remove(&mut self, group: GroupId) {
        self.cursors.retain(|cursor| cursor.group != group);
    }

    /// Removes all cursors, for a session that ends: only control frames follow.
    pub fn remove_all(&mut self) {
        self.cursors.clear();
    }

    /// Returns the seq after the last one whose frame was begun; `None` without such a group.
    #[must_use]
    pub fn next(&self, group: GroupId) -> Option<Seq> {
        self.index(group).map(|index| self.cursors[index].next)
    }

    /// Returns every group and the seq after the last one whose frame was begun.
    pub fn places(&self) -> impl Iterator<Item = (GroupId, Seq)> + '_ {
        self.cursors.iter().map(|cursor| (cursor.group, cursor.next))
    }

    /// Notes that the group may have something new.
    pub fn mark(&mut self, group: GroupId) {
        if let Some(index) = self.index(group)
            && self.cursors[index].state == CursorState::AtHead
        {
            self.cursors[index].state = CursorState::Ready;
        }
    }

    /// Holds the group's cursor: it is fed from the log and does not read the ring.
    pub fn hold(&mut self, group: GroupId) {
        if let Some(index) = self.index(group) {
            self.cursors[index].state = CursorState::Held;
        }
    }

    /// Lets a held cursor go back to the ring once its feed is written.
    pub fn release(&mut self, group: GroupId) {
        if let Some(index) = self.index(group) {
            self.cursors[index].state = CursorState::Ready;
        }
    }

    /// Gives a held cursor a piece that was read from the store. The caller stays within [`Fanout::feed_bytes`].
    pub fn feed(&mut self, group: GroupId, piece: RunPiece) {
        if let Some(index) = self.index(group) {
            let cursor = &mut self.cursors[index];
            cursor.feed_bytes += piece.bytes.len();
            cursor.feed.push_back(piece);
        }
    }

    /// Returns the bytes fed and not yet written, all groups together.
    #[must_use]
    pub fn feed_bytes(&self) -> usize {
        self.cursors.iter().map(|cursor| cursor.feed_bytes).sum()
    }

    /// Queues a control frame.
    ///
    /// # Errors
    /// [`ControlFull`]: nothing was queued, the session must end.
    pub fn push_control(&mut self, frame: Bytes) -> Result<(), ControlFull> {
        let limit_bytes = self.limits.control_bytes;
        if self.control_bytes + frame.len() > limit_bytes {
            return Err(ControlFull { limit_bytes });
        }
        self.control_bytes += frame.len();
        self.control.push_back(frame);
        Ok(())
    }

    /// Queues a session's last control frame, also above the limit.
    pub fn push_last(&mut self, frame: Bytes) {
        self.control_bytes += frame.len();
        self.control.push_back(frame);
    }

    /// Returns the bytes of control frames that wait.
    #[must_use]
    pub const fn control_bytes(&self) -> usize {
        self.control_bytes
    }

    /// Whether no frame is begun and no control frame waits.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.half.is_none() && self.control.is_empty()
    }

    /// Puts the next write together: the rest of a begun frame, control frames, then runs of the groups in turn.
    ///
    /// `take(group, next, budget_bytes, pieces)` appends what the group has from `next` on, about `budget_bytes` of it.
    pub fn gather(
        &mut self,
        mut take: impl FnMut(GroupId, Seq, usize, &mut Vec<RunPiece>) -> RingTake,
    ) -> GatheredWrite {
        self.batch.clear();
        let mut total = 0;
        let fixed = self.half.iter().map(|half| (half, SliceSource::Half));
        let control = self.control.iter().map(|frame| (frame, SliceSource::Control));
        for (bytes, from) in fixed.chain(control).take(self.limits.write_slices) {
            total += bytes.len();
            self.batch.push(BatchSlice { bytes: bytes.clone(), from });
        }
        let ready = self.cursors.iter().filter(|cursor| cursor.wants_turn()).count();
        let quantum = self.limits.write_bytes / ready.max(1);
        for step in 0..self.cursors.len() {
            if total >= self.limits.write_bytes || self.batch.len() >= self.limits.write_slices {
                break;
            }
            let index = (self.turn + step) % self.cursors.len();
            total += self.gather_cursor(index, quantum, &mut take);
        }
        GatheredWrite { slices: self.batch.len(), bytes: total }
    }

    /// Returns what [`Fanout::gather`] put together, in the order in which it is written.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> + '_ {
        self.batch.iter().map(|slot| &slot.bytes[..])
    }

    /// Returns the same as shared bytes.
    pub fn pieces(&self) -> impl Iterator<Item = &Bytes> + '_ {
        self.batch.iter().map(|slot| &slot.bytes)
    }

    /// Notes that `written` bytes of the slices went out, from the front; the rest is gathered again.
    pub fn wrote(&mut self, written: usize) {
        let mut left = written;
        let mut batch = std::mem::take(&mut self.batch);
        for slot in batch.drain(..) {
            if slot.bytes.len() <= left {
                left -= slot.bytes.len();
                self.begun(slot.from, None);
            } else {
                if left > 0 {
                    let rest = slot.bytes.slice(left..);
                    self.begun(slot.from, Some(rest));
                }
                break;
            }
        }
        self.batch = batch;
    }

    /// Whether a cursor waits in [`Fanout::poll_behind`].
    #[must_use]
    pub fn has_behind(&self) -> bool {
        !self.behind.is_empty()
    }

    /// Returns the next cursor that its ring cannot serve.
    pub fn poll_behind(&mut self) -> Option<CursorBehind> {
        self.behind.pop_front()
    }

    fn gather_cursor(
        &mut self,
        index: usize,
        quantum: usize,
        take: &mut impl FnMut(GroupId, Seq, usize, &mut Vec<RunPiece>) -> RingTake,
    ) -> usize {
        let room = self.limits.write_slices - self.batch.len();
        let cursor = &mut self.cursors[index];
        if !cursor.feed.is_empty() {
            let mut total = 0;
            for piece in cursor.feed.iter().take(room) {
                total += piece.bytes.len();
                let from = SliceSource::Feed { index, next: piece.next };
                self.batch.push(BatchSlice { bytes: piece.bytes.clone(), from });
                if total >= quantum {
                    break;
                }
            }
            return total;
        }
        if cursor.state != CursorState::Ready {
            return 0;
        }
        self.found.clear();
        let (group, next) = (cursor.group, cursor.next);
        match take(group, next, quantum, &mut self.found) {
            RingTake::Pieces { at_head } => self.batch_found(index, room, at_head),
            RingTake::AtHead => {
                cursor.state = CursorState::AtHead;
                0
            }
            RingTake::Behind { oldest } => {
                cursor.state = CursorState::Held;
                self.behind.push_back(CursorBehind::Trimmed { group, next, oldest });
                0
            }
            RingTake::Replaced => {
                cursor.state = CursorState::Held;
                self.behind.push_back(CursorBehind::Replaced { group });
                0
            }
        }
    }

    fn batch_found(&mut self, index: usize, room: usize, at_head: bool) -> usize {
        let last = self.found.len();
        let mut total = 0;
        for (i, piece) in self.found.drain(..).enumerate().take(room) {
            total += piece.bytes.len();
            let from = SliceSource::Run { index, next: piece.next, at_head: at_head && i + 1 == last };
            self.batch.push(BatchSlice { bytes: piece.bytes, from });
        }
        total
    }

    /// Advances the source of a slice whose first bytes went out, or all of them; `rest` is what is left of it.
    fn begun(&mut self, from: SliceSource, rest: Option<Bytes>) {
        self.half = rest;
        // What was begun is finished before anything else, so that its source may pass it now, whatever becomes of the source.
        match from {
            SliceSource::Half => {}
            SliceSource::Control => {
                let frame = self.control.pop_front();
                self.control_bytes -= frame.map_or(0, |frame| frame.len());
            }
            SliceSource::Feed { index, next } => {
                let cursor = &mut self.cursors[index];
                cursor.next = next;
                let piece = cursor.feed.pop_front();
                cursor.feed_bytes -= piece.map_or(0, |piece| piece.bytes.len());
                self.turn = index + 1;
            }
            SliceSource::Run { index, next, at_head } => {
                let cursor = &mut self.cursors[index];
                cursor.next = next;
                if at_head {
                    cursor.state = CursorState::AtHead;
                }
                self.turn = index + 1;
            }
        }
    }

    fn index(&self, group: GroupId) -> Option<usize> {
        self.cursors.iter().position(|cursor| cursor.group == group)
    }
}

#[derive(Debug)]
struct Cursor {
    group: GroupId,
    next: Seq,
    state: CursorState,
    feed: VecDeque<RunPiece>,
    feed_bytes: usize,
}

impl Cursor {
    fn wants_turn(&self) -> bool {
        self.state == CursorState::Ready || !self.feed.is_empty()
    }
}

/// What a cursor waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CursorState {
    /// The ring may have something.
    Ready,
    /// Has written all there is, and waits for [`Fanout::mark`].
    AtHead,
    /// Is fed from the log, because the ring cannot serve it.
    Held,
}

/// One slice of the next write.
#[derive(Debug)]
struct BatchSlice {
    bytes: Bytes,
    from: SliceSource,
}

/// Where a slice of the next write comes from.
#[derive(Debug, Clone, Copy)]
enum SliceSource {
    Half,
    Control,
    Feed { index: usize, next: Seq },
    Run { index: usize, next: Seq, at_head: bool },
}

#[cfg(test)]
mod tests;
