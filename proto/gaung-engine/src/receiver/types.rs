//! Configuration, events and counters of a receiver.

use std::net::SocketAddrV4;

use gaung_proto::{
    DeviceId, Generation, GroupAddr, GroupId, GroupTag, LogId, SenderId, Seq, SeqRange, block::Message, body::Cookie,
    net::Lane,
};

use super::lane::{LanePolicy, LaneTrouble};

/// The group, log and limits of one receiver.
#[derive(Debug, Clone)]
pub struct ReceiverConfig {
    /// The group to receive.
    pub group: GroupId,
    /// The group's log to receive.
    pub log: LogId,
    /// The tag of its datagrams.
    pub tag: GroupTag,
    /// The first message to deliver.
    pub next: Seq,
    /// This process, as STATUS names it.
    pub sender: SenderId,
    /// The device that this process runs for.
    pub device: DeviceId,
    /// Where the relay takes NAK, STATUS and PROBE; without it nothing is sent.
    pub relay: Option<SocketAddrV4>,
    /// Which lane may be used.
    pub policy: LanePolicy,
    /// Whether the log can be read. Without it, what repair cannot bring back is lost.
    pub history: bool,
    /// Seeds the random backoffs; the same seed and inputs give the same outputs.
    pub rng_seed: u64,
}

/// The socket that a datagram came on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArrivalSocket {
    /// The one that joined the group.
    Group,
    /// The member's own: answers and repairs.
    Unicast,
}

/// An event for the member's program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiverEvent {
    /// The next message is delivered.
    Message {
        /// The message with its place in the log.
        message: Message,
        /// How it came; a repaired one came by multicast.
        lane: Lane,
    },
    /// Messages are missing and have been requested.
    Gap(SeqRange),
    /// Messages that were reported missing have been delivered.
    GapFilled(SeqRange),
    /// They cannot be had, and were skipped.
    Lost(SeqRange),
    /// Read these from the log, hand over its runs, then call [`MemberReceiver::handle_history`]. The end of the range
    /// is what datagrams advertised: the log may end before.
    NeedHistory(SeqRange),
    /// Of these, which were delivered, the log has other messages, or none yet: datagrams were forged. What the log has from
    /// the first of them on is delivered next, also what was delivered truly before.
    Forged(SeqRange),
    /// Multicast is heard: at the start, or again.
    LaneUp,
    /// Multicast is not good enough.
    LaneDown {
        /// What is wrong with it.
        why: LaneTrouble,
        /// The relay's cookie for the address that it sends STATUS from, if any: it shows the relay behind a hub who it
        /// is.
        cookie: Option<Cookie>,
    },
    /// The group has another log or another address now: look it up at the registry.
    Stale,
    /// The group is heard at another address now; see [`MemberReceiver::poll_hearing`].
    Moved {
        /// The address where it is heard.
        to: GroupAddr,
        /// The generation of that address.
        generation: Generation,
    },
}

impl ReceiverEvent {
    /// Whether the event stays valid when the log changes.
    pub(super) const fn outlives_log(&self) -> bool {
        matches!(self, Self::LaneUp | Self::LaneDown { .. } | Self::Moved { .. })
    }
}

/// How reading the log ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryEnd {
    /// Everything requested that the log has was handed over; it ended at `head` when it was read.
    Reached {
        /// Last seq of the log, or the end of the range requested.
        head: Seq,
    },
    /// The log could not be read; it is requested again.
    Failed,
}

/// A run of another group or log than the receiver's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the run is of another group or log")]
pub struct OtherLog;

/// Counts what a receiver took and sent since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceiverStats {
    /// DATA datagrams that were taken.
    pub data: u64,
    /// DATA whose messages were all there already.
    pub duplicates: u64,
    /// DATA that had no place: the reader is slow, or the seq is far ahead.
    pub refused: u64,
    /// PARITY datagrams of this group.
    pub parity: u64,
    /// DATA that parity brought back.
    pub recovered: u64,
    /// NAKs that were sent.
    pub naks: u64,
    /// NCFs that were honoured.
    pub ncfs: u64,
    /// Reads of the log that were requested.
    pub history: u64,
    /// Moves of the group to another address.
    pub moves: u64,
    /// Datagrams of other groups, logs or types.
    pub ignored: u64,
    /// Datagrams from another address than the relay's, while that was heard.
    pub foreign: u64,
    /// Messages delivered that turned out not to be in the log.
    pub forged: u64,
}
