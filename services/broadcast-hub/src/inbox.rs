//! What other threads hand to a shard. However much is put in, the shard is woken once.

use std::{
    collections::HashSet,
    net::{IpAddr, TcpStream},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use gaung_proto::GroupId;
use tokio::sync::Notify;

use crate::{
    admission::{Admitted, Handshake},
    directory::GroupInfo,
    failure::Failure,
    session_core::PublishOutcome,
};

/// A shard's inbox. Bounded by what fills it: admitted sessions, followed groups, requests in flight.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    notify: Notify,
}

/// What was put in since the last look.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) arrivals: Vec<Arrival>,
    pub(crate) marked: HashSet<GroupId>,
    pub(crate) answers: Vec<Answer>,
    /// `everyone` may be known by now.
    pub(crate) everyone: bool,
}

/// A connection that was let in.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) stream: TcpStream,
    pub(crate) address: IpAddr,
    pub(crate) port: Port,
    pub(crate) admitted: Admitted,
}

/// Which port it came to.
#[derive(Debug)]
pub(crate) enum Port {
    Framed(Handshake),
    /// A browser's WebSocket, and what it sent behind the request to upgrade.
    Web {
        handshake: Handshake,
        early: Bytes,
    },
    Text,
}

/// An answer to a request of one session.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) session: u64,
    pub(crate) body: AnswerBody,
}

#[derive(Debug)]
pub(crate) enum AnswerBody {
    Published(PublishOutcome),
    Found(FoundGroup),
}

/// What the registry said about a group that was not in the directory.
#[derive(Debug)]
pub(crate) struct FoundGroup {
    /// Of the session's lookup.
    pub(crate) number: u64,
    pub(crate) outcome: Result<Arc<GroupInfo>, Failure>,
}

impl Inbox {
    pub(crate) fn arrive(&self, arrival: Arrival) {
        self.put(|waiting| waiting.arrivals.push(arrival));
    }

    /// The group has something new, or has ended.
    pub(crate) fn mark(&self, group: GroupId) {
        self.put(|waiting| {
            waiting.marked.insert(group);
        });
    }

    pub(crate) fn answer(&self, answer: Answer) {
        self.put(|waiting| waiting.answers.push(answer));
    }

    /// Empties `answers`.
    pub(crate) fn answers(&self, answers: &mut Vec<Answer>) {
        self.put(|waiting| waiting.answers.append(answers));
    }

    pub(crate) fn everyone_known(&self) {
        self.put(|waiting| waiting.everyone = true);
    }

    /// Waits until something was put in.
    pub(crate) async fn filled(&self) {
        self.notify.notified().await;
    }

    pub(crate) fn take(&self) -> Waiting {
        std::mem::take(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, put: impl FnOnce(&mut Waiting)) {
        put(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        self.notify.notify_one();
    }
}
