//! The messages between two doctors over TCP: one JSON object a line.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{SocketAddrV4, TcpStream},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use gaung_net::probe::exchange::Cast;
use serde::{Deserialize, Serialize};

use super::super::facts::CastName;

/// The version of the protocol; it rises with every incompatible change.
pub(super) const VERSION: u32 = 1;
/// Longest line, in bytes.
const MAX_LINE: usize = 4096;
/// How long a line may take; a whole burst takes less.
const PATIENCE: Duration = Duration::from_secs(15);

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(super) enum Say {
    /// The first message of both sides; the caller's session and group count.
    Hello { version: u32, session: u64, group: SocketAddrV4, unicast_port: u16 },
    /// A burst follows.
    Sending { cast: CastName },
    /// The receiver is ready for it.
    Listening,
    /// The burst is over; this was sent.
    Sent { sent: u32, largest_bytes: u32 },
    /// This was received.
    Got { received: u32, reordered: u32, duplicated: u32, largest_bytes: u32 },
}

/// A connection to the other doctor.
#[derive(Debug)]
pub(super) struct Talk {
    reader: BufReader<TcpStream>,
    /// How long a line may take.
    patience: Duration,
}

impl Talk {
    pub(super) fn new(stream: TcpStream) -> anyhow::Result<Self> {
        Self::with_patience(stream, PATIENCE)
    }

    /// Does as [`Self::new`] with another limit for each line.
    pub(super) fn with_patience(stream: TcpStream, patience: Duration) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Self { reader: BufReader::new(stream), patience })
    }

    pub(super) fn say(&mut self, what: &Say) -> anyhow::Result<()> {
        let line = serde_json::to_string(what).context("numbers and names are always JSON")?;
        self.reader.get_mut().write_all(format!("{line}\n").as_bytes()).context("the peer's doctor has gone")
    }

    /// Reads a line, which must be complete in time, however its bytes are spread over that time.
    pub(super) fn hear(&mut self) -> anyhow::Result<Say> {
        let line = self.line(Instant::now() + self.patience).context("the peer's doctor does not answer")?;
        anyhow::ensure!(!line.is_empty(), "the peer's doctor has gone");
        serde_json::from_slice(&line).context("what answers there is no doctor of this version")
    }

    fn line(&mut self, deadline: Instant) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.reader.get_ref().set_read_timeout(Some(left))?;
            let chunk = self.reader.fill_buf()?;
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = &chunk[..end.map_or(chunk.len(), |end| end + 1)];
            line.extend_from_slice(part);
            let (read, over) = (part.len(), end.is_some() || part.is_empty() || line.len() > MAX_LINE);
            self.reader.consume(read);
            if over {
                return Ok(line);
            }
        }
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
