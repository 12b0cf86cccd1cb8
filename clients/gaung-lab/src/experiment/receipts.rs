//! What the sender learns of its receivers, by each lane, and when one of them sleeps.

use nix::sys::signal::Signal;

use super::{
    Bench, RunSize, WORKERS_ARE_CORES,
    bench::{SampleKey, heard_percent, tally_of},
    one_to_many::Participants,
    server::Server,
};
use crate::{
    agent::{AgentRequest, KnownReceipts, request_all},
    samples::{Experiment, Metric, Series},
};

const MEMBERS: u32 = 4;
const MESSAGES: u32 = 10;
const SERIES: [Series; 4] = [Series::Multicast, Series::Tcp, Series::Broadcast, Series::OneAsleep];
const WAIT_MS: u64 = 5000;
/// For the one who sleeps.
const SHORT_WAIT_MS: u64 = 1000;

pub(super) fn steps(size: &RunSize) -> u32 {
    SERIES.len() as u32 * size.repetitions
}

pub(super) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    bench.network.set_querier(true)?;
    let server = Server::start(bench, WORKERS_ARE_CORES)?;
    for series in SERIES {
        let mut party = Participants::of(bench, series, MEMBERS)?;
        for repetition in 1..=bench.size.repetitions {
            let place = SampleKey { experiment: Experiment::Receipts, series, x: MEMBERS, repetition };
            measure(bench, place, &mut party)?;
            bench.step(&format!("receipts, {}", series.name()))?;
        }
    }
    drop(server);
    Ok(())
}

fn measure(bench: &mut Bench, place: SampleKey, party: &mut Participants) -> anyhow::Result<()> {
    let asleep = place.series == Series::OneAsleep;
    let burst = bench.new_burst(MESSAGES);
    if asleep {
        party.listeners()[0].signal(Signal::SIGSTOP)?;
    }
    let ask = party.ask(burst);
    let _ = party.speaker().request(&ask)?.sent()?;
    let wait_ms = if asleep { SHORT_WAIT_MS } else { WAIT_MS };
    let group = party.group().to_owned();
    let known = party.speaker().request(&AgentRequest::Receipts { group, count: MESSAGES, wait_ms })?.receipts()?;
    if asleep {
        party.listeners()[0].signal(Signal::SIGCONT)?;
    }
    // The one that slept is asked as well, for it must have caught up before it sleeps again.
    let tallies = request_all(party.listeners(), &tally_of(burst, WAIT_MS))?;
    bench.note(place, Metric::Heard, heard_percent(burst.count, &tallies));
    bench.note(place, Metric::KnownHeard, mean(&known, |known| known.heard));
    bench.note(place, Metric::KnownPresent, mean(&known, |known| known.present));
    Ok(())
}

fn mean(known: &[KnownReceipts], of: impl Fn(&KnownReceipts) -> u32) -> f64 {
    known.iter().map(|known| f64::from(of(known))).sum::<f64>() / known.len().max(1) as f64
}
