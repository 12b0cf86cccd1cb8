//! Makes the settings of a run from one seed: most runs small, few large; each with some of all that can go wrong.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use super::{
    settings::{
        Attack, AttackKind, Breakage, DiskSettings, Fault, Mix, PayloadSizes, Settings, Target, TimedFault, Traffic,
    },
    weather::{Loss, Weather},
};

/// Until the relay knows how many members there are: of each the first STATUS comes within a second.
const KNOWN: Duration = Duration::from_millis(1500);
/// The first message where nothing else is said.
const BEGIN: Duration = Duration::from_millis(300);
/// So that the choice of settings and the choices within the run have nothing in common.
const APART: u64 = 0x5e77_1465;

impl Settings {
    /// The settings that belong to a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut draw = Draw(SmallRng::seed_from_u64(seed ^ APART));
        match draw.0.random_range(0..1000) {
            0..4 => draw.repair(seed, 300..=1000),
            4..80 => draw.repair(seed, 2..=100),
            80..84 => draw.trouble(seed, 200..=600),
            84..140 => draw.trouble(seed, 20..=100),
            140..150 => draw.many_runs(seed),
            _ => draw.trouble(seed, 1..=12),
        }
    }
}

struct Draw(SmallRng);

impl Draw {
    /// Loss on the way out and nothing else: the price of repair is held to its limits.
    fn repair(&mut self, seed: u64, members: std::ops::RangeInclusive<usize>) -> Settings {
        let members = self.0.random_range(members);
        let strength = self.0.random_range(0.002..0.08);
        let weather = Weather {
            egress: if self.likely(0.5) { Loss::Independent(strength) } else { Loss::None },
            down: if self.likely(0.5) { Loss::Independent(strength / 2.0) } else { self.bursts() },
            double: if self.likely(0.2) { 0.02 } else { 0.0 },
            ..Weather::FAIR
        };
        let until = KNOWN + Duration::from_millis(self.0.random_range(1500..3000));
        let messages = self.0.random_range(100..300);
        let traffic =
            Traffic { messages, streams: 1, datagrams: 0, burst: 2, from: KNOWN, until, sizes: PayloadSizes::Mixed };
        Settings { members, traffic, weather, heals_at: until, ..Settings::calm(seed) }
    }

    /// So many runs that snapshots of the client windows are taken, and a crash.
    fn many_runs(&mut self, seed: u64) -> Settings {
        let heals_at = Duration::from_secs(8);
        let crash = |ms| TimedFault {
            at: Duration::from_millis(ms),
            fault: Fault::RelayCrash,
            lasts: Duration::from_millis(300),
        };
        let faults = vec![crash(self.0.random_range(5000..6000)), crash(self.0.random_range(6500..7500))];
        let traffic = Traffic {
            messages: 9000,
            streams: 2,
            datagrams: 1,
            burst: 1,
            from: BEGIN,
            until: Duration::from_secs(7),
            sizes: PayloadSizes::Talk,
        };
        let disk = DiskSettings { sync_us: (20, 60), tcp_us: 100 };
        Settings { members: 2, traffic, disk, faults, heals_at, ..Settings::calm(seed) }
    }

    fn trouble(&mut self, seed: u64, members: std::ops::RangeInclusive<usize>) -> Settings {
        let members = self.0.random_range(members);
        let heals_at = Duration::from_millis(self.0.random_range(2000..15_000));
        let weather = self.weather();
        let faults = self.faults(members, heals_at);
        let attacks = self.attacks(heals_at);
        let mut settings = Settings {
            seed,
            members,
            mix: self.mix(),
            traffic: self.traffic(members, heals_at),
            weather,
            disk: self.disk(),
            repair_bytes: if self.likely(0.2) { self.0.random_range(4096..65_536) } else { 4 << 20 },
            rate_mbit: *self.one_of(&[200, 200, 100, 20]),
            drift_ppm: *self.one_of(&[0, 0, 50, 200, 20_000]),
            faults,
            attacks,
            heals_at,
            calm_at: Vec::new(),
            breakage: Breakage::default(),
        };
        // Last, so that the rest of a seed's settings is what it was before there were moves.
        settings.faults.extend(self.moves(heals_at));
        settings.faults.sort_by_key(|fault| fault.at);
        settings
    }

    fn moves(&mut self, heals_at: Duration) -> Vec<TimedFault> {
        let count = *self.one_of(&[0, 0, 0, 1, 1, 3]);
        let moves = (0..count).map(|_| TimedFault {
            at: heals_at.mul_f64(self.0.random_range(0.02..0.98)),
            fault: Fault::Move,
            lasts: Duration::from_millis(*self.one_of(&[0, 0, 0, 50, 1000, 6000])),
        });
        moves.collect()
    }

    fn mix(&mut self) -> Mix {
        let mut share = |most: f64| if self.0.random_bool(0.5) { 0.0 } else { self.0.random_range(0.0..most) };
        Mix {
            multicast_only: share(0.5),
            tcp_only: share(0.3),
            udp_only: share(0.2),
            deaf: share(0.4),
            from_start: share(1.0),
        }
    }

