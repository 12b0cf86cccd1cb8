//! Decides whether multicast works, and when to move to the hub and back.

use std::time::{Duration, Instant};

use crate::timing::TIMING;

/// Loss over 5 s above which the hub serves better, percent.
const BAD_LOSS: u32 = 25;
/// Loss below which multicast may be tried again, percent.
const GOOD_LOSS: u32 = 5;

/// Which lane a member may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LanePolicy {
    /// Multicast, with the hub as the fallback while multicast does not work.
    Auto,
    /// Multicast alone; whether it works is reported all the same.
    MulticastOnly,
    /// No multicast: nothing is sent, and datagrams are not expected.
    TcpOnly,
}

/// Why multicast is not good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LaneTrouble {
    /// Nothing was heard from the start.
    NotHeard,
    /// Nothing is heard any more.
    HeartbeatLost,
    /// More than a quarter of the datagrams of the last 5 s did not come.
    Loss {
        /// The share that did not come, percent.
        percent: u32,
    },
    /// Long datagrams do not come, short ones do: a link on the way has a small MTU. Where multicast alone is allowed it
    /// stays in use.
    TooLong {
        /// DATA with bodies of about so many bytes and more.
        bytes: usize,
    },
    /// Somebody sends forged DATA in the relay's name: the log contradicted what was delivered.
    Forged,
}

/// Quality of the datagrams of the last seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LaneQuality {
    pub(super) loss_percent: u32,
    /// Bodies of so many bytes are known not to come.
    pub(super) too_long: Option<usize>,
    /// Bodies of so many bytes are suspected not to come.
    pub(super) may_be_too_long: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LaneMove {
    Up,
    Down(LaneTrouble),
}

#[derive(Debug)]
pub(super) struct LaneHealth {
    policy: LanePolicy,
    state: LaneState,
    heard: Option<Instant>,
    next_tick: Instant,
    hold: Duration,
    /// Whether it was reported that long datagrams do not come, and multicast stays in use.
    is_narrow: bool,
    trust: DatagramTrust,
}

/// Whether what datagrams carry is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DatagramTrust {
    Full,
    /// Datagrams were forged: the hub has to deliver instead, and to begin before this.
    UntilHub(Instant),
    /// The hub delivers instead of datagrams.
    Withdrawn,
}

#[derive(Debug, Clone, Copy)]
enum LaneState {
    Probing { since: Instant },
    Up { since: Instant },
    Down { steady_since: Option<Instant> },
}

impl LaneHealth {
    pub(super) fn new(policy: LanePolicy, now: Instant) -> Self {
        let state = LaneState::Probing { since: now };
        Self {
            policy,
            state,
            heard: None,
            next_tick: now + TIMING.lane_check / 2,
            hold: TIMING.lane_hold_min,
            is_narrow: false,
            trust: DatagramTrust::Full,
        }
    }

    /// Whether this member requests repairs and sends STATUS.
    pub(super) const fn is_active(&self) -> bool {
        match self.policy {
            LanePolicy::TcpOnly => false,
            LanePolicy::MulticastOnly => true,
            LanePolicy::Auto => matches!(self.state, LaneState::Probing { .. } | LaneState::Up { .. }),
        }
    }

    pub(super) const fn next_tick(&self) -> Option<Instant> {
        match self.policy {
            LanePolicy::TcpOnly => None,
            LanePolicy::Auto | LanePolicy::MulticastOnly => Some(self.next_tick),
        }
    }

