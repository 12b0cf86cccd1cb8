//! What a session says to its peer besides messages, before a dialect encodes it.

use std::sync::Arc;

use gaung_proto::{GroupId, LogId, Seq, SeqRange, pb::relay::AckRange};
use tonic::Code;

use crate::{directory::GroupInfo, failure::Failure};

use super::EndReason;

/// One thing that a session says to its peer.
#[derive(Debug, Clone)]
pub enum Say {
    /// Hello is accepted, and the hub knows `everyone`. Also said when `everyone` is another group from now on.
    Welcome {
        /// The group that everybody is in.
        everyone: Arc<GroupInfo>,
        /// What the peer signs to prove its device.
        challenge: [u8; 32],
    },
    /// A subscription begins, or begins again in another log.
    Subscribed {
        /// The group.
        group: Arc<GroupInfo>,
        /// The log that the seqs are of.
        log: LogId,
        /// The first message that follows.
        next: Seq,
        /// The last message that is logged.
        head: Seq,
        /// The peer named a log that was replaced.
        history_lost: bool,
    },
    /// No more of a group follows: the peer wanted that ([`Code::Ok`]), or the group or the right to read it has ended.
    Unsubscribed {
        /// The group.
        group: GroupId,
        /// Why.
        code: Code,
        /// Why, for people.
        message: String,
    },
    /// `/join` found its group, which [`Say::Subscribed`] follows for unless the session is in it already.
    Joining {
        /// The group.
        group: Arc<GroupInfo>,
        /// True if the session is in it already.
        is_subscribed: bool,
    },
    /// No log has these messages any more.
    Gap {
        /// The group.
        group: GroupId,
        /// The messages.
        range: SeqRange,
    },
    /// A request failed.
    Error {
        /// Of a publish request; else 0.
        tag: u64,
        /// The group, if one was found.
        group: Option<GroupId>,
        /// Why.
        failure: Failure,
    },
    /// A publish request is durable.
    Published {
        /// Of the request.
        tag: u64,
        /// The log that has the messages.
        log: LogId,
        /// Which message got which number.
        acks: Vec<AckRange>,
    },
    /// The answer to a ping.
    Pong {
        /// Of the ping.
        nonce: u64,
    },
    /// The last frame or line of the session.
    Bye {
        /// Why the session ends.
        reason: EndReason,
        /// Where the peer resumes when it comes back.
        resume: Vec<ResumePoint>,
    },
}

/// Where a peer that comes back resumes in one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResumePoint {
    /// The group.
    pub group: GroupId,
    /// The log that `next` counts in; `None` if the peer named none and the group had not begun.
    pub log: Option<LogId>,
    /// The first message that the peer did not get.
    pub next: Seq,
}
