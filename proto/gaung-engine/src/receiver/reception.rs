//! Counts which of the relay's first-sent datagrams came, for STATUS and for the loss of the last seconds.

use std::{collections::VecDeque, time::Instant};

use gaung_proto::{Epoch, Pkt};

use crate::timing::TIMING;

/// Numbers below the highest one that may still come late.
const LATE: u32 = 128;
/// A jump further ahead than this is not believed.
const MAX_JUMP: u32 = 1 << 16;
/// So many datagrams that only heartbeats advertised are not believed if a datagram contradicts them.
const INCREDIBLE: u32 = 512;
/// Fewer datagrams than this say nothing about loss.
const MIN_SAMPLE: u32 = 20;

/// Counts the datagrams of one epoch: received, lost, repaired.
#[derive(Debug)]
pub(super) struct Reception {
    epoch: Option<(Epoch, Instant)>,
    highest: Option<u32>,
    /// Bit i: `highest - i` has come.
    seen: u128,
    received: u32,
    lost: u32,
    repaired: u32,
    /// Heartbeats in a row that contradict `highest`.
    contradicted: u8,
    /// The part of `highest` that only heartbeats advertised since the last DATA.
    announced: u32,
    /// New messages that came in first-sent DATA, and by repair or from the log.
    fresh: (u32, u32),
    samples: VecDeque<ReceptionSample>,
}

/// The counters at one time.
#[derive(Debug, Clone, Copy)]
struct ReceptionSample {
    at: Instant,
    received: u32,
    lost: u32,
    fresh: (u32, u32),
}

