//! Receivers that lose datagrams, with the relay's repair and in a group of text, which has none.

use super::{
    Bench, RunSize, WORKERS_ARE_CORES,
    bench::{SampleKey, heard_percent, tally_of, until_last_ms},
    one_to_many::Participants,
    server::Server,
};
use crate::{
    agent::{Burst, request_all},
    network::Loss,
    samples::{Experiment, Metric, Series},
};

const MEMBERS: u32 = 4;
const SERIES: [Series; 2] = [Series::Multicast, Series::Unrepaired];
/// Ten messages each 2 ms: so slow that no receive buffer overflows, and what is missing was lost by the network.
const PAUSE_US: u64 = 2000;

pub(super) fn steps(size: &RunSize) -> u32 {
    (SERIES.len() * size.losses.len()) as u32 * size.repetitions
}

pub(super) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    bench.network.set_querier(true)?;
    let server = Server::start(bench, WORKERS_ARE_CORES)?;
    let measured = measure(bench);
    bench.network.set_loss(Loss::default())?;
    drop(server);
    measured
}

fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    for series in SERIES {
        bench.network.set_loss(Loss::default())?;
        let mut party = Participants::of(bench, series, MEMBERS)?;
        for &loss in bench.size.losses {
            bench.network.set_loss(Loss::percent(loss))?;
            for repetition in 1..=bench.size.repetitions {
                burst(bench, SampleKey { experiment: Experiment::Loss, series, x: loss, repetition }, &mut party)?;
                bench.step(&format!("{loss} % lost, {}", series.name()))?;
            }
        }
    }
    Ok(())
}

fn burst(bench: &mut Bench, place: SampleKey, party: &mut Participants) -> anyhow::Result<()> {
    let burst = Burst { pause_us: PAUSE_US, ..bench.new_burst(bench.size.lossy_burst) };
    let before = bench.network.server.machine.counters()?;
    let ask = party.ask(burst);
    let sent = party.speaker().request(&ask)?.sent()?;
    // What is not repaired has come already, or never will.
    let wait_ms = if place.series == Series::Unrepaired { 200 } else { 20_000 };
    let tallies = request_all(party.listeners(), &tally_of(burst, wait_ms))?;
    let passed = bench.network.server.machine.counters()? - before;
    bench.note(place, Metric::SenderBytes, passed.sent_bytes as f64);
    bench.note(place, Metric::Heard, heard_percent(burst.count, &tallies));
    if let Some(last) = until_last_ms(sent, &tallies) {
        bench.note(place, Metric::LastReceiver, last);
    }
    Ok(())
}
