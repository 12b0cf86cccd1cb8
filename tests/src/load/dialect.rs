//! The languages of the servers that are put under load, as far as one-to-many needs them.

mod gaung;
pub mod scan_check;

use std::fmt::Debug;

pub use self::gaung::Gaung;
use super::stamp::Stamp;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Hears the messages of a group, from a seq of its log on; seq 0: what is published next. Servers without a log
    /// know only that.
    Listener {
        /// The group's number.
        group: usize,
        /// The first message that is wanted.
        from_seq: u64,
    },
    /// Publishes.
    Speaker,
}

/// Something that a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The connection is ready for its role.
    Ready,
    /// A message; `seq` is its place in the log, 0 where the server has none.
    Message {
        /// What it says.
        stamp: Stamp,
        /// Its place.
        seq: u64,
    },
    /// So many messages of this connection are acknowledged.
    Taken(u64),
    /// These bytes are due in answer.
    Ask(&'static [u8]),
    /// The messages from first to last cannot be had any more.
    Gap {
        /// The seq of the first.
        first: u64,
        /// The seq of the last.
        last: u64,
    },
    /// The server ends the session; where the log goes on, if it says so.
    Bye {
        /// Why, for people.
        reason: String,
        /// The seq to resume at.
        resume: Option<u64>,
    },
}

/// One server's language, with the names of the groups.
///
/// What has arrived is scanned in one pass, without a copy and without keeping anything between two calls, so that a delivery
/// costs the generator about the same from whichever server it comes.
pub trait Dialect: Debug + Send + Sync {
    /// What connection number `index` says first.
    fn greeting(&self, index: usize, role: Role) -> Vec<u8>;

    /// Tells `hear` all that has arrived whole; gives how many bytes that was.
    ///
    /// # Errors
    /// What this dialect does not understand, and what the server refuses.
    fn scan(&self, role: Role, bytes: &[u8], hear: &mut dyn FnMut(Heard)) -> anyhow::Result<usize>;

    /// Appends messages of one speaker to one group.
    fn publish(&self, speaker: Speaker, stamps: &mut dyn Iterator<Item = Stamp>, out: &mut Vec<u8>);
}

/// Who publishes, where and what.
#[derive(Debug, Clone, Copy)]
pub struct Speaker {
    /// Its connection's number.
    pub index: usize,
    /// The group.
    pub group: usize,
    /// How many messages it has published to the group before.
    pub said: u64,
    /// Bytes of a payload.
    pub size: usize,
}

/// A payload's stamp.
///
/// # Errors
/// It is too short for one.
pub fn stamp_of(payload: &[u8]) -> anyhow::Result<Stamp> {
    Stamp::read(payload).ok_or_else(|| anyhow::anyhow!("a message without a stamp: {}", shown(payload)))
}

/// The beginning of what was not understood.
#[must_use]
pub fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(80)].escape_ascii().to_string()
}

#[cfg(test)]
mod tests;
