//! Experiments on real sockets: who takes part, what is measured, how often.

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
pub(crate) use self::{bench::Stopped, size::Size};
use crate::samples::Experiment;

/// Does one experiment; its samples are the bench's.
///
/// # Errors
/// [`Stopped`] if a person stopped it; what failed.
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

/// How many steps it shows.
pub(crate) fn steps(experiment: Experiment, size: &Size) -> u32 {
    match experiment {
        Experiment::OneToMany => one_to_many::steps(size),
        Experiment::WhoHears => who_hears::steps(size),
        Experiment::Threads => threads::steps(size),
        Experiment::Loss => loss::steps(size),
        Experiment::Receipts => receipts::steps(size),
        Experiment::LateJoiner => late_joiner::steps(size),
    }
}
