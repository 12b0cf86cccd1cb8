//! The languages of the servers that are measured, as far as one-to-many needs them.
//!
//! Each scans what has arrived in one pass, without a copy and without keeping anything between two calls, so that a
//! delivery costs the generator about the same from whichever server it comes.

mod gaung;
mod mqtt;
mod nats;
mod redis;

pub(super) use self::gaung::Gaung;
use super::stamp::Stamp;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Hears the messages of a group, from a seq of its log on; seq 0: what is published next. Servers without a log
    /// know only that.
    Listener { group: usize, from_seq: u64 },
    /// Publishes.
    Speaker,
}

/// Something that a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// The connection is ready for its role.
    Ready,
    /// A message; `seq` is its place in the log, 0 where the server has none.
    Message { stamp: Stamp, seq: u64 },
    /// So many messages of this connection are acknowledged.
    Taken(u64),
    /// These bytes are due in answer.
    Ask(&'static [u8]),
    /// The messages from first to last cannot be had any more.
    Gap { first: u64, last: u64 },
    /// The server ends the session; where the log goes on, if it says so.
    Bye { reason: String, resume: Option<u64> },
}

/// One server's language, with the names of the groups.
#[derive(Debug, Clone)]
pub(super) enum Dialect {
    /// Framed TCP, as WIRE.md has it.
    Gaung(Gaung),
    /// The NATS protocol; with JetStream a message is acknowledged.
    Nats { acknowledged: bool },
    /// RESP2: PUBLISH, or XADD where a message is to be kept.
    Redis { kept: bool },
    /// MQTT 3.1.1, quality of service 0.
    Mqtt,
}

impl Dialect {
    /// What connection number `index` says first.
    pub(super) fn greeting(&self, index: usize, role: Role) -> Vec<u8> {
        match self {
            Self::Gaung(gaung) => gaung.greeting(index, role),
            Self::Nats { acknowledged } => nats::greeting(index, role, *acknowledged),
            Self::Redis { .. } => redis::greeting(role),
            Self::Mqtt => mqtt::greeting(index, role),
        }
    }

    /// Tells `hear` all that has arrived whole; gives how many bytes that was.
    ///
    /// # Errors
    /// What this dialect does not understand, and what the server refuses.
    pub(super) fn scan(&self, role: Role, bytes: &[u8], hear: &mut impl FnMut(Heard)) -> anyhow::Result<usize> {
        match self {
            Self::Gaung(gaung) => gaung.scan(role, bytes, hear),
            Self::Nats { .. } => nats::scan(bytes, hear),
            Self::Redis { .. } => redis::scan(bytes, hear),
            Self::Mqtt => mqtt::scan(role, bytes, hear),
        }
    }

    /// Appends messages of one speaker to one group.
    pub(super) fn publish(&self, speaker: Speaker, stamps: impl Iterator<Item = Stamp>, out: &mut Vec<u8>) {
        match self {
            Self::Gaung(gaung) => gaung.publish(speaker, stamps, out),
            Self::Nats { acknowledged } => {
                stamps.for_each(|stamp| nats::publish(speaker, *acknowledged, stamp, out));
            }
            Self::Redis { kept } => stamps.for_each(|stamp| redis::publish(speaker, *kept, stamp, out)),
            Self::Mqtt => stamps.for_each(|stamp| mqtt::publish(speaker, stamp, out)),
        }
    }
}

/// Who publishes, where and what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speaker {
    /// Its connection's number.
    pub(super) index: usize,
    /// The group.
    pub(super) group: usize,
    /// How many messages it has published to the group before.
    pub(super) said: u64,
    /// Bytes of a payload.
    pub(super) size: usize,
}

/// The number before `\r\n` and where the text after it begins; `None` while its end has not come.
fn decimal(bytes: &[u8]) -> anyhow::Result<Option<(usize, usize)>> {
    let mut value = 0_usize;
    for (place, &byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' if value <= usize::MAX / 100 => value = value * 10 + usize::from(byte - b'0'),
            b'\r' => return Ok((place + 1 < bytes.len()).then_some((value, place + 2))),
            _ => anyhow::bail!("no number: {}", shown(bytes)),
        }
    }
    Ok(None)
}

/// The line that `bytes` begin with, without `\r\n`, and where the next begins.
fn line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    Some((bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]), end + 1))
}

/// A payload's stamp.
fn stamp_of(payload: &[u8]) -> anyhow::Result<Stamp> {
    Stamp::read(payload).ok_or_else(|| anyhow::anyhow!("a message without a stamp: {}", shown(payload)))
}

/// The beginning of what was not understood.
fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(80)].escape_ascii().to_string()
}

#[cfg(test)]
mod tests;
