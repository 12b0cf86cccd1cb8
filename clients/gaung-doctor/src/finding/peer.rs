//! What can be wrong between two machines.

use super::{super::facts::CastName, Severity};

/// What is wrong between two machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PeerTrouble {
    /// The test failed, for this reason.
    Unreached(String),
    /// Nothing arrives.
    Silent {
        /// The path.
        passage: PassageName,
        /// Whether both are in one network.
        same_network: bool,
    },
    /// Much is lost.
    Loses {
        /// The path.
        passage: PassageName,
        /// How many of a thousand.
        permille: u32,
    },
    /// Large datagrams do not arrive.
    Cuts {
        /// The path.
        passage: PassageName,
        /// The largest UDP payload that passed.
        largest: u32,
        /// What should arrive.
        wanted: u32,
        /// Whether only those of text groups do not arrive.
        text_only: bool,
    },
    /// Datagrams are reordered.
    Reorders {
        /// The path.
        passage: PassageName,
        /// How many of a thousand.
        permille: u32,
    },
}

/// A path between two machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PassageName {
    /// How datagrams are addressed.
    pub(crate) cast: CastName,
    /// The direction.
    pub(crate) direction: Direction,
}

/// The direction between this machine and the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From this machine.
    To,
    /// To this machine.
    From,
}

impl PeerTrouble {
    /// Returns the severity.
    pub(super) const fn severity(&self) -> Severity {
        match self {
            Self::Unreached(_) | Self::Silent { .. } | Self::Cuts { text_only: false, .. } => Severity::Problem,
            Self::Loses { .. } | Self::Cuts { .. } => Severity::Warning,
            Self::Reorders { .. } => Severity::Note,
        }
    }

    /// Returns a stable name for programs.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::Unreached(_) => "peer-unreached",
            Self::Silent { passage: PassageName { cast: CastName::Unicast, .. }, .. } => "peer-unicast-silent",
            Self::Silent { passage: PassageName { cast: CastName::Multicast, .. }, .. } => "peer-multicast-silent",
            Self::Silent { passage: PassageName { cast: CastName::Broadcast, .. }, .. } => "peer-broadcast-silent",
            Self::Loses { .. } => "peer-loses",
            Self::Cuts { .. } => "peer-cuts",
            Self::Reorders { .. } => "peer-reorders",
        }
    }
}
