//! Runs the task for which this program started itself again within a lab.

use crate::{agent, measure, supervise, task::Task};

/// Runs an internal task of the lab.
///
/// # Errors
/// The task's error; if the task cannot be parsed.
pub fn run(task: &str) -> anyhow::Result<()> {
    match serde_json::from_str(task)? {
        Task::Supervise(plan, rights) => supervise::run(plan, rights),
        Task::Measure(order, rights) => measure::measure(&order, rights),
        Task::Agent(role) => agent::run(role),
    }
}
