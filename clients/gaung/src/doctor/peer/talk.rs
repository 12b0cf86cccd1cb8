//! What two doctors tell each other over TCP: one JSON object a line.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddrV4, TcpStream},
    time::Duration,
};

use anyhow::Context as _;
use gaung_net::probe::exchange::Cast;
use serde::{Deserialize, Serialize};

use super::super::facts::CastName;

/// Rises when the two sides would misunderstand each other.
pub(super) const VERSION: u32 = 1;
/// Longest line.
const MAX_LINE: u64 = 4096;
/// The peer is never silent for longer, for a whole burst takes less.
const PATIENCE: Duration = Duration::from_secs(15);

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(super) enum Say {
    /// First of all, from both; the caller's counts for session and group.
    Hello { version: u32, session: u64, group: SocketAddrV4, unicast_port: u16 },
    /// A burst is to come.
    Sending { cast: CastName },
    /// It may.
    Listening,
    /// It is over.
    Sent { sent: u32, largest_bytes: u32 },
    /// What came of it.
    Got { received: u32, reordered: u32, duplicated: u32, largest_bytes: u32 },
}

/// A connection to the other doctor.
#[derive(Debug)]
pub(super) struct Talk {
    reader: BufReader<TcpStream>,
}

impl Talk {
    pub(super) fn new(stream: TcpStream) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    pub(super) fn say(&mut self, what: &Say) -> anyhow::Result<()> {
        let line = serde_json::to_string(what).context("numbers and names are always JSON")?;
        self.reader.get_mut().write_all(format!("{line}\n").as_bytes()).context("the peer's doctor has gone")
    }

    pub(super) fn hear(&mut self) -> anyhow::Result<Say> {
        let mut line = Vec::new();
        let read = self.reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        read.context("the peer's doctor does not answer")?;
        anyhow::ensure!(!line.is_empty(), "the peer's doctor has gone");
        serde_json::from_slice(&line).context("what answers there is no doctor of this version")
    }
}

impl From<Cast> for CastName {
    fn from(cast: Cast) -> Self {
        match cast {
            Cast::Unicast => Self::Unicast,
            Cast::Multicast => Self::Multicast,
            Cast::Broadcast => Self::Broadcast,
        }
    }
}
