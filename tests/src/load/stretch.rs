//! The measured time between warming up and running out: what was delivered in it, at which cost.

use std::time::Duration;

use super::{
    audience::Audience,
    figure::{Figure, Outcome},
    server::Server,
    usage::{cpu_seconds, resident_kib},
};
use crate::clock;

/// After connecting, so that sessions settle.
pub const SETTLE: Duration = Duration::from_millis(500);
/// How long everything runs before it is measured.
pub const WARM_UP: Duration = Duration::from_millis(700);
/// Nothing came for so long although something is missing: a standstill.
pub const STANDSTILL: Duration = Duration::from_secs(5);
/// How long a turn waits at most.
pub const TURN: Duration = Duration::from_millis(20);

/// Counters at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    at_ns: u64,
    events: u64,
    server_cpu: f64,
    own_cpu: f64,
}

impl Mark {
    /// `events`: what is counted, such as deliveries.
    ///
    /// # Errors
    /// The server is gone.
    pub fn now(server: &Server, events: u64) -> anyhow::Result<Self> {
        let server_cpu = cpu_seconds(&server.processes)?;
        Ok(Self { at_ns: clock::now_ns(), events, server_cpu, own_cpu: clock::cpu_seconds() })
    }

    /// Cores that the server used from here to `end`.
    #[must_use]
    pub fn cores_upto(self, end: Self) -> f64 {
        (end.server_cpu - self.server_cpu) / ((end.at_ns - self.at_ns) as f64 / 1e9)
    }

    /// Puts the figures of the time from here to `end` into `outcome`; `rate` is the kind of what was counted.
    pub fn upto(self, end: Self, rate: Figure, outcome: &mut Outcome) {
        let seconds = (end.at_ns - self.at_ns) as f64 / 1e9;
        let events = (end.events - self.events) as f64;
        outcome.set(rate, events / seconds);
        outcome.set(Figure::CpuPerMillion, (events > 0.0).then(|| (end.server_cpu - self.server_cpu) / events * 1e6));
        outcome.set(Figure::Cpu, self.cores_upto(end));
        outcome.set(Figure::GeneratorCpu, (end.own_cpu - self.own_cpu) / seconds);
    }
}

/// Begins and ends by the clock.
#[derive(Debug)]
pub struct Stretch {
    started_ns: u64,
    length: Duration,
    begin: Option<Mark>,
    end: Option<Mark>,
    memory_kib: f64,
}

impl Stretch {
    /// Begins after the warm-up from now on.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        Self { started_ns: clock::now_ns(), length, begin: None, end: None, memory_kib: 0.0 }
    }

    /// When it was made, CLOCK_MONOTONIC ns.
    #[must_use]
    pub const fn started_ns(&self) -> u64 {
        self.started_ns
    }

    /// Looks whether it begins or ends now; true once it has ended.
    ///
    /// # Errors
    /// The server is gone.
    pub fn look(&mut self, server: &Server, audience: &mut Audience) -> anyhow::Result<bool> {
        let since = Duration::from_nanos(clock::now_ns() - self.started_ns);
        if self.begin.is_none() && since >= WARM_UP {
            audience.ledger.begin();
            self.begin = Some(Mark::now(server, audience.ledger.delivered)?);
        }
        if self.end.is_none() && since >= WARM_UP + self.length {
            self.end = Some(Mark::now(server, audience.ledger.delivered)?);
            self.memory_kib = resident_kib(&server.processes)?;
        }
        Ok(self.end.is_some())
    }

    /// What it found; nothing but a fault if it has not ended.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let mut outcome = Outcome::default();
        if let (Some(begin), Some(end)) = (self.begin, self.end) {
            begin.upto(end, Figure::Deliveries, &mut outcome);
            outcome.set(Figure::MemoryMib, self.memory_kib / 1024.0);
        } else {
            outcome.faults.push("a standstill".to_owned());
        }
        outcome
    }
}
