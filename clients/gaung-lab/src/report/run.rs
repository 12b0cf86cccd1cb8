//! What is known of a run besides its samples.

use serde::{Deserialize, Serialize};

use crate::{capture::Kinds, machine::Machine};

/// A run; stands in `run.json` beside the samples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// On what.
    pub machine: Machine,
    /// With few repetitions.
    pub quick: bool,
    /// Before all was measured.
    pub stopped: bool,
    /// Names of experiments that failed, and why.
    pub failures: Vec<(String, String)>,
    /// Of the capture; `None` without one.
    pub capture: Option<Kinds>,
}
