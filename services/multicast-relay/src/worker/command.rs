//! What a worker is told to do.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
};

use bytes::Bytes;
use gaung_engine::{ClientWindows, PublishBatch, Reporter, SessionReport};
use gaung_log::Opened;
use gaung_proto::{Generation, GroupAddr, GroupId, LogId, Seq, datagram::Header};
use tokio::sync::oneshot;

use super::{PublishReply, rosters::RosterReply};
use crate::{feed::Feed, group::GroupConfig, sockets::DataPlane};

/// What a worker is asked for.
#[derive(Debug)]
pub(crate) enum WorkerCommand {
    /// Take messages of a group from now on; an earlier opening of it ends.
    Attach(Box<Attach>),
    /// The group is at another address from now on: its address, TTL and generation; or has none.
    Move { group: GroupId, to: Option<(GroupAddr, u8, Generation)> },
    /// End a group's opening. What waits is refused.
    Detach { group: GroupId, done: oneshot::Sender<()> },
    /// Log messages.
    Publish(Publish),
    /// Log messages of several requests, in this order and as far as it goes in one run.
    PublishAll(Vec<Publish>),
    /// A datagram to the relay's own address, its header read and its group known.
    Datagram(Datagram),
    /// An append has ended; see [`Completions`].
    Completed,
    /// What a hub says of its sessions.
    Sessions(Sessions),
    /// Who listens, and what was sent to them.
    Members { group: GroupId, reply: RosterReply },
    /// The log dropped its oldest messages.
    Oldest { group: GroupId, oldest: Seq },
    /// Send through these sockets from now on.
    Sockets(Arc<DataPlane>),
}

/// A group's opening.
#[derive(Debug)]
pub(crate) struct Attach {
    /// As the group was described at the opening.
    pub(crate) config: Arc<GroupConfig>,
    /// Where the worker publishes durable runs and the members.
    pub(crate) feed: Arc<Feed>,
    pub(crate) opened: Opened,
    pub(crate) windows: ClientWindows,
}

/// A publish request.
#[derive(Debug)]
pub(crate) struct Publish {
    pub(crate) group: GroupId,
    /// The log that the caller has in mind.
    pub(crate) log: LogId,
    pub(crate) batch: PublishBatch,
    pub(crate) reply: PublishReply,
}

/// A datagram for one group.
#[derive(Debug)]
pub(crate) struct Datagram {
    pub(crate) group: GroupId,
    pub(crate) from: SocketAddrV4,
    pub(crate) own: Option<Ipv4Addr>,
    pub(crate) header: Header,
    pub(crate) body: Bytes,
}

/// A hub's report of one group.
#[derive(Debug)]
pub(crate) struct Sessions {
    pub(crate) group: GroupId,
    /// The log that its seqs are of.
    pub(crate) log: LogId,
    pub(crate) reporter: Reporter,
    pub(crate) sessions: Vec<SessionReport>,
}
