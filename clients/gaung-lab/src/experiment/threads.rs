//! Services with 1, 2, 4 workers: four groups, a publisher and two TCP sessions each, as fast as they can.

use super::{
    Bench, RunSize,
    bench::{SampleKey, heard_percent, tally_of},
    server::Server,
};
use crate::{
    agent::{Agent, AgentRequest, Sent, Tally},
    samples::{Experiment, Metric, Series},
    task::{AgentRole, AgentSource},
};

const GROUPS: u32 = 4;
const SESSIONS: usize = 2;
const WAIT_MS: u64 = 30_000;

pub(super) fn steps(size: &RunSize) -> u32 {
    size.workers.len() as u32 * size.repetitions
}

pub(super) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    bench.network.set_querier(true)?;
    for &workers in bench.size.workers {
        let server = Server::start(bench, workers)?;
        let mut groups = (0..GROUPS).map(|number| Group::of(bench, number as usize)).collect::<Result<Vec<_>, _>>()?;
        // Buffers are made and tasks placed before anything is counted.
        let _ = stream(bench, &mut groups)?;
        for repetition in 1..=bench.size.repetitions {
            let place = SampleKey { experiment: Experiment::Threads, series: Series::Tcp, x: workers, repetition };
            let before = server.cpu_ms();
            let (sent, tallies) = stream(bench, &mut groups)?;
            if let Some((after, before)) = server.cpu_ms().zip(before) {
                bench.note(place, Metric::SenderCpu, after - before);
            }
            bench.note(place, Metric::Heard, heard_percent(bench.size.stream, &tallies));
            if let Some(rate) = delivered_per_second(&sent, &tallies) {
                bench.note(place, Metric::Throughput, rate);
            }
            bench.step(&format!("{workers} workers"))?;
        }
    }
    Ok(())
}

/// A group with its publisher on the server and its listeners.
struct Group {
    name: String,
    publisher: Agent,
    listeners: Vec<Agent>,
}

impl Group {
    fn of(bench: &mut Bench, number: usize) -> anyhow::Result<Self> {
        let name = bench.new_group();
        let mut publisher = bench.speaker(AgentRole::Publisher)?;
        let _ = publisher.request(&AgentRequest::Make { group: name.clone(), text: false })?;
        let hosts = &bench.network.members[number * SESSIONS..(number + 1) * SESSIONS];
        let listeners = bench.listeners_on(hosts, &AgentSource::Tcp { group: name.clone(), from_start: false })?;
        let _ = publisher.request(&AgentRequest::UntilPresent { group: name.clone(), count: SESSIONS })?;
        Ok(Self { name, publisher, listeners })
    }
}

/// Lets all groups publish at once and waits for all tallies.
fn stream(bench: &mut Bench, groups: &mut [Group]) -> anyhow::Result<(Vec<Sent>, Vec<Tally>)> {
    for group in groups.iter_mut() {
        let burst = bench.new_burst(bench.size.stream);
        group.publisher.send_request(&AgentRequest::Publish { group: group.name.clone(), burst })?;
        for listener in &mut group.listeners {
            listener.send_request(&tally_of(burst, WAIT_MS))?;
        }
    }
    let sent = groups.iter().map(|group| group.publisher.answer()?.sent()).collect::<Result<_, _>>()?;
    let listeners = groups.iter().flat_map(|group| &group.listeners);
    let tallies = listeners.map(|listener| listener.answer()?.tally()).collect::<Result<_, _>>()?;
    Ok((sent, tallies))
}

fn delivered_per_second(sent: &[Sent], tallies: &[Tally]) -> Option<f64> {
    let begun = sent.iter().map(|sent| sent.begun_ns).min()?;
    let ended = tallies.iter().map(|tally| tally.last_ns).max()?;
    let delivered: f64 = tallies.iter().map(|tally| f64::from(tally.heard)).sum();
    (ended > begun).then(|| delivered * 1e9 / (ended - begun) as f64)
}
