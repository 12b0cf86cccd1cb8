//! All that makes a day.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

/// One day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaySettings {
    /// Of every random choice.
    pub seed: u64,
    /// How long it is.
    pub length: Duration,
    /// Machines of members.
    pub devices: usize,
    /// What happens, in order of time.
    pub disturbances: Vec<TimedDisturbance>,
    /// Taken out, to see the judge find it: clients fetch no newer ticket.
    pub without_renewal: bool,
    /// Taken out: services judge tickets by their own clocks.
    pub by_own_clocks: bool,
}

/// Something happens at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedDisturbance {
    /// When.
    pub at: Duration,
    /// What.
    pub what: Disturbance,
    /// For how long; nothing for a clock that is set.
    pub lasts: Duration,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disturbance {
    /// The process is killed, and started again after the time.
    Crash(Node),
    /// The machine is suspended and wakes after the time; whether its monotonic clock counts that differs by system.
    Sleep(Node, bool),
    /// The wall clock is set by so many ms.
    ClockSet(Node, i64),
}

/// Whose machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// The registry's.
    Registry,
    /// The relay's.
    Relay,
    /// The hub's.
    Hub,
    /// A member's.
    Device(usize),
}

impl TimedDisturbance {
    /// When all is well again.
    #[must_use]
    pub fn over_at(&self) -> Duration {
        self.at + self.lasts
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

impl DaySettings {
    /// Nothing happens.
    #[must_use]
    pub const fn calm(seed: u64) -> Self {
        Self {
            seed,
            length: Duration::from_secs(24 * 3600),
            devices: 4,
            disturbances: Vec::new(),
            without_renewal: false,
            by_own_clocks: false,
        }
    }

    /// The day that belongs to a seed: one thing after another, now and then two at once.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut settings = Self::calm(seed);
        let mut rng = SmallRng::seed_from_u64(seed ^ 0xda1);
        settings.devices = rng.random_range(2..=4);
        let mut at = between(&mut rng, MINUTE, 10 * MINUTE);
        while at < settings.length - 2 * HOUR {
            let next = draw_one(&mut rng, settings.devices, at);
            settings.disturbances.push(next);
            at = match rng.random_bool(0.2) {
                true => at + next.lasts.mul_f64(rng.random()),
                false => next.over_at() + between(&mut rng, MINUTE, 40 * MINUTE),
            };
        }
        settings.disturbances.retain(|disturbance| disturbance.over_at() < settings.length - HOUR);
        settings
    }
}

fn draw_one(rng: &mut SmallRng, devices: usize, at: Duration) -> TimedDisturbance {
    let node = match rng.random_range(0..10) {
        0..3 => Node::Registry,
        3..5 => Node::Relay,
        5 => Node::Hub,
        _ => Node::Device(rng.random_range(0..devices)),
    };
    let longest = match node {
        Node::Device(_) => 8 * HOUR,
        Node::Registry | Node::Relay | Node::Hub => 2 * HOUR,
    };
    let lasts = between(rng, Duration::from_secs(2), longest);
    match rng.random_range(0..3) {
        0 => TimedDisturbance { at, what: Disturbance::Crash(node), lasts },
        1 => TimedDisturbance { at, what: Disturbance::Sleep(node, rng.random()), lasts },
        _ => {
            let step = between(rng, Duration::from_secs(2), 400 * 24 * HOUR).as_millis() as i64;
            let step = if rng.random() { step } else { -step };
            TimedDisturbance { at, what: Disturbance::ClockSet(node, step), lasts: Duration::ZERO }
        }
    }
}

/// As likely between 10 and 20 s as between 1 and 2 h.
fn between(rng: &mut SmallRng, low: Duration, high: Duration) -> Duration {
    let (low, high) = (low.as_secs_f64().ln(), high.as_secs_f64().ln());
    Duration::from_secs(rng.random_range(low..high).exp() as u64)
}
