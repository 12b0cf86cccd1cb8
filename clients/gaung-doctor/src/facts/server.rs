//! How a server proves itself, and to whom it speaks.

use serde::{Deserialize, Serialize};

/// What was seen of a server's security.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerFacts {
    /// Its address, as it was reached.
    pub address: String,
    /// How it proved itself.
    pub proof: ServerProof,
    /// Whether it lets this machine, which is not its own, connect without TLS.
    pub takes_plaintext: bool,
}

/// How a server proved itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerProof {
    /// By its site's certificate.
    Site {
        /// Seconds from the certificate's issue, by the server's clock, to now, by this machine's. `None` if it does not say.
        certificate_age: Option<i64>,
    },
    /// By the certificate of another site than the known or given one.
    OtherSite {
        /// The code of the site that was met.
        shown: String,
        /// The codes of those that were expected.
        expected: Vec<String>,
    },
    /// It speaks no TLS.
    NoTls,
    /// It was not asked to, because of `--insecure`.
    NotAsked,
}
