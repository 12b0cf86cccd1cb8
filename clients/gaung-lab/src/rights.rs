//! The right by which a lab has its namespaces.

use serde::{Deserialize, Serialize};

/// The right by which a lab has its namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rights {
    /// That of the machine's administrator.
    Root,
    /// That of a user namespace, in which a user is root over what was made there.
    UserNamespace,
}

impl Rights {
    /// Describes for people what a lab with this right cannot do, if anything.
    #[must_use]
    pub const fn missing(self) -> Option<&'static str> {
        match self {
            Self::Root => None,
            Self::UserNamespace => Some("without root, sockets have no larger buffers than net.core.rmem_max allows"),
        }
    }
}
