//! The tasks for which this program starts itself again within a lab.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    network::{Delay, Loss},
    rights::Rights,
    running::LabName,
    words::Language,
};

/// One task, as JSON the argument of the hidden command `gaung lab inside`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Task {
    /// Build a lab and hold it.
    Supervise(LabPlan, Rights),
    /// Build a network, measure in it and write the results.
    Measure(MeasurePlan, Rights),
    /// Take part in an experiment.
    Agent(AgentRole),
}

/// The settings of a new lab.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LabPlan {
    /// Its name.
    pub name: LabName,
    /// How many members it has, 1 to 200.
    pub members: usize,
    /// The share of frames that members and witness lose.
    pub loss: Loss,
    /// By how much frames are delayed; zero for not at all.
    pub delay: Delay,
    /// Whether the switch is an IGMP querier.
    pub querier: bool,
}

/// What to measure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MeasurePlan {
    /// Names of experiments, in this order.
    pub experiments: Vec<String>,
    /// Whether to run as few repetitions as give a result.
    pub quick: bool,
    /// The form of the results.
    pub output: MeasureOutput,
}

/// The form of the results.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum MeasureOutput {
    /// Medians on stdout.
    Table {
        /// The file for all samples, if one is wanted.
        csv: Option<PathBuf>,
    },
    /// A report.
    Report {
        /// Its folder, which exists.
        folder: PathBuf,
        /// Its language.
        language: Language,
    },
}

/// The part that an agent takes in an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AgentRole {
    /// Listens, and counts what it hears.
    Listener(AgentSource),
    /// Publishes by the SDK, makes groups, asks for receipts.
    Publisher,
    /// Sends plain UDP datagrams to each receiver in turn.
    Datagrams,
}

/// What a listening agent receives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AgentSource {
    /// A group, by multicast alone.
    Multicast {
        /// Its name.
        group: String,
        /// From the oldest message kept.
        from_start: bool,
    },
    /// A group, by the hub alone.
    Tcp {
        /// Its name.
        group: String,
        /// From the oldest message kept.
        from_start: bool,
    },
    /// `everyone`, by UDP broadcast.
    Broadcast,
    /// Bare UDP datagrams to a port of this host.
    Datagrams {
        /// The port.
        port: u16,
    },
}
