//! What a client is told at its start.

use std::{path::PathBuf, time::Duration};

use gaung_proto::DisplayName;

/// How a [`crate::Client`] finds its server and calls itself.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The registry as `HOST` or `HOST:PORT` (7400 unless given; IPv6 in brackets). `None`: discovery, else 127.0.0.1.
    /// `#CODE` at its end, also after an empty host for discovery, pins the site that must answer.
    pub server: Option<String>,
    /// Speaks plaintext, which everyone on the network can read and change. Refused for a pinned site, and where a known site
    /// was met.
    pub insecure: bool,
    /// Shown beside what this client publishes; `None` shows `anonymous`.
    pub name: Option<DisplayName>,
    /// Folder of the device key and the known sites; made at the first start, readable by its owner alone.
    pub data_dir: PathBuf,
    /// The interface for multicast, by name or by IPv4 address; `None`: every one that is fit for it.
    pub iface: Option<String>,
    /// How long a publisher sends a message again before it gives up; default and at most 1 h, for relays remember
    /// what they have logged for 24 h.
    pub give_up_after: Duration,
}

impl Settings {
    /// Everything but the data folder at its default.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            server: None,
            insecure: false,
            name: None,
            data_dir: data_dir.into(),
            iface: None,
            give_up_after: Duration::from_secs(3600),
        }
    }
}