impl Reception {
    pub(super) const fn new() -> Self {
        Self {
            epoch: None,
            highest: None,
            seen: 0,
            received: 0,
            lost: 0,
            repaired: 0,
            contradicted: 0,
            announced: 0,
            fresh: (0, 0),
            samples: VecDeque::new(),
        }
    }

    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.epoch.map(|(epoch, _)| epoch)
    }

    pub(super) fn highest(&self) -> Pkt {
        Pkt(self.highest.unwrap_or(0))
    }

    pub(super) const fn counters(&self) -> (u32, u32, u32) {
        (self.received, self.lost, self.repaired)
    }

    /// Handles a heartbeat of `epoch`; returns true if a new epoch begins.
    pub(super) fn handle_epoch(&mut self, now: Instant, epoch: Epoch) -> bool {
        match self.epoch {
            Some((current, _)) if current == epoch => {
                self.epoch = Some((epoch, now));
                false
            }
            // Two relays of one group cannot both append; a stranger that claims another epoch is outlasted.
            Some((_, heard)) if now.saturating_duration_since(heard) < TIMING.epoch_silence => false,
            Some(_) | None => {
                *self = Self { epoch: Some((epoch, now)), ..Self::new() };
                true
            }
        }
    }

    /// Confirms the epoch that the relay itself answered; returns true if another one was believed.
    pub(super) fn confirm_epoch(&mut self, now: Instant, epoch: Epoch) -> bool {
        let is_wrong = self.epoch.is_some_and(|(current, _)| current != epoch);
        if is_wrong {
            *self = Self { epoch: Some((epoch, now)), ..Self::new() };
        }
        is_wrong
    }

    /// Counts new messages, `first_sent` or not.
    pub(super) const fn count(&mut self, messages: u64, first_sent: bool) {
        let (first, other) = self.fresh;
        let messages = messages as u32;
        self.fresh = match first_sent {
            true => (first.wrapping_add(messages), other),
            false => (first, other.wrapping_add(messages)),
        };
    }

    /// Counts a first-sent DATA of `epoch` that came by multicast.
    pub(super) fn handle_data(&mut self, now: Instant, epoch: Epoch, pkt: Pkt) {
        match self.epoch {
            Some((current, _)) if current == epoch => self.epoch = Some((epoch, now)),
            Some(_) | None => return,
        }
        let Some(highest) = self.highest else {
            // What was sent before this member listened is not lost.
            self.highest = Some(pkt.0);
            self.seen = u128::MAX;
            self.received = 1;
            return;
        };
        if pkt.0 > highest {
            let ahead = pkt.0 - highest;
            if ahead > MAX_JUMP || pkt >= Pkt::FIRST_OTHER {
                return;
            }
            self.advance(ahead);
            self.announced = 0;
            self.seen |= 1;
            self.received = self.received.wrapping_add(1);
            // `advance` counted all that it passed as lost, this one too.
            self.lost = self.lost.wrapping_sub(1);
            return;
        }
        let behind = highest - pkt.0;
        if self.announced >= INCREDIBLE && behind >= LATE {
            // What a heartbeat spoke of has not been sent.
            self.retract();
            return self.handle_data(now, epoch, pkt);
        }
        if behind < LATE && self.seen & (1 << behind) == 0 {
            self.seen |= 1 << behind;
            self.received = self.received.wrapping_add(1);
            self.lost = self.lost.saturating_sub(1);
        }
    }

    /// Handles an advertised highest pkt.
    pub(super) fn handle_last_pkt(&mut self, last: Pkt) {
        let Some(highest) = self.highest else {
            self.highest = Some(last.0);
            self.seen = u128::MAX;
            return;
        };
        if last.0 >= highest {
            self.contradicted = 0;
            if last.0 - highest <= MAX_JUMP {
                self.advance(last.0 - highest);
                self.announced += last.0 - highest;
            }
            return;
        }
        if self.announced >= INCREDIBLE {
            self.retract();
            return self.handle_last_pkt(last);
        }
        // One lower count may be a heartbeat that was overtaken; three in a row mean that the higher one was forged.
        self.contradicted += 1;
        if self.contradicted >= 3 {
            self.contradicted = 0;
            self.highest = Some(last.0);
            self.seen = u128::MAX;
        }
    }

    pub(super) const fn handle_repair(&mut self) {
        self.repaired = self.repaired.wrapping_add(1);
    }

    /// Takes a sample of the counters. Call it about once a second.
    pub(super) fn sample(&mut self, now: Instant) {
        let Self { received, lost, fresh, .. } = *self;
        self.samples.push_back(ReceptionSample { at: now, received, lost, fresh });
        while self.samples.len() > 2 && now.saturating_duration_since(self.samples[1].at) >= TIMING.loss_span {
            self.samples.pop_front();
        }
    }

    /// Returns the share of first-sent datagrams that did not come in the last 5 s, percent; 0 where too few were sent.
    pub(super) fn loss_percent(&self) -> u32 {
        let Some(before) = self.samples.front() else { return 0 };
        let (received, lost) = (self.received.wrapping_sub(before.received), self.lost.saturating_sub(before.lost));
        let sent = received.saturating_add(lost);
        if sent < MIN_SAMPLE { 0 } else { (u64::from(lost) * 100 / u64::from(sent)) as u32 }
    }

    /// Returns the loss by which a lane is chosen. Counts can be forged, so a lane that is in use is left only if as
    /// many messages had to be repaired or read: those were really missed.
    pub(super) fn lane_loss_percent(&self, in_use: bool) -> u32 {
        let loss = self.loss_percent();
        let Some(before) = self.samples.front().filter(|_| in_use) else { return loss };
        let first = self.fresh.0.wrapping_sub(before.fresh.0);
        let other = self.fresh.1.wrapping_sub(before.fresh.1);
        let missed = u64::from(other) * 100 / (u64::from(first) + u64::from(other)).max(1);
        loss.min(missed as u32)
    }

    pub(super) fn forget_loss(&mut self) {
        self.samples.clear();
    }

    /// Takes back what heartbeats advertised since the last DATA.
    fn retract(&mut self) {
        let announced = std::mem::take(&mut self.announced);
        self.highest = self.highest.map(|highest| highest.saturating_sub(announced));
        self.lost = self.lost.saturating_sub(announced);
        self.seen = u128::MAX;
    }

    fn advance(&mut self, ahead: u32) {
        self.highest = self.highest.map(|highest| highest + ahead);
        self.seen = if ahead >= LATE { 0 } else { self.seen << ahead };
        self.lost = self.lost.wrapping_add(ahead);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const EPOCH: Epoch = Epoch(3);

    fn heard(pkts: &[u32]) -> Reception {
        let now = Instant::now();
        let mut reception = Reception::new();
        reception.handle_epoch(now, EPOCH);
        pkts.iter().for_each(|&pkt| reception.handle_data(now, EPOCH, Pkt(pkt)));
        reception
    }

    #[test]
    fn holes_are_lost_until_they_come_late() {
        assert_eq!(heard(&[1, 2, 3]).counters(), (3, 0, 0));
        assert_eq!(heard(&[1, 4]).counters(), (2, 2, 0));
        assert_eq!(heard(&[1, 4, 2, 3, 3, 1]).counters(), (4, 0, 0));
        assert_eq!(heard(&[5, 9, 1]).counters(), (2, 3, 0), "what was sent before the first one is not counted");
    }

    #[test]
    fn the_heartbeat_tells_what_was_lost_at_the_end() {
        let mut reception = heard(&[1, 2]);
        reception.handle_last_pkt(Pkt(5));
        assert_eq!(reception.counters(), (2, 3, 0));
    }

    #[test]
    fn forged_jumps_and_epochs_do_not_last() {
        let mut reception = heard(&[1, 2, 1_000_000]);
        assert_eq!(reception.counters(), (2, 0, 0));
        let now = Instant::now();
        reception.handle_data(now, Epoch(9), Pkt(60_000));
        assert!(!reception.handle_epoch(now, Epoch(9)));
        reception.handle_data(now, EPOCH, Pkt(60_000));
        (0..3).for_each(|_| reception.handle_last_pkt(Pkt(2)));
        reception.handle_data(now, EPOCH, Pkt(3));
        assert_eq!(reception.highest(), Pkt(3));
        assert!(reception.handle_epoch(now + TIMING.epoch_silence, Epoch(4)));
        assert_eq!(reception.counters(), (0, 0, 0));
    }

    #[test]
    fn loss_is_that_of_the_last_seconds() {
        let now = Instant::now();
        let mut reception = heard(&[1]);
        for second in 0..20u32 {
            let (base, lossy) = (2 + second * 100, second < 10);
            (base..base + 100).filter(|pkt| !lossy || pkt % 2 == 0).for_each(|pkt| {
                reception.handle_data(now, EPOCH, Pkt(pkt));
            });
            reception.sample(now + Duration::from_secs(second.into()));
            match second {
                9 => assert!((45..=55).contains(&reception.loss_percent()), "{}", reception.loss_percent()),
                19 => assert_eq!(reception.loss_percent(), 0),
                _ => {}
            }
        }
    }
}
