//! Makes the settings of a whole day: machines sleep for hours, clocks are set by hours and days, processes end and come
//! back; in between it is calm, and everybody has everything.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use super::{
    settings::{Fault, Mix, PayloadSizes, Settings, Target, TimedFault, Traffic},
    weather::{Loss, Weather},
};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Once a fault is over everybody has found back within this time.
const FOUND_BACK: Duration = Duration::from_secs(30);
/// So long a time of calm takes, until it is judged and a little longer.
const CALM: Duration = Duration::from_secs(15);

impl Settings {
    /// The day that belongs to a seed.
    #[must_use]
    pub fn day(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed ^ 0xda1);
        let members = rng.random_range(2..=6);
        let mut settings = Self {
            seed,
            members,
            mix: Mix {
                multicast_only: rng.random_range(0.0..0.3),
                tcp_only: rng.random_range(0.0..0.3),
                udp_only: 0.0,
                deaf: rng.random_range(0.0..0.3),
                from_start: 0.5,
            },
            traffic: Traffic {
                messages: 3000,
                streams: 2,
                datagrams: 1,
                burst: 3,
                from: Duration::from_secs(1),
                until: DAY,
                sizes: PayloadSizes::Talk,
            },
            weather: Weather { down: Loss::Independent(0.01), up: Loss::Independent(0.01), ..Weather::FAIR },
            drift_ppm: 200,
            heals_at: DAY,
            ..Self::calm(seed)
        };
        let mut at = Duration::from_secs(60);
        loop {
            let (fault, longest) = draw_fault(&mut rng, members);
            let lasts = between(&mut rng, Duration::from_secs(1), longest);
            let is_instant = matches!(
                fault,
                Fault::ClockJump(_) | Fault::RelayClockJump | Fault::WallClockBack | Fault::WallClockForward
            );
            let calm_at = at + if is_instant { Duration::ZERO } else { lasts } + FOUND_BACK;
            if calm_at + CALM > DAY {
                return settings;
            }
            settings.faults.push(TimedFault { at, fault, lasts });
            settings.calm_at.push(calm_at);
            at = calm_at + CALM + between(&mut rng, Duration::from_secs(1), HOUR);
        }
    }
}

/// A fault, and the longest that it lasts.
fn draw_fault(rng: &mut SmallRng, members: usize) -> (Fault, Duration) {
    let one = Target::One(rng.random_range(0..members));
    let faults = [
        (Fault::MemberSleep(one), 8 * HOUR),
        (Fault::MemberSleep(Target::All), 8 * HOUR),
        (Fault::MemberPause(one), 8 * HOUR),
        (Fault::RelaySleep, HOUR),
        (Fault::RelayPause, HOUR),
        (Fault::RelayCrash, HOUR),
        (Fault::HubDown, HOUR),
        (Fault::Deaf(one), HOUR),
        (Fault::Mute(one), HOUR),
        (Fault::ClockJump(one), 8 * HOUR),
        (Fault::RelayClockJump, 8 * HOUR),
        (Fault::WallClockBack, 400 * DAY),
        (Fault::WallClockForward, 400 * DAY),
        (Fault::Move, HOUR),
    ];
    faults[rng.random_range(0..faults.len())]
}

/// As likely between 10 and 20 s as between 1 and 2 h.
fn between(rng: &mut SmallRng, low: Duration, high: Duration) -> Duration {
    let (low, high) = (low.as_secs_f64().ln(), high.as_secs_f64().ln());
    Duration::from_secs_f64(rng.random_range(low..high).exp())
}
