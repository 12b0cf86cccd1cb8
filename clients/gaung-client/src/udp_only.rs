//! A member that speaks datagrams alone: no registry, no log. It knows a group's address and learns the rest from the
//! relay's heartbeats. Public groups of format `proto` only; a gap that repair cannot fill is lost.

use gaung_proto::{
    Content, DeviceId, DisplayName, GroupAddr, GroupId, LogId, Seq, SeqRange, block::Message, net::Lane,
};

use crate::{error::ClientError, publish::PublishError};

/// How to join.
#[derive(Debug, Clone)]
pub struct UdpOnlyOptions {
    /// The group's address and port.
    pub group: GroupAddr,
    /// The interface, by name or IPv4 address; `None`: every one that is fit for multicast.
    pub iface: Option<String>,
    /// Shown beside what is published.
    pub name: Option<DisplayName>,
    /// The device that publishes; [`DeviceId::NONE`] for none.
    pub device: DeviceId,
    /// How long to wait for the group's first heartbeat; 5 s is good, they come once a second.
    pub patience: std::time::Duration,
}

/// What happens in a session.
#[derive(Debug, Clone)]
pub enum UdpOnlyEvent {
    /// A message, in seq order, once.
    Message {
        /// The message with its place.
        message: Message,
        /// Its payload, read.
        content: Content,
        /// Always [`Lane::Multicast`].
        lane: Lane,
    },
    /// Messages are missing and have been asked for.
    Gap(SeqRange),
    /// They have come.
    GapFilled(SeqRange),
    /// They cannot be had, and were skipped.
    Lost(SeqRange),
    /// The log was replaced; seqs start again at 1.
    HistoryLost(LogId),
    /// Nothing is heard from the relay any more.
    Silent,
    /// It is heard again.
    Heard,
}

/// A running session; dropping it leaves the group.
#[derive(Debug)]
pub struct UdpOnlySession {
    group: GroupId,
    log: LogId,
    next_seq: Seq,
}

impl UdpOnlySession {
    /// Joins, and waits for the first heartbeat.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if none is heard in time, [`ClientError::Usage`] for a bad interface.
    pub async fn join(options: UdpOnlyOptions) -> Result<Self, ClientError> {
        let _ = options;
        Err(ClientError::Unreachable("nothing heard".to_owned()))
    }

    /// The group's id, as its heartbeat says.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        self.group
    }

    /// The group's log.
    #[must_use]
    pub const fn log(&self) -> LogId {
        self.log
    }

    /// The first seq that comes.
    #[must_use]
    pub const fn next_seq(&self) -> Seq {
        self.next_seq
    }

    /// The next event; `None` once the sockets are unusable. Cancel safe.
    pub async fn next(&mut self) -> Option<UdpOnlyEvent> {
        None
    }

    /// For publishing from elsewhere while this one is read.
    #[must_use]
    pub fn publisher(&self) -> UdpOnlyPublisher {
        UdpOnlyPublisher {}
    }
}

/// Publishes one message after the other, each in one datagram.
#[derive(Debug, Clone)]
pub struct UdpOnlyPublisher {}

impl UdpOnlyPublisher {
    /// Sends until the relay acknowledges; gives the seq. An empty author name is replaced by the session's.
    ///
    /// # Errors
    /// [`PublishError`]; a message over 1192 encoded bytes is [`PublishError::TooLarge`].
    pub async fn publish(&self, content: Content) -> Result<Seq, PublishError> {
        let _ = content;
        Err(PublishError::Closed)
    }
}
