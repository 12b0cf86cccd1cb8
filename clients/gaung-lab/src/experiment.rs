//! Experiments on real sockets.

mod bench;
mod late_joiner;
mod loss;
mod one_to_many;
mod progress;
mod receipts;
mod server;
pub(crate) mod showcase;
mod size;
mod threads;
mod who_hears;

pub(crate) use self::{bench::Bench, server::WORKERS_ARE_CORES};
pub(crate) use self::{bench::Stopped, size::RunSize};
use crate::samples::Experiment;

/// Runs one experiment; its samples go to the bench.
///
/// # Errors
/// [`Stopped`] if a person stopped it; what failed otherwise.
pub(crate) fn run(bench: &mut Bench, experiment: Experiment) -> anyhow::Result<()> {
    match experiment {
        Experiment::OneToMany => one_to_many::run(bench),
        Experiment::WhoHears => who_hears::run(bench),
        Experiment::Threads => threads::run(bench),
        Experiment::Loss => loss::run(bench),
        Experiment::Receipts => receipts::run(bench),
        Experiment::LateJoiner => late_joiner::run(bench),
    }
}

/// Returns how many steps of progress an experiment shows.
pub(crate) fn steps(experiment: Experiment, size: &RunSize) -> u32 {
    match experiment {
        Experiment::OneToMany => one_to_many::steps(size),
        Experiment::WhoHears => who_hears::steps(size),
        Experiment::Threads => threads::steps(size),
        Experiment::Loss => loss::steps(size),
        Experiment::Receipts => receipts::steps(size),
        Experiment::LateJoiner => late_joiner::steps(size),
    }
}
