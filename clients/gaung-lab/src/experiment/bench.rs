//! The network of the experiments and their shared state.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{RunSize, progress::Progress};
use crate::{
    agent::{Agent, AgentRequest, Burst, Sent, Tally},
    network::{Host, Network},
    samples::{Experiment, Metric, Sample, Samples, Series},
    task::{AgentRole, AgentSource},
};

/// The bench that experiments run on.
#[derive(Debug)]
pub(crate) struct Bench {
    /// The hosts.
    pub(crate) network: Network,
    /// The folder for the hosts' files, in memory.
    pub(crate) folder: PathBuf,
    /// The folder for the hosts' devices. Each start of the services is a new site, which a device that knows the one before would refuse.
    pub(crate) devices: PathBuf,
    /// The sizes of the experiments.
    pub(crate) size: RunSize,
    /// The samples taken so far.
    pub(crate) samples: Samples,
    progress: Progress,
    stop: Arc<AtomicBool>,
    numbers: u32,
}

/// The error of an experiment that a person stopped; its samples are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopped before all was measured")
    }
}

impl std::error::Error for Stopped {}

/// The key of a measurement in the table of samples.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SampleKey {
    pub(crate) experiment: Experiment,
    pub(crate) series: Series,
    pub(crate) x: u32,
    pub(crate) repetition: u32,
}

impl Bench {
    /// Makes a bench without samples.
    pub(crate) fn new(network: Network, folder: PathBuf, size: RunSize, steps: u32, stop: Arc<AtomicBool>) -> Self {
        let (samples, progress) = (Samples::default(), Progress::new(steps));
        Self { network, devices: folder.clone(), folder, size, samples, progress, stop, numbers: 0 }
    }

    /// Reports a step as done.
    ///
    /// # Errors
    /// [`Stopped`] if a person asked for it.
    pub(crate) fn step(&mut self, what: &str) -> anyhow::Result<()> {
        self.progress.step(what);
        if self.stop.load(Ordering::Acquire) { Err(Stopped.into()) } else { Ok(()) }
    }

    /// Ends the display of progress.
    pub(crate) fn finish(&mut self) {
        self.progress.finish();
    }

    /// Adds a sample.
    pub(crate) fn note(&mut self, place: SampleKey, metric: Metric, value: f64) {
        let SampleKey { experiment, series, x, repetition } = place;
        self.samples.push(Sample { experiment, series, x, repetition, metric, value });
    }

    /// Makes a burst with a new number.
    pub(crate) fn new_burst(&mut self, count: u32) -> Burst {
        self.numbers += 1;
        Burst { number: self.numbers, count, bytes: self.size.message_bytes, pause_us: 0 }
    }

    /// Makes a new group name.
    pub(crate) fn new_group(&mut self) -> String {
        self.numbers += 1;
        format!("group-{}", self.numbers)
    }

    /// Makes a new folder path.
    pub(crate) fn new_folder(&mut self, what: &str) -> PathBuf {
        self.numbers += 1;
        self.folder.join(format!("{what}-{}", self.numbers))
    }

    /// Starts listeners on the first `count` members and waits until all are ready.
    ///
    /// # Errors
    /// If one cannot listen.
    pub(crate) fn listeners(&self, count: u32, source: &AgentSource) -> anyhow::Result<Vec<Agent>> {
        self.listeners_on(&self.network.members[..count as usize], source)
    }

    /// Starts listeners on these hosts and waits until all are ready.
    ///
    /// # Errors
    /// If one cannot listen.
    pub(crate) fn listeners_on(&self, hosts: &[Host], source: &AgentSource) -> anyhow::Result<Vec<Agent>> {
        let start = |host| Agent::start(host, &self.devices, AgentRole::Listener(source.clone()));
        let agents: Vec<Agent> = hosts.iter().map(start).collect::<Result<_, _>>()?;
        agents.iter().try_for_each(Agent::until_ready)?;
        Ok(agents)
    }

    /// Starts a sending agent on the server and waits until it is ready.
    ///
    /// # Errors
    /// If the agent cannot be started.
    pub(crate) fn speaker(&self, role: AgentRole) -> anyhow::Result<Agent> {
        let agent = Agent::start(&self.network.server, &self.devices, role)?;
        agent.until_ready()?;
        Ok(agent)
    }
}

/// Returns the time from before the first message until the last receiver had its last one, in ms; `None` if nothing came.
pub(crate) fn until_last_ms(sent: Sent, tallies: &[Tally]) -> Option<f64> {
    let last = tallies.iter().map(|tally| tally.last_ns).max().filter(|last| *last > 0)?;
    Some(last.saturating_sub(sent.begun_ns) as f64 / 1e6)
}

/// Returns the share of all messages that was received, in percent.
pub(crate) fn heard_percent(count: u32, tallies: &[Tally]) -> f64 {
    let heard: f64 = tallies.iter().map(|tally| f64::from(tally.heard)).sum();
    100.0 * heard / (f64::from(count) * tallies.len() as f64)
}

/// Makes the request for the tally of a burst.
pub(crate) const fn tally_of(burst: Burst, wait_ms: u64) -> AgentRequest {
    AgentRequest::Tally { burst: burst.number, count: burst.count, wait_ms }
}
