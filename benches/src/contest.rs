//! What is held against what, and what must come out.

use std::time::Duration;

use gaung_tests::load::{
    fairness::Fairness,
    figure::{Figure, Outcome},
    idle::Idle,
};

use super::{durable::Durable, fan_out::FanOut, latency::Latency, multicast::Multicast, target::Target};

/// Entries that run in turn, round after round.
#[derive(Debug, Clone)]
pub(super) struct Contest {
    /// By which it is chosen.
    pub(super) name: &'static str,
    pub(super) entries: Vec<Entry>,
    pub(super) bars: Vec<Bar>,
}

/// One server under one load.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Unlike all others of its contest.
    pub(super) label: &'static str,
    pub(super) target: Target,
    pub(super) load: Load,
}

/// What a server must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    FanOut(FanOut),
    Latency(Latency),
    Durable(Durable),
    Fairness(Fairness),
    Idle(Idle),
    /// The target is `multicast_peer`, whatever is said.
    Multicast(Multicast),
}

/// A figure of one entry against the best of others', or by itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bar {
    pub(super) figure: Figure,
    pub(super) of: &'static str,
    /// The best of these that were there; none: the figure itself is what counts.
    pub(super) against: &'static [&'static str],
    pub(super) bound: Bound,
}

/// What the ratio, or the figure, must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound {
    AtLeast(f64),
    AtMost(f64),
    /// Only told.
    Told,
}

impl Load {
    /// Runs it once.
    ///
    /// # Errors
    /// The server cannot be measured at all.
    pub(super) fn run(&self, target: Target, length: Duration) -> anyhow::Result<Outcome> {
        match self {
            Self::FanOut(load) => load.run(target, length),
            Self::Latency(load) => load.run(target, length),
            Self::Durable(load) => load.run(target, length),
            Self::Fairness(load) => load.run(&target.start(1)?, length),
            Self::Idle(load) => load.run(&target.start(1)?, length),
            Self::Multicast(load) => load.run(length),
        }
    }
}
