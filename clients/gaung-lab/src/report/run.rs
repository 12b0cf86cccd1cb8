//! A run's data besides its samples.

use serde::{Deserialize, Serialize};

use crate::{capture::FrameCounts, machine::MachineInfo};

/// A run; stands in `run.json` beside the samples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The machine and versions.
    pub machine: MachineInfo,
    /// Whether it had few repetitions.
    pub quick: bool,
    /// Whether a person stopped it before all was measured.
    pub stopped: bool,
    /// Names of experiments that failed, and why.
    pub failures: Vec<(String, String)>,
    /// The frames of the capture; `None` without one.
    pub capture: Option<FrameCounts>,
}
