//! A receiver joins after the messages were sent.

use gaung_proto::name::EVERYONE;

use super::{
    Bench, RunSize, WORKERS_ARE_CORES,
    bench::{SampleKey, heard_percent, tally_of},
    server::Server,
};
use crate::{
    agent::AgentRequest,
    samples::{Experiment, Metric, Series},
    task::{AgentRole, AgentSource},
};

const SERIES: [Series; 4] = [Series::Multicast, Series::Tcp, Series::Broadcast, Series::Unrepaired];
const WAIT_MS: u64 = 10_000;
/// The wait of receivers that have no log to read from.
const SHORT_WAIT_MS: u64 = 300;

pub(super) fn steps(size: &RunSize) -> u32 {
    SERIES.len() as u32 * size.repetitions
}

pub(super) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    bench.network.set_querier(true)?;
    let server = Server::start(bench, WORKERS_ARE_CORES)?;
    for series in SERIES {
        for repetition in 1..=bench.size.repetitions {
            come_late(bench, SampleKey { experiment: Experiment::LateJoiner, series, x: 1, repetition })?;
            bench.step(&format!("late by {}", series.name()))?;
        }
    }
    drop(server);
    Ok(())
}

fn come_late(bench: &mut Bench, place: SampleKey) -> anyhow::Result<()> {
    let mut speaker = bench.speaker(AgentRole::Publisher)?;
    let mut group = EVERYONE.to_owned();
    if place.series != Series::Broadcast {
        group = bench.new_group();
        let _ =
            speaker.request(&AgentRequest::Make { group: group.clone(), text: place.series == Series::Unrepaired })?;
    }
    let burst = bench.new_burst(bench.size.history);
    let _ = speaker.request(&AgentRequest::Publish { group: group.clone(), burst })?.sent()?;
    let from_start = true;
    let (source, wait_ms) = match place.series {
        Series::Tcp => (AgentSource::Tcp { group, from_start }, WAIT_MS),
        Series::Broadcast => (AgentSource::Broadcast, SHORT_WAIT_MS),
        Series::Unrepaired => (AgentSource::Multicast { group, from_start: false }, SHORT_WAIT_MS),
        Series::Multicast | Series::Unicast | Series::OneAsleep => {
            (AgentSource::Multicast { group, from_start }, WAIT_MS)
        }
    };
    let mut late = bench.listeners(1, &source)?;
    let tally = late[0].request(&tally_of(burst, wait_ms))?.tally()?;
    bench.note(place, Metric::Heard, heard_percent(burst.count, &[tally]));
    if tally.heard == burst.count {
        bench.note(place, Metric::CaughtUp, tally.last_ns.saturating_sub(tally.started_ns) as f64 / 1e6);
    }
    Ok(())
}
