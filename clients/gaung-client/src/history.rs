//! Reading a group's log from the relay.

use gaung_proto::{Content, block::Message};

use crate::error::ClientError;

/// One message of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryMessage {
    /// The message with its place.
    pub message: Message,
    /// Its payload, read.
    pub content: Content,
}

/// The messages of a log in order, from where they were asked for to the head as it was then.
#[derive(Debug)]
pub struct History {}

impl History {
    /// The next one; `None` at the end.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when the relay is lost on the way; nothing follows.
    pub async fn next(&mut self) -> Option<Result<HistoryMessage, ClientError>> {
        None
    }
}
pub(crate) async fn start(
    client: &crate::Client,
    group: &gaung_proto::GroupName,
    from: gaung_proto::Seq,
    limit: Option<u64>,
) -> Result<History, crate::ClientError> {
    let _ = (client, group, from, limit);
    Err(crate::ClientError::Failed(String::new()))
}
