//! Captures a short conversation by each way of sending on the server's interface.

use super::{Bench, WORKERS_ARE_CORES, bench::tally_of, one_to_many::Participants, server::Server};
use crate::{
    agent::request_all,
    capture::{Capture, Frame},
    samples::Series,
};

const MEMBERS: u32 = 2;
const MESSAGES: u32 = 3;
const WAIT_MS: u64 = 5000;

/// Runs the conversation and returns its frames.
///
/// # Errors
/// What failed.
pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<Vec<Frame>> {
    bench.network.set_querier(true)?;
    let server = Server::start(bench, WORKERS_ARE_CORES)?;
    let capture = Capture::start(&bench.network.server)?;
    for series in [Series::Unicast, Series::Tcp, Series::Broadcast, Series::Multicast] {
        let mut party = Participants::of(bench, series, MEMBERS)?;
        let burst = bench.new_burst(MESSAGES);
        let ask = party.ask(burst);
        let _ = party.speaker().request(&ask)?.sent()?;
        let _ = request_all(party.listeners(), &tally_of(burst, WAIT_MS))?;
    }
    drop(server);
    capture.finish()
}
