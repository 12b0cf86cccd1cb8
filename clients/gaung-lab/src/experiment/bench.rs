//! The network of the experiments, and what they share.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{Size, progress::Progress};
use crate::{
    agent::{Agent, Ask, Burst, Sent, Tally},
    network::{Host, Network},
    samples::{Experiment, Metric, Sample, Samples, Series},
    task::{AgentRole, AgentSource},
};

/// Where experiments are made.
#[derive(Debug)]
pub(crate) struct Bench {
    /// On which hosts.
    pub(crate) network: Network,
    /// For the hosts' files, in memory.
    pub(crate) folder: PathBuf,
    /// How much is measured.
    pub(crate) size: Size,
    /// What was measured.
    pub(crate) samples: Samples,
    progress: Progress,
    stop: Arc<AtomicBool>,
    numbers: u32,
}

/// A person has stopped the experiment; what was measured is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopped before all was measured")
    }
}

impl std::error::Error for Stopped {}

/// One measurement's place in the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) experiment: Experiment,
    pub(crate) series: Series,
    pub(crate) x: u32,
    pub(crate) repetition: u32,
}

impl Bench {
    /// With nothing measured.
    pub(crate) fn new(network: Network, folder: PathBuf, size: Size, steps: u32, stop: Arc<AtomicBool>) -> Self {
        let (samples, progress) = (Samples::default(), Progress::new(steps));
        Self { network, folder, size, samples, progress, stop, numbers: 0 }
    }

    /// A step is done.
    ///
    /// # Errors
    /// [`Stopped`] if a person asked for it.
    pub(crate) fn step(&mut self, what: &str) -> anyhow::Result<()> {
        self.progress.step(what);
        if self.stop.load(Ordering::Acquire) { Err(Stopped.into()) } else { Ok(()) }
    }

    /// Nothing more will be shown.
    pub(crate) fn finish(&mut self) {
        self.progress.finish();
    }

    /// Notes a value.
    pub(crate) fn note(&mut self, place: Place, metric: Metric, value: f64) {
        let Place { experiment, series, x, repetition } = place;
        self.samples.push(Sample { experiment, series, x, repetition, metric, value });
    }

    /// A burst like no other.
    pub(crate) fn new_burst(&mut self, count: u32) -> Burst {
        self.numbers += 1;
        Burst { number: self.numbers, count, bytes: self.size.message_bytes, pause_us: 0 }
    }

    /// A group's name like no other.
    pub(crate) fn new_group(&mut self) -> String {
        self.numbers += 1;
        format!("group-{}", self.numbers)
    }

    /// A folder's path like no other.
    pub(crate) fn new_folder(&mut self, what: &str) -> PathBuf {
        self.numbers += 1;
        self.folder.join(format!("{what}-{}", self.numbers))
    }

    /// Listeners on the first `count` members, all of them ready.
    ///
    /// # Errors
    /// If one cannot listen.
    pub(crate) fn listeners(&self, count: u32, source: &AgentSource) -> anyhow::Result<Vec<Agent>> {
        self.listeners_on(&self.network.members[..count as usize], source)
    }

    /// Listeners on these hosts, all of them ready.
    ///
    /// # Errors
    /// If one cannot listen.
    pub(crate) fn listeners_on(&self, hosts: &[Host], source: &AgentSource) -> anyhow::Result<Vec<Agent>> {
        let start = |host| Agent::start(host, &self.folder, AgentRole::Listener(source.clone()));
        let agents: Vec<Agent> = hosts.iter().map(start).collect::<Result<_, _>>()?;
        agents.iter().try_for_each(Agent::until_ready)?;
        Ok(agents)
    }

    /// An agent on the server that can speak.
    ///
    /// # Errors
    /// If it cannot.
    pub(crate) fn speaker(&self, role: AgentRole) -> anyhow::Result<Agent> {
        let agent = Agent::start(&self.network.server, &self.folder, role)?;
        agent.until_ready()?;
        Ok(agent)
    }
}

/// The time from before the first message until the last receiver had its last one, ms; `None` if nobody heard anything.
pub(crate) fn until_last_ms(sent: Sent, tallies: &[Tally]) -> Option<f64> {
    let last = tallies.iter().map(|tally| tally.last_ns).max().filter(|last| *last > 0)?;
    Some(last.saturating_sub(sent.begun_ns) as f64 / 1e6)
}

/// Of what all should have heard, %.
pub(crate) fn heard_percent(count: u32, tallies: &[Tally]) -> f64 {
    let heard: f64 = tallies.iter().map(|tally| f64::from(tally.heard)).sum();
    100.0 * heard / (f64::from(count) * tallies.len() as f64)
}

/// Asks for all of a burst.
pub(crate) const fn tally_of(burst: Burst, wait_ms: u64) -> Ask {
    Ask::Tally { burst: burst.number, count: burst.count, wait_ms }
}
