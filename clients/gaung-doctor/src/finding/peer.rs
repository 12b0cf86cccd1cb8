//! What can be wrong between two machines.

use super::{super::facts::CastName, Severity};

/// What is wrong between two machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PeerTrouble {
    /// There was no test, and why.
    Unreached(String),
    /// Nothing passes.
    Silent {
        /// By this way.
        passage: PassageName,
        /// Both are in one network.
        same_network: bool,
    },
    /// Much is lost.
    Loses {
        /// By this way.
        passage: PassageName,
        /// Of a thousand.
        permille: u32,
    },
    /// Large datagrams do not pass.
    Cuts {
        /// By this way.
        passage: PassageName,
        /// The largest UDP payload that passed.
        largest: u32,
        /// What should pass.
        wanted: u32,
        /// Those of text groups alone do not pass.
        text_only: bool,
    },
    /// Datagrams overtake each other.
    Reorders {
        /// By this way.
        passage: PassageName,
        /// Of a thousand.
        permille: u32,
    },
}

/// One of the ways between two machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PassageName {
    /// How datagrams are addressed.
    pub(crate) cast: CastName,
    /// From whom.
    pub(crate) direction: Direction,
}

/// From which of two machines to which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From this one.
    To,
    /// To this one.
    From,
}

impl PeerTrouble {
    /// How bad.
    pub(super) const fn severity(&self) -> Severity {
        match self {
            Self::Unreached(_) | Self::Silent { .. } | Self::Cuts { text_only: false, .. } => Severity::Problem,
            Self::Loses { .. } | Self::Cuts { .. } => Severity::Warning,
            Self::Reorders { .. } => Severity::Note,
        }
    }

    /// A name that programs can hold on to.
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
