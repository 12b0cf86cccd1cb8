//! What this program does when it starts itself again within a lab.

use serde::{Deserialize, Serialize};

use crate::{
    agent::{self, Role},
    isolation::Rights,
    measure::{self, Order},
    supervise,
    up::Plan,
};

/// What to do there; an argument of the hidden command `gaung lab inside`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Task {
    /// Build a lab and hold it.
    Supervise(Plan, Rights),
    /// Build a network, measure in it, and tell.
    Measure(Order, Rights),
    /// Take part in an experiment.
    Agent(Role),
}

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
