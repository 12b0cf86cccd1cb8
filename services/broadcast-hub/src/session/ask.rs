//! What a session wants of a group that the hub has yet to find.

use bytes::Bytes;
use gaung_proto::{LogId, Seq};

use super::publish::Wish;

/// A request that waits until the registry has said which group it means.
#[derive(Debug)]
pub(super) enum Ask {
    Subscribe {
        from: Seq,
        log: Option<LogId>,
        ticket: Bytes,
    },
    Publish(Wish),
    /// `/join` of a text session.
    Join,
}

impl Ask {
    /// What the session showed with it.
    pub(super) fn ticket(&self) -> Bytes {
        match self {
            Self::Subscribe { ticket, .. } => ticket.clone(),
            Self::Publish(wish) => wish.ticket.clone(),
            Self::Join => Bytes::new(),
        }
    }
}
