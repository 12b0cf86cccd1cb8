//! Whose plaintext a service takes.

use std::{fmt, net::IpAddr};

use clap::ValueEnum;

use crate::pace::is_own_machine;

/// From where a service takes connections without TLS, and to where it makes them to services that speak none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum PlaintextPolicy {
    /// From nowhere.
    Never,
    /// From this machine.
    #[default]
    Loopback,
    /// From everywhere: for lessons and measurements, because everyone on the network can read and change it.
    Any,
}

impl PlaintextPolicy {
    /// Returns whether a connection from `peer` to this machine's address `local` may go without TLS.
    #[must_use]
    pub fn allows(self, peer: IpAddr, local: Option<IpAddr>) -> bool {
        match self {
            Self::Never => false,
            Self::Loopback => is_own_machine(peer, local),
            Self::Any => true,
        }
    }
}

impl fmt::Display for PlaintextPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "never",
            Self::Loopback => "loopback",
            Self::Any => "any",
        })
    }
}