    fn traffic(&mut self, members: usize, heals_at: Duration) -> Traffic {
        let messages = *self.one_of(&[5, 40, 150, 400, 1000, 4000]);
        let sizes = match self.0.random_range(0..20) {
            0 if members < 6 => PayloadSizes::Large(256 * 1024),
            0..3 => PayloadSizes::Large(20_000),
            3..6 => PayloadSizes::Fixed(1100),
            6..12 => PayloadSizes::Mixed,
            _ => PayloadSizes::Talk,
        };
        let messages = if sizes == PayloadSizes::Large(256 * 1024) { messages / 10 + 2 } else { messages };
        let messages = if members > 20 { messages.min(400) } else { messages };
        let streams = self.0.random_range(0..=3);
        Traffic {
            messages,
            streams,
            datagrams: self.0.random_range(usize::from(streams == 0)..=2),
            burst: *self.one_of(&[1, 3, 20, 200]),
            from: BEGIN,
            until: heals_at.mul_f64(self.0.random_range(0.5..1.0)),
            sizes,
        }
    }

    fn weather(&mut self) -> Weather {
        let fast = (50, self.0.random_range(60..400));
        let slow = (500, self.0.random_range(600..30_000));
        let mut rarely = |chance: f64, most: f64| {
            if self.0.random_bool(chance) { self.0.random_range(0.0..most) } else { 0.0 }
        };
        let (nak_loss, late, double, corrupt) =
            (rarely(0.1, 1.0), rarely(0.2, 0.1), rarely(0.2, 0.3), rarely(0.15, 0.05));
        Weather {
            egress: self.loss(0.3),
            down: self.loss(0.7),
            up: self.loss(0.4),
            nak_loss,
            delay_us: if self.likely(0.8) { fast } else { slow },
            late,
            double,
            corrupt,
        }
    }

    fn loss(&mut self, chance: f64) -> Loss {
        match self.likely(chance) {
            false => Loss::None,
            true if self.likely(0.6) => Loss::Independent(*self.one_of(&[0.001, 0.01, 0.05, 0.2, 0.5])),
            true => self.bursts(),
        }
    }

    fn bursts(&mut self) -> Loss {
        Loss::Bursts { begin: self.0.random_range(0.0005..0.02), end: self.0.random_range(0.05..0.6) }
    }

    fn disk(&mut self) -> DiskSettings {
        let sync_us = *self.one_of(&[(50, 500), (50, 500), (1000, 10_000), (10_000, 200_000)]);
        DiskSettings { sync_us, tcp_us: *self.one_of(&[100, 300, 2000, 20_000]) }
    }

    fn faults(&mut self, members: usize, heals_at: Duration) -> Vec<TimedFault> {
        let count = *self.one_of(&[0, 1, 2, 3, 5, 8, 15]);
        let mut faults: Vec<TimedFault> = (0..count).map(|_| self.fault(members, heals_at)).collect();
        faults.sort_by_key(|fault| fault.at);
        faults
    }

    fn fault(&mut self, members: usize, heals_at: Duration) -> TimedFault {
        let target = match self.likely(0.25) {
            true => Target::All,
            false => Target::One(self.0.random_range(0..members)),
        };
        let fault = *self.one_of(&[
            Fault::RelayCrash,
            Fault::RelayCrash,
            Fault::RelayPause,
            Fault::RelayTakeover,
            Fault::AppendFailure,
            Fault::Trim,
            Fault::ConnectionsBreak,
            Fault::HubDown,
            Fault::MemberPause(target),
            Fault::MemberBusy(target),
            Fault::Deaf(target),
            Fault::Deaf(target),
            Fault::Mute(target),
            Fault::NaksLost(target),
            Fault::ClockJump(target),
            Fault::RelayClockJump,
            Fault::WallClockBack,
            Fault::Join(target),
            Fault::Leave(target),
        ]);
        let at = heals_at.mul_f64(self.0.random_range(0.02..0.98));
        let lasts = Duration::from_millis(*self.one_of(&[1, 30, 200, 1000, 4000, 20_000]));
        TimedFault { at, fault, lasts: lasts.mul_f64(self.0.random_range(0.5..1.5)) }
    }

    fn attacks(&mut self, heals_at: Duration) -> Vec<Attack> {
        let count = *self.one_of(&[0, 0, 0, 0, 0, 0, 1, 2]);
        (0..count)
            .map(|_| {
                let kind = *self.one_of(&[
                    AttackKind::NakFloodOfMember,
                    AttackKind::NakFloodOfStranger,
                    AttackKind::NakFloodSpoofed,
                    AttackKind::Noise,
                ]);
                let from = heals_at.mul_f64(self.0.random_range(0.0..0.8));
                let until = (from + Duration::from_millis(self.0.random_range(100..2000))).min(heals_at);
                Attack { kind, per_second: *self.one_of(&[50, 500, 3000]), from, until }
            })
            .collect()
    }

    fn likely(&mut self, chance: f64) -> bool {
        self.0.random_bool(chance)
    }

    fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.0.random_range(0..choices.len())]
    }
}
