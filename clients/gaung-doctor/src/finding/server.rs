//! What can be wrong with a server's security.

use super::Severity;

/// What is wrong with a server's security.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServerTrouble {
    /// It belongs to another site than the known or given one.
    OtherSite {
        /// The code of the site that was met.
        shown: String,
        /// The codes of those that were expected.
        expected: Vec<String>,
    },
    /// It speaks no TLS.
    NoTls,
    /// This machine speaks no TLS with it.
    NotAsked,
    /// It takes plaintext from the network.
    TakesPlaintext,
    /// Its certificate was issued in the future or long ago, by this machine's clock.
    ClocksDiffer {
        /// Days since then; negative if it is in the future.
        days: i64,
        /// Whether browsers refuse the certificate, because the date of either clock is outside of its validity.
        refused_by_browsers: bool,
    },
}

impl ServerTrouble {
    /// Returns the severity.
    pub(super) const fn severity(&self) -> Severity {
        match self {
            Self::OtherSite { .. } | Self::NoTls => Severity::Problem,
            Self::ClocksDiffer { refused_by_browsers: true, .. } => Severity::Warning,
            Self::NotAsked | Self::TakesPlaintext | Self::ClocksDiffer { .. } => Severity::Note,
        }
    }

    /// Returns a stable name for programs.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::OtherSite { .. } => "server-other-site",
            Self::NoTls => "server-without-tls",
            Self::NotAsked => "server-not-encrypted",
            Self::TakesPlaintext => "server-takes-plaintext",
            Self::ClocksDiffer { .. } => "clocks-differ",
        }
    }
}
