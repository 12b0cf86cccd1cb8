//! Handles heartbeats, confirmations (NCF) and the relay's answers.

use std::time::{Duration, Instant};

use gaung_proto::{
    DecodeError, GroupTag, Pkt,
    body::{Heartbeat, Ncf, Probe},
    datagram::Header,
};

use super::{MAX_GROUP_SIZE, MemberReceiver, ReceiverEvent, lane::LaneMove, spans::PktRange};
use crate::timing;

impl MemberReceiver {
    pub(super) fn handle_heartbeat(
        &mut self,
        now: Instant,
        header: &Header,
        heartbeat: &Heartbeat,
    ) -> Result<(), DecodeError> {
        if heartbeat.group != self.config.group || heartbeat.log != self.config.log {
            self.stats.ignored += 1;
            return Ok(());
        }
        let is_known = self.reception.epoch().is_none_or(|epoch| epoch == header.epoch);
        if !is_known && !self.reporter.is_unanswered() {
            // Anybody can claim that a new epoch has begun; only the relay's answer to a PROBE proves it.
            self.reporter.probe_soon(now);
        } else if self.reception.handle_epoch(now, header.epoch) {
            self.reporter.forget_cookie(now);
            self.blocks.clear();
        }
        if GroupTag::of(heartbeat.group, heartbeat.generation, heartbeat.log) == self.config.tag {
            self.moving.handle_generation(heartbeat.generation);
            self.handle_heard_here();
        }
        let mut missed = None;
        if self.reception.epoch() == Some(header.epoch) {
            let before = self.reception.highest();
            self.reception.handle_last_pkt(heartbeat.last_pkt);
            missed = PktRange::between(before, Pkt(self.reception.highest().0.saturating_add(1)));
        }
        self.grtt = timing::bounded_grtt(Duration::from_micros(heartbeat.grtt_us.into()));
        self.group_size = heartbeat.group_size.clamp(1, MAX_GROUP_SIZE);
        self.heard(now, header);
        self.doubt_head(now, header.seq, timing::TIMING.head_settled);
        self.gaps.handle_heartbeat(header.seq, heartbeat.oldest_repairable);
        self.advertise_carried(now, header.seq, missed);
        Ok(())
    }

    /// Handles the relay's answer to a PROBE. It is authentic, because nobody else knows the nonce in it.
    pub(super) fn handle_answer(&mut self, now: Instant, header: &Header, probe: &Probe) {
        let Some(answer) = self.reporter.handle_answer(now, probe) else { return };
        if answer.is_first {
            self.reporter.handle_heard(now, header.ts_us);
        }
        if self.reception.confirm_epoch(now, header.epoch) {
            self.blocks.clear();
        }
        if !self.config.history {
            let wait = self.gap_wait();
            self.gaps.confirm(now, header.seq, answer.asked, wait, &mut self.window);
            self.announced.cut(self.gaps.advertised());
        }
        self.handle_relay_head(now, answer.delivered, header.seq);
    }

    pub(super) fn handle_ncf(&mut self, now: Instant, ncf: &Ncf) {
        self.stats.ncfs += 1;
        // Members that still lack it then request it at random times again, or all that this silenced would at once.
        let backoff = self.nak_backoff();
        self.gaps.handle_ncf(now, &ncf.ranges, self.grtt, backoff, &mut self.window);
    }

    pub(super) fn heard(&mut self, now: Instant, header: &Header) {
        self.reporter.handle_heard(now, header.ts_us);
        let moved = self.lane.handle_heard(now);
        self.handle_move(now, moved);
    }

    pub(super) fn handle_move(&mut self, now: Instant, moved: Option<LaneMove>) {
        match moved {
            None => {}
            Some(LaneMove::Up) => {
                self.reception.forget_loss();
                self.path_mtu.retry();
                let due = now + self.gap_wait();
                self.gaps.restart(now, due, &mut self.window);
                self.emit(ReceiverEvent::LaneUp);
            }
            Some(LaneMove::Down(why)) => {
                self.reception.forget_loss();
                self.emit(ReceiverEvent::LaneDown { why, cookie: self.reporter.cookie() });
            }
        }
    }
}
