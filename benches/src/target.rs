//! The servers that are measured: each started on ports of its own, over a temporary folder, and ended with its handle.

mod peers;

use std::{env, path::PathBuf};

use gaung_tests::load::server::Server;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Target {
    /// `gaung up`, with its log in memory or on disk.
    Gaung { durable: bool },
    /// The same with its log in memory, and listeners that speak TLS.
    GaungByTls,
    /// Registry, relay and hub as programs of their own, log in memory; `shards`: the hub's worker threads, 0 for one a
    /// core.
    Apart { shards: usize },
    /// `nats-server`; durable: JetStream, a file stream that is synced before each acknowledgement.
    Nats { durable: bool },
    /// `redis-server`; durable: streams, with `appendfsync always`.
    Redis { durable: bool },
    /// `mosquitto`.
    Mosquitto,
}

impl Target {
    /// The program of a peer that is not here; `None` if it is, or nothing has to be installed.
    pub(super) fn missing(self) -> Option<&'static str> {
        let program = self.peer_program()?;
        in_path(program).is_none().then_some(program)
    }

    /// The program of a peer.
    pub(super) const fn peer_program(self) -> Option<&'static str> {
        match self {
            Self::Gaung { .. } | Self::GaungByTls | Self::Apart { .. } => None,
            Self::Nats { .. } => Some("nats-server"),
            Self::Redis { .. } => Some("redis-server"),
            Self::Mosquitto => Some("mosquitto"),
        }
    }

    /// Starts it, with so many groups, and waits until it listens.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn start(self, groups: usize) -> anyhow::Result<Server> {
        match self {
            Self::Gaung { durable } => Server::up(durable, groups),
            Self::GaungByTls => Server::up(false, groups)?.by_tls(),
            Self::Apart { shards } => Server::apart(&["--shards", &shards.to_string()], groups),
            Self::Nats { durable } => peers::nats(durable),
            Self::Redis { durable } => peers::redis(durable),
            Self::Mosquitto => peers::mosquitto(),
        }
    }
}

/// Where a program lies that is found by its name.
fn in_path(program: &str) -> Option<PathBuf> {
    // Debian keeps servers where not every user looks.
    let folders = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&folders).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// What a peer says of its version.
pub(super) fn version(program: &str) -> Option<String> {
    let flag = if program == "mosquitto" { "-h" } else { "--version" };
    let said = std::process::Command::new(in_path(program)?).arg(flag).output().ok()?;
    String::from_utf8_lossy(&said.stdout).lines().next().map(str::to_owned)
}
