//! Reading a group's log from the relay.

use std::collections::VecDeque;

use gaung_proto::{
    Content, GroupName, Seq,
    block::Message,
    pb::relay::{ReadRequest, ReadResponse, relay_service_client::RelayServiceClient},
    run::Run,
};
use tonic::Streaming;

use crate::{
    client::Client,
    error::ClientError,
    registry::{By, relay_of},
};

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
pub struct History {
    runs: Streaming<ReadResponse>,
    /// Of the run that came last, still to be given.
    waiting: VecDeque<Message>,
    next: Seq,
    left: Option<u64>,
    ended: bool,
}

impl History {
    /// The next one; `None` at the end.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when the relay is lost on the way; nothing follows.
    pub async fn next(&mut self) -> Option<Result<HistoryMessage, ClientError>> {
        while !self.ended && self.left != Some(0) {
            if let Some(message) = self.waiting.pop_front() {
                self.next = message.seq.next();
                self.left = self.left.map(|left| left - 1);
                let content = Content::decode(message.content_type, &message.payload);
                return Some(Ok(HistoryMessage { message, content }));
            }
            match self.next_run().await {
                Ok(Some(run)) => self.waiting.extend(run.messages().filter(|message| message.seq >= self.next)),
                Ok(None) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }

    async fn next_run(&mut self) -> Result<Option<Run>, ClientError> {
        let answer = self.runs.message().await.map_err(|status| ClientError::of_status(&status, "the relay"))?;
        let run = answer.map(|response| Run::parse(response.run)).transpose();
        run.map_err(|error| ClientError::Failed(format!("the relay sent a run that {error}")))
    }
}

pub(crate) async fn start(
    client: &Client,
    group: &GroupName,
    from: Seq,
    limit: Option<u64>,
) -> Result<History, ClientError> {
    let joined = client.inner.visit(&By::Name(group.clone())).await?;
    let channel = relay_of(&joined.group, &joined.services)?.connect("relay").await?;
    let request = ReadRequest {
        group_id: joined.group.id.into(),
        log_id: 0,
        from_seq: from.0,
        limit_messages: limit.unwrap_or(0),
        ticket: joined.ticket,
    };
    let mut relay = RelayServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let runs = relay.read(request).await.map_err(|status| ClientError::of_status(&status, "the relay"))?.into_inner();
    Ok(History { runs, waiting: VecDeque::new(), next: from, left: limit, ended: false })
}

/// A run of one message of the largest size, with its framing.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