    /// Whether the relay has been silent for so long that a PROBE is due.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.heard.is_none_or(|heard| now.saturating_duration_since(heard) > TIMING.lane_silence / 2)
    }

    /// Notes that the relay was heard by multicast.
    pub(super) fn handle_heard(&mut self, now: Instant) -> Option<LaneMove> {
        self.heard = Some(now);
        match &mut self.state {
            LaneState::Probing { .. } => {
                self.state = LaneState::Up { since: now };
                Some(LaneMove::Up)
            }
            LaneState::Up { .. } => None,
            LaneState::Down { steady_since } => {
                steady_since.get_or_insert(now);
                None
            }
        }
    }

    /// Leaves multicast because the log contradicts a datagram, or stays away from it for another hold.
    pub(super) fn handle_forged(&mut self, now: Instant) -> Option<LaneMove> {
        if self.policy != LanePolicy::Auto {
            return None;
        }
        if self.trust == DatagramTrust::Full {
            self.trust = DatagramTrust::UntilHub(now + TIMING.hub_patience);
        }
        if matches!(self.state, LaneState::Down { .. }) {
            self.state = LaneState::Down { steady_since: None };
            return None;
        }
        self.go_down(LaneTrouble::Forged)
    }

    /// Notes that the hub delivers.
    pub(super) fn handle_hub(&mut self) {
        if self.trust != DatagramTrust::Full {
            self.trust = DatagramTrust::Withdrawn;
        }
    }

    /// Whether what datagrams carry may be delivered.
    pub(super) fn is_trusted(&self) -> bool {
        self.trust == DatagramTrust::Full
    }

    /// Forgets what was learnt of multicast, because this machine's network is another one.
    pub(super) const fn handle_network(&mut self) {
        self.hold = TIMING.lane_hold_min;
    }

    /// Reviews the lane. Call it when [`Self::next_tick`] has come.
    pub(super) fn tick(&mut self, now: Instant, quality: LaneQuality) -> Option<LaneMove> {
        let LaneQuality { loss_percent, too_long, may_be_too_long } = quality;
        self.next_tick = now + TIMING.lane_check;
        // No hub has come in time: datagrams that may be forged are better than nothing.
        if matches!(self.trust, DatagramTrust::UntilHub(until) if until <= now) {
            self.trust = DatagramTrust::Full;
        }
        let silent = self.heard.is_none_or(|heard| now.saturating_duration_since(heard) >= TIMING.lane_silence);
        match self.state {
            LaneState::Probing { since } if now.saturating_duration_since(since) >= TIMING.lane_probe => {
                self.go_down(LaneTrouble::NotHeard)
            }
            LaneState::Probing { since } => {
                self.next_tick = since + TIMING.lane_probe;
                None
            }
            LaneState::Up { .. } if silent => self.go_down(LaneTrouble::HeartbeatLost),
            LaneState::Up { .. }
                if too_long.is_some() != self.is_narrow && self.policy == LanePolicy::MulticastOnly =>
            {
                self.is_narrow = too_long.is_some();
                Some(too_long.map_or(LaneMove::Up, |bytes| LaneMove::Down(LaneTrouble::TooLong { bytes })))
            }
            LaneState::Up { .. } if too_long.is_some() && self.policy == LanePolicy::Auto => {
                self.go_down(LaneTrouble::TooLong { bytes: too_long? })
            }
            LaneState::Up { .. } if loss_percent > BAD_LOSS && self.policy == LanePolicy::Auto => {
                let loss = LaneTrouble::Loss { percent: loss_percent };
                self.go_down(may_be_too_long.map_or(loss, |bytes| LaneTrouble::TooLong { bytes }))
            }
            LaneState::Up { since } => {
                // The hold grows with each return, against flapping; a calm spell shows that the trouble was passing.
                if now.saturating_duration_since(since) >= TIMING.lane_calm {
                    self.hold = TIMING.lane_hold_min;
                }
                // Silence is noticed when it is one, not up to a tick later.
                self.next_tick =
                    self.heard.map_or(self.next_tick, |heard| self.next_tick.min(heard + TIMING.lane_silence));
                None
            }
            // Hysteresis: leaving needs more than `BAD_LOSS`, returning less than `GOOD_LOSS` without a break.
            LaneState::Down { .. } if silent || loss_percent > GOOD_LOSS => {
                self.state = LaneState::Down { steady_since: None };
                None
            }
            LaneState::Down { steady_since: Some(since) }
                if now.saturating_duration_since(since) >= self.needed_hold(may_be_too_long) =>
            {
                self.hold = (self.hold * 2).min(TIMING.lane_hold_max);
                self.state = LaneState::Up { since: now };
                self.trust = DatagramTrust::Full;
                Some(LaneMove::Up)
            }
            LaneState::Down { .. } => None,
        }
    }

    /// Returns how long multicast must be heard before the member returns. Where long datagrams did not come, short
    /// ones are no reason to return soon.
    fn needed_hold(&self, may_be_too_long: Option<usize>) -> Duration {
        match (self.policy, may_be_too_long) {
            (LanePolicy::MulticastOnly, _) => Duration::ZERO,
            (LanePolicy::Auto | LanePolicy::TcpOnly, Some(_)) => TIMING.lane_hold_max,
            (LanePolicy::Auto | LanePolicy::TcpOnly, None) => self.hold,
        }
    }

    fn go_down(&mut self, why: LaneTrouble) -> Option<LaneMove> {
        self.state = LaneState::Down { steady_since: None };
        Some(LaneMove::Down(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn run(
        health: &mut LaneHealth,
        from: Instant,
        for_ms: u32,
        heard_every_ms: u32,
        loss: u32,
    ) -> Vec<(u32, LaneMove)> {
        let mut moves = Vec::new();
        for ms in 0..for_ms {
            let now = from + MS * ms;
            if heard_every_ms > 0 && ms % heard_every_ms == 0 {
                moves.extend(health.handle_heard(now).map(|to| (ms, to)));
            }
            if health.next_tick().is_some_and(|due| due <= now) {
                let quality = LaneQuality { loss_percent: loss, ..LaneQuality::default() };
                moves.extend(health.tick(now, quality).map(|to| (ms, to)));
            }
        }
        moves
    }

    #[test]
    fn what_is_not_heard_within_the_patience_is_not_there() {
        let now = Instant::now();
        let mut health = LaneHealth::new(LanePolicy::Auto, now);
        assert_eq!(run(&mut health, now, 3000, 0, 0), [(1500, LaneMove::Down(LaneTrouble::NotHeard))]);
        assert!(!health.is_active());
    }

    #[test]
    fn it_returns_after_a_hold_that_grows() {
        let now = Instant::now();
        let mut health = LaneHealth::new(LanePolicy::Auto, now);
        assert_eq!(run(&mut health, now, 10_000, 1000, 0), [(0, LaneMove::Up)]);
        let now = now + 10_000 * MS;
        let lost = run(&mut health, now, 5000, 0, 0);
        assert!(matches!(lost[..], [(_, LaneMove::Down(LaneTrouble::HeartbeatLost))]), "{lost:?}");
        let now = now + 5000 * MS;
        let back = run(&mut health, now, 60_000, 1000, 0);
        assert!(matches!(back[..], [(5000..=6100, LaneMove::Up)]), "{back:?}");
        let now = now + 60_000 * MS;
        let lossy = run(&mut health, now, 30_000, 1000, 40);
        assert!(matches!(lossy[..], [(_, LaneMove::Down(LaneTrouble::Loss { percent: 40 }))]), "{lossy:?}");
        let back = run(&mut health, now + 30_000 * MS, 60_000, 1000, 0);
        assert!(matches!(back[..], [(10_000..=12_000, LaneMove::Up)]), "{back:?}");
    }

    #[test]
    fn in_another_network_the_hold_is_short_again() {
        let (start, mut health) = (Instant::now(), LaneHealth::new(LanePolicy::Auto, Instant::now()));
        let mut now = start;
        for hold in [5000, 10_000, 5000] {
            let _ = run(&mut health, now, 5000, 0, 0);
            if hold == 5000 {
                health.handle_network();
            }
            now += 5000 * MS;
            let back = run(&mut health, now, 15_000, 1000, 0);
            assert!(matches!(back[..], [(at, LaneMove::Up)] if (hold..=hold + 1100).contains(&at)), "{hold}: {back:?}");
            now += 15_000 * MS;
        }
    }

    #[test]
    fn forged_multicast_is_left_until_forging_has_stopped_for_a_hold() {
        let now = Instant::now();
        let mut health = LaneHealth::new(LanePolicy::Auto, now);
        assert_eq!(health.handle_heard(now), Some(LaneMove::Up));
        assert_eq!(health.handle_forged(now), Some(LaneMove::Down(LaneTrouble::Forged)));
        assert!(!health.is_trusted());
        health.handle_hub();
        for second in 0..20 {
            let now = now + second * 1000 * MS;
            assert!(run(&mut health, now, 1000, 100, 0).is_empty() && !health.is_trusted(), "it is still forged");
            assert_eq!(health.handle_forged(now), None);
        }
        let back = run(&mut health, now + 20_000 * MS, 20_000, 100, 0);
        assert!(matches!(back[..], [(5000..=6100, LaneMove::Up)]), "{back:?}");
        assert!(health.is_trusted());

        let now = now + 40_000 * MS;
        assert_eq!(health.handle_forged(now), Some(LaneMove::Down(LaneTrouble::Forged)));
        let _ = run(&mut health, now, 2100, 100, 0);
        assert!(health.is_trusted(), "no hub serves, so there is nothing better");

        let mut only = LaneHealth::new(LanePolicy::MulticastOnly, now);
        let _ = only.handle_heard(now);
        assert_eq!(only.handle_forged(now), None);
        assert!(only.is_trusted() && only.is_active());
    }

    #[test]
    fn silence_is_noticed_as_soon_as_it_is_one() {
        for heard_until in [10_000, 10_250, 10_900] {
            let now = Instant::now();
            let mut health = LaneHealth::new(LanePolicy::Auto, now);
            // Heard each 50 ms, the last time 50 ms before.
            assert_eq!(run(&mut health, now, heard_until, 50, 0), [(0, LaneMove::Up)]);
            let lost = run(&mut health, now + heard_until * MS, 5000, 0, 0);
            assert_eq!(lost, [(3250, LaneMove::Down(LaneTrouble::HeartbeatLost))], "heard for {heard_until} ms");
        }
    }

    #[test]
    fn a_path_that_is_too_narrow_is_left_for_long_or_told() {
        let now = Instant::now();
        let narrow = LaneQuality { loss_percent: 0, too_long: Some(1200), may_be_too_long: Some(1200) };
        let trouble = LaneMove::Down(LaneTrouble::TooLong { bytes: 1200 });
        let mut auto = LaneHealth::new(LanePolicy::Auto, now);
        assert_eq!(auto.handle_heard(now), Some(LaneMove::Up));
        assert_eq!(auto.tick(now, narrow), Some(trouble));
        let suspected = LaneQuality { too_long: None, ..narrow };
        let returns = (0..100).find(|second| {
            let now = now + TIMING.lane_check * *second;
            auto.handle_heard(now);
            auto.tick(now, suspected) == Some(LaneMove::Up)
        });
        assert_eq!(returns, Some(60));

        let mut only = LaneHealth::new(LanePolicy::MulticastOnly, now);
        assert_eq!(only.handle_heard(now), Some(LaneMove::Up));
        let moves = [narrow, narrow, LaneQuality::default(), LaneQuality::default()].map(|q| only.tick(now, q));
        assert_eq!(moves, [Some(trouble), None, Some(LaneMove::Up), None]);
        assert!(only.is_active());
    }

    #[test]
    fn multicast_alone_never_stops_trying() {
        let now = Instant::now();
        let mut health = LaneHealth::new(LanePolicy::MulticastOnly, now);
        assert_eq!(run(&mut health, now, 9000, 0, 0).len(), 1);
        assert!(health.is_active());
        let back = run(&mut health, now + 9000 * MS, 9000, 500, 80);
        assert!(back.is_empty(), "{back:?}");
        assert!(matches!(run(&mut health, now + 18_000 * MS, 3000, 500, 0)[..], [(_, LaneMove::Up)]));
    }
}
