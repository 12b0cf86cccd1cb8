//! What this program does when it starts itself again within a lab.

use serde::{Deserialize, Serialize};

use crate::{isolation::Rights, supervise, up::Plan};

/// What to do there; an argument of the hidden command `gaung lab inside`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Task {
    /// Build a lab and hold it.
    Supervise(Plan, Rights),
}

/// Does a task of the lab's own.
///
/// # Errors
/// As the task; if it cannot be read.
pub fn run(task: &str) -> anyhow::Result<()> {
    match serde_json::from_str(task)? {
        Task::Supervise(plan, rights) => supervise::run(plan, rights),
    }
}
