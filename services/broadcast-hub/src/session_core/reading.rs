//! The session as a reader: its cursors in rings and logs, and what is written.

use std::time::Instant;

use gaung_engine::{CursorBehind, GatheredWrite, RingTake, RunPiece};
use gaung_proto::{GroupId, Seq, SeqRange};
use tonic::Code;

use crate::failure::Failure;

use super::{
    EndReason, LogPart, LogRead, RunSource, Say, SessionCore, Surroundings,
    subscription::{Live, Recovery},
};

/// Bytes read from logs above which no more is read ahead.
const FEED_BYTES: usize = 256 * 1024;

impl SessionCore {
    /// Gathers the slices of the next write; 0 slices mean that there is nothing to write. After the write call [`Self::wrote`].
    pub fn gather(&mut self, around: &mut Surroundings<'_>) -> GatheredWrite {
        let (dialect, subscriptions) = (&*around.dialect, &mut self.subscriptions);
        let gathered = self.fan.gather(|group, next, budget_bytes, out| {
            let Some(subscription) = subscriptions.get_mut(group) else { return RingTake::AtHead };
            let group = &subscription.group;
            let Some(log) = subscription.live().map(|live| live.log) else { return RingTake::AtHead };
            let taken =
                group.take(log, next, budget_bytes, out, |run| dialect.encode_run(group, run, next, RunSource::Ring));
            if let (RingTake::AtHead | RingTake::Pieces { at_head: true }, Some(live)) =
                (taken, subscription.live_mut())
            {
                live.reached_head();
            }
            taken
        });
        if gathered.slices == 0 {
            self.progress = around.now;
        }
        gathered
    }

    /// Returns what [`Self::gather`] gathered, to be written in one call.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> + '_ {
        self.fan.slices()
    }

    /// Hands what was gathered to the dialect; returns false if it is to be written as it is.
    pub fn wrap(&self, bytes: usize, around: &mut Surroundings<'_>) -> bool {
        around.dialect.wrap(&mut self.fan.pieces(), bytes)
    }

    /// Notes that so many bytes of the slices were written, from the front.
    pub fn wrote(&mut self, now: Instant, bytes: usize) {
        self.fan.wrote(bytes);
        self.progress = now;
    }

    /// Notes that the socket is full.
    pub fn handle_blocked(&mut self) {
        self.fan.wrote(0);
        self.is_blocked = true;
        for (_, subscription) in self.subscriptions.iter_mut() {
            subscription.live_mut().into_iter().for_each(Live::handle_blocked);
        }
    }

    /// Notes that the socket has room again.
    pub const fn handle_writable(&mut self) {
        self.is_blocked = false;
    }

    /// Returns true if the socket was full when it was last written to.
    #[must_use]
    pub const fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Returns true if a cursor waits for [`Self::recover_cursors`].
    #[must_use]
    pub fn has_cursors_behind(&self) -> bool {
        self.fan.has_behind()
    }

    /// Recovers cursors that are behind their ring or whose log was replaced.
    pub fn recover_cursors(&mut self, around: &mut Surroundings<'_>) {
        while let Some(held) = self.fan.poll_behind() {
            match held {
                // An ending session has no cursors any more.
                _ if self.ending.is_some() => {}
                CursorBehind::Trimmed { group, next, oldest } => self.recover(group, next, oldest, around),
                CursorBehind::Replaced { group } => self.restart(group, around),
            }
        }
    }

    /// Returns true if more of a log may be read ahead.
    #[must_use]
    pub fn wants_log_parts(&self) -> bool {
        self.ending.is_none() && self.fan.feed_bytes() < FEED_BYTES
    }

    /// Returns true if a log is being read, or what was read is not written yet.
    #[must_use]
    pub fn holds_log_parts(&self) -> bool {
        self.fan.feed_bytes() > 0
            || self.subscriptions.iter().any(|(_, subscription)| subscription.live().is_some_and(Live::is_reading))
    }

    /// Returns true if the read with this number is not over.
    #[must_use]
    pub fn is_reading(&self, group: GroupId, number: u64) -> bool {
        self.reading_from(group, number).is_some()
    }

    /// Handles a part of the read `number` of a group's log.
    pub fn handle_log_part(&mut self, group: GroupId, number: u64, part: LogPart, around: &mut Surroundings<'_>) {
        let Some(from) = self.reading_from(group, number) else { return };
        let Some(subscription) = self.subscriptions.get_mut(group) else { return };
        match part {
            LogPart::Run(run) => {
                let bytes = around.dialect.encode_run(&subscription.group, &run, from, RunSource::Log);
                self.fan.feed(group, RunPiece { bytes, next: run.last_seq().next() });
            }
            LogPart::Gap(range) => self.say(Say::Gap { group, range }, around),
            LogPart::End => {
                subscription.live_mut().into_iter().for_each(Live::end_reading);
                self.fan.release(group);
            }
            LogPart::Failed(failure) => {
                subscription.live_mut().into_iter().for_each(Live::end_reading);
                self.reading_failed(group, failure, around);
            }
        }
    }

    fn reading_from(&self, group: GroupId, number: u64) -> Option<Seq> {
        self.subscriptions.get(group)?.live()?.reading_from(number)
    }

    fn reading_failed(&mut self, group: GroupId, failure: Failure, around: &mut Surroundings<'_>) {
        // The stream of runs reports a new log or the group's end; until then the cursor is held.
        if !matches!(failure.code, Code::FailedPrecondition | Code::NotFound) {
            self.fail_subscription(group, failure, around);
        }
    }

    /// Recovers a cursor at `next`, which the ring has dropped: reads the log, skips what is lost, or ends a slow session.
    fn recover(&mut self, id: GroupId, next: Seq, oldest: Seq, around: &mut Surroundings<'_>) {
        let number = self.number();
        let Some(subscription) = self.subscriptions.get_mut(id) else { return };
        let (group, ticket) = (subscription.group.clone(), subscription.ticket.clone());
        let Some(live) = subscription.live_mut() else { return };
        match live.fall_behind(around.now, next, self.limits.resync) {
            Recovery::Read { is_resync } => {
                let read = LogRead { number, group, log: live.log, next, ticket, is_resync };
                live.begin_reading(number, next, around.hub.read_log(read));
            }
            Recovery::Skip => {
                if let Some(range) = SeqRange::new(next, Seq(oldest.0.saturating_sub(1))) {
                    self.say(Say::Gap { group: id, range }, around);
                }
                self.fan.place(id, oldest);
            }
            Recovery::TooSlow => self.end(EndReason::TooSlow, around),
        }
    }
}
