//! The servers that are measured: each started on ports of its own, over a temporary folder, and ended with its handle.

mod ours;
mod peers;

use std::{env, net::SocketAddr, path::PathBuf};

use nix::unistd::Pid;
use tempfile::TempDir;

use super::dialect::Dialect;
use crate::{deployment::Up, process::Process, services::Services};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Target {
    /// `gaung up`, with its log in memory or on disk.
    Gaung { durable: bool },
    /// Registry, relay and hub as programs of their own, log in memory; `shards`: the hub's worker threads, 0 for one a
    /// core.
    Apart { shards: usize },
    /// Programs of their own, too; the hub holds `ring` of each group in memory, as its flag takes it, and ends a session
    /// that takes nothing for so many seconds.
    SmallRing { ring: &'static str, stall_secs: u64 },
    /// `nats-server`; durable: JetStream, a file stream that is synced before each acknowledgement.
    Nats { durable: bool },
    /// `redis-server`; durable: streams, with `appendfsync always`.
    Redis { durable: bool },
    /// `mosquitto`.
    Mosquitto,
}

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// What it speaks.
    pub(super) dialect: Dialect,
    /// Its processes.
    pub(super) processes: Vec<Pid>,
    _running: Running,
}

/// Ends what runs when dropped. Of a peer the process goes before its folder.
#[derive(Debug)]
enum Running {
    Up { _up: Up },
    Services { _services: Services },
    Peer { _process: Process, _folder: TempDir },
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
            Self::Gaung { .. } | Self::Apart { .. } | Self::SmallRing { .. } => None,
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
            Self::Gaung { durable } => ours::up(durable, groups),
            Self::Apart { shards } => ours::apart(&["--shards", &shards.to_string()], groups),
            Self::SmallRing { ring, stall_secs } => {
                ours::apart(&["--ring", ring, "--stall", &format!("{stall_secs}s")], groups)
            }
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
