//! The inboxes through which other threads reach the shards. However much is put into one, its shard is woken once.

use std::{
    collections::HashSet,
    future::pending,
    net::{IpAddr, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use gaung_proto::GroupId;
use gaung_site::PeerIdentity;
use rustls::ServerConnection;
use tokio::sync::Notify;

use crate::{
    admission::{Admitted, Handshake},
    directory::GroupInfo,
    failure::Failure,
    session_core::PublishOutcome,
};

/// The inboxes of all shards; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Inboxes {
    shards: Arc<[Inbox]>,
    next: Arc<AtomicUsize>,
}

/// A shard's inbox. What fills it is limited elsewhere: admitted sessions, followed groups, requests in flight.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    contents: Mutex<InboxContents>,
    notify: Notify,
}

/// What was put in since the shard emptied its inbox.
#[derive(Debug, Default)]
pub(crate) struct InboxContents {
    pub(crate) connections: Vec<NewConnection>,
    /// Groups that have new messages or have ended.
    pub(crate) marked: HashSet<GroupId>,
    pub(crate) answers: Vec<SessionAnswer>,
    /// Set when the registry has named `everyone`.
    pub(crate) is_everyone_known: bool,
}

/// A connection that was admitted and becomes a session.
#[derive(Debug)]
pub(crate) struct NewConnection {
    pub(crate) stream: TcpStream,
    /// The state of TLS after the handshake; `None` for plaintext.
    pub(crate) tls: Option<Box<ServerConnection>>,
    pub(crate) address: IpAddr,
    /// Who the peer has proven to be.
    pub(crate) peer: PeerIdentity,
    pub(crate) port: SessionPort,
    pub(crate) admitted: Admitted,
}

/// The port through which a session came, with what it brought along.
#[derive(Debug)]
pub(crate) enum SessionPort {
    Framed(Handshake),
    /// A browser's WebSocket, and the bytes that came right behind its upgrade request.
    Web {
        handshake: Handshake,
        early: Bytes,
        /// True if others on the network can read it.
        is_exposed: bool,
    },
    Text,
}

impl SessionPort {
    /// Waits until the session's place among those that have not said hello is evicted.
    pub(crate) async fn evicted(&self) {
        match self {
            Self::Framed(handshake) | Self::Web { handshake, .. } => handshake.evicted().await,
            Self::Text => pending().await,
        }
    }
}

/// An answer to a request of one session.
#[derive(Debug)]
pub(crate) struct SessionAnswer {
    pub(crate) session: u64,
    pub(crate) body: AnswerBody,
}

/// What a session is answered.
#[derive(Debug)]
pub(crate) enum AnswerBody {
    Published(PublishOutcome),
    Found(FoundGroup),
}

/// The outcome of looking a group up at the registry.
#[derive(Debug)]
pub(crate) struct FoundGroup {
    /// The number that the session gave the lookup.
    pub(crate) number: u64,
    pub(crate) outcome: Result<Arc<GroupInfo>, Failure>,
}

impl Inboxes {
    /// Makes an inbox for each of so many shards, at least one.
    pub(crate) fn new(shards: usize) -> Self {
        Self { shards: (0..shards).map(|_| Inbox::default()).collect(), next: Arc::default() }
    }

    /// Returns the inbox of a shard.
    pub(crate) fn of(&self, shard: usize) -> &Inbox {
        &self.shards[shard]
    }

    /// Returns the inboxes in the order of their shards.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Inbox> {
        self.shards.iter()
    }

    /// Hands a connection to the next shard in turn.
    pub(crate) fn hand_over(&self, connection: NewConnection) {
        let shard = self.next.fetch_add(1, Ordering::Relaxed) % self.shards.len();
        self.shards[shard].put(|contents| contents.connections.push(connection));
    }

    /// Tells every shard that the registry has named `everyone`.
    pub(crate) fn everyone_known(&self) {
        self.iter().for_each(|inbox| inbox.put(|contents| contents.is_everyone_known = true));
    }
}

impl Inbox {
    /// Wakes the shard's sessions in this group, which has new messages or has ended.
    pub(crate) fn mark(&self, group: GroupId) {
        self.put(|contents| {
            contents.marked.insert(group);
        });
    }

    pub(crate) fn answer(&self, answer: SessionAnswer) {
        self.put(|contents| contents.answers.push(answer));
    }

    /// Moves all of `answers` into the inbox.
    pub(crate) fn answers(&self, answers: &mut Vec<SessionAnswer>) {
        self.put(|contents| contents.answers.append(answers));
    }

    /// Waits until something was put in.
    pub(crate) async fn filled(&self) {
        self.notify.notified().await;
    }

    /// Empties the inbox.
    pub(crate) fn take(&self) -> InboxContents {
        std::mem::take(&mut self.contents.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, put: impl FnOnce(&mut InboxContents)) {
        put(&mut self.contents.lock().unwrap_or_else(PoisonError::into_inner));
        self.notify.notify_one();
    }
}
