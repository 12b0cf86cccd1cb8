//! Configuration, events and counters of a sender.

use gaung_proto::{Epoch, Generation, GroupAddr, GroupId, LogId, SenderId, Seq};

use super::{Cookies, Rate, RepairShares};

/// Bytes of one group's repair window: 32 ms at 1 Gbit/s, half a second at 64 Mbit/s. Above it members read the log.
pub const DEFAULT_REPAIR_BYTES: usize = 4 * 1024 * 1024;

/// The group, log and limits of one sender.
#[derive(Debug, Clone)]
pub struct SenderConfig {
    /// The group to send.
    pub group: GroupId,
    /// The group's log.
    pub log: LogId,
    /// This opening of the log.
    pub epoch: Epoch,
    /// The generation of the address.
    pub generation: Generation,
    /// The multicast address that datagrams go to.
    pub addr: GroupAddr,
    /// The IP time to live of multicast datagrams.
    pub ttl: u8,
    /// Highest seq of the log at the opening.
    pub head: Seq,
    /// First seq that the log has; head + 1 if none.
    pub oldest_logged: Seq,
    /// Bytes kept for repairs; see [`DEFAULT_REPAIR_BYTES`].
    pub repair_bytes: usize,
    /// The highest rate, repairs and headers of UDP payload counted.
    pub rate: Rate,
    /// Whether full DATA is made equally long, by at most [`gaung_proto::datagram::MAX_PADDING`] bytes: for a driver that
    /// sends datagrams of one length as one packet.
    pub pads: bool,
    /// Makes and checks the cookies of this process.
    pub cookies: Cookies,
    /// Budget of repairs for each host, shared by all groups of the process.
    pub repair_shares: RepairShares,
}

/// An event for the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SenderEvent {
    /// A member's first STATUS or session, or the first after an absence.
    MemberJoined(SenderId),
    /// A member sent no STATUS and had no session for [`Timing::presence`](crate::Timing::presence).
    MemberLost(SenderId),
    /// A member delivered further; see [`Roster::receipt`](super::Roster::receipt).
    Delivered {
        /// The member that delivered.
        member: SenderId,
        /// The last message that it delivered.
        upto: Seq,
    },
    /// The epoch's pkt numbers are used up: open the log again. Until then nothing is sent but heartbeats.
    EpochExhausted,
}

/// Why [`RelaySender::handle_timeout`] requests to be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeReason {
    /// A half-full datagram has waited long enough.
    Pack,
    /// A repair has been gathered.
    Repair,
    /// The rate lets more leave.
    Rate,
    /// The group moves to another address, or a MIGRATE is due.
    Move,
    /// The next heartbeat is due.
    Heartbeat,
}

/// Counts since the beginning of the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SenderStats {
    /// First-sent DATA, those skipped included.
    pub data: u64,
    /// DATA that the rate would have delayed too long, or that had no address to go to: members read it from the log.
    pub data_skipped: u64,
    /// Messages not packed into DATA because nobody listened by multicast.
    pub messages_unheard: u64,
    /// UDP payload of the DATA that was sent, bytes.
    pub data_bytes: u64,
    /// Repairs that were sent to the group.
    pub repairs_multicast: u64,
    /// Repairs that were sent to one member.
    pub repairs_unicast: u64,
    /// Parity shards, to the group.
    pub parity: u64,
    /// Repairs and parity that were due and exceeded the limit.
    pub repairs_withheld: u64,
    /// NAKs that were received.
    pub naks: u64,
    /// Repair requests for what had just been repaired, or was being.
    pub requests_suppressed: u64,
    /// Repair requests over a limit.
    pub requests_refused: u64,
    /// NCFs that were sent.
    pub ncfs: u64,
    /// Heartbeats that were sent.
    pub heartbeats: u64,
    /// MIGRATEs that were sent.
    pub moves_told: u64,
    /// STATUS heard with a valid cookie.
    pub statuses: u64,
    /// Datagrams of an unproven address, another epoch, or a type that a relay does not take.
    pub ignored: u64,
}
