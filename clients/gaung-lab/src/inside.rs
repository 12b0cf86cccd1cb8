//! Doing the task for which this program has started itself again within a lab.

use crate::{agent, measure, supervise, task::Task};

/// Does a task of the lab's own.
///
/// # Errors
/// As the task; if it cannot be read.
pub fn run(task: &str) -> anyhow::Result<()> {
    match serde_json::from_str(task)? {
        Task::Supervise(plan, rights) => supervise::run(plan, rights),
        Task::Measure(order, rights) => measure::measure(&order, rights),
        Task::Agent(role) => agent::run(role),
    }
}
