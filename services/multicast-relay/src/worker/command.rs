//! The commands that a worker thread executes.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
};

use bytes::Bytes;
use gaung_engine::{ClientWindows, PublishBatch, ReportingHub, SessionReport};
use gaung_log::Opened;
use gaung_proto::{Generation, GroupAddr, GroupId, LogId, Seq, datagram::Header};
use tokio::sync::oneshot;

use super::{PublishReply, rosters::RosterReply};
use crate::{feed::GroupFeed, group::GroupConfig, sockets::DataPlane};

/// A command to a worker.
#[derive(Debug)]
pub(crate) enum WorkerCommand {
    /// Take messages of a group from now on; an earlier opening of the group ends.
    Attach(Box<AttachGroup>),
    /// Send a group's datagrams to another address (address, TTL, generation), or to none.
    Move { group: GroupId, to: Option<(GroupAddr, u8, Generation)> },
    /// End a group's opening, refusing the requests that wait, then answer `done`.
    Detach { group: GroupId, done: oneshot::Sender<()> },
    /// Log the messages of one request.
    Publish(WorkerPublish),
    /// Log the messages of several requests, in this order and in one run as far as they fit.
    PublishAll(Vec<WorkerPublish>),
    /// Handle a datagram that came to the relay's own address, with its header decoded and its group found.
    Datagram(ReceivedDatagram),
    /// Wake up, for an append has completed; see [`Completions`](super::Completions).
    Completed,
    /// Take a hub's report of its sessions.
    Sessions(SessionsReport),
    /// Answer with the members present and the counters of what was sent to them.
    Members { group: GroupId, reply: RosterReply },
    /// Tell members that the log dropped its oldest messages.
    Oldest { group: GroupId, oldest: Seq },
    /// Send through these sockets from now on.
    Sockets(Arc<DataPlane>),
}

/// An opening of a group's log, handed to the group's worker.
#[derive(Debug)]
pub(crate) struct AttachGroup {
    /// As the group was described at the opening.
    pub(crate) config: Arc<GroupConfig>,
    /// Where the worker publishes durable runs and the members.
    pub(crate) feed: Arc<GroupFeed>,
    pub(crate) opened: Opened,
    pub(crate) windows: ClientWindows,
}

/// A publish request on its way to the group's worker.
#[derive(Debug)]
pub(crate) struct WorkerPublish {
    pub(crate) group: GroupId,
    /// The log that the caller means; the request is refused if the group has another by now.
    pub(crate) log: LogId,
    pub(crate) batch: PublishBatch,
    pub(crate) reply: PublishReply,
}

/// A received datagram on its way to the group's worker.
#[derive(Debug)]
pub(crate) struct ReceivedDatagram {
    pub(crate) group: GroupId,
    pub(crate) from: SocketAddrV4,
    /// The local address that received it, from which answers are sent.
    pub(crate) own: Option<Ipv4Addr>,
    pub(crate) header: Header,
    pub(crate) body: Bytes,
}

/// A hub's report of its sessions in one group.
#[derive(Debug)]
pub(crate) struct SessionsReport {
    pub(crate) group: GroupId,
    /// The log that its seqs are of.
    pub(crate) log: LogId,
    pub(crate) reporter: ReportingHub,
    pub(crate) sessions: Vec<SessionReport>,
}
