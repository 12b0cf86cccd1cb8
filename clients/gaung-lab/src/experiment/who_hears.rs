//! Counts the frames that reach the witness, which joined no group, beside one member.

use super::{
    Bench, RunSize, WORKERS_ARE_CORES,
    bench::{SampleKey, tally_of},
    one_to_many::Participants,
    server::Server,
};
use crate::{
    agent::request_all,
    samples::{Experiment, Metric, Series},
};

const SERIES: [Series; 2] = [Series::Broadcast, Series::Multicast];
const WAIT_MS: u64 = 5000;

pub(super) fn steps(size: &RunSize) -> u32 {
    2 * SERIES.len() as u32 * size.repetitions
}

pub(super) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let server = Server::start(bench, WORKERS_ARE_CORES)?;
    for querier in [false, true] {
        bench.network.set_querier(querier)?;
        for series in SERIES {
            let mut party = Participants::of(bench, series, 1)?;
            for repetition in 1..=bench.size.repetitions {
                let place = SampleKey { experiment: Experiment::WhoHears, series, x: u32::from(querier), repetition };
                burst(bench, place, &mut party)?;
                bench.step(&format!("{}, querier {}", series.name(), if querier { "on" } else { "off" }))?;
            }
        }
    }
    drop(server);
    Ok(())
}

fn burst(bench: &mut Bench, place: SampleKey, party: &mut Participants) -> anyhow::Result<()> {
    let burst = bench.new_burst(bench.size.burst);
    let (witness, member) = (&bench.network.witness.machine, &bench.network.members[0].machine);
    let before = (witness.counters()?, member.counters()?);
    let ask = party.ask(burst);
    let _ = party.speaker().request(&ask)?.sent()?;
    let _ = request_all(party.listeners(), &tally_of(burst, WAIT_MS))?;
    let (at_witness, at_member) = (witness.counters()? - before.0, member.counters()? - before.1);
    let per_message = |frames: u64| frames as f64 / f64::from(burst.count);
    bench.note(place, Metric::WitnessFrames, per_message(at_witness.received_frames));
    bench.note(place, Metric::MemberFrames, per_message(at_member.received_frames));
    Ok(())
}
