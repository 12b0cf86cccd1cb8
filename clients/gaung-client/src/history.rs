//! Reading a group's log from the relay.

use std::collections::VecDeque;

use gaung_proto::{
    Content, GroupName, LogId, Seq,
    block::Message,
    pb::relay::{ReadRequest, ReadResponse, relay_service_client::RelayServiceClient},
    run::Run,
};
use tonic::{Code, Streaming, transport::Channel};

use crate::{
    calls::{GroupKey, relay::MAX_READ_RESPONSE},
    context::Context,
    error::ClientError,
    group::GroupInfo,
};

/// One message of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryMessage {
    /// The log that it is in.
    pub log: LogId,
    /// The message with its place.
    pub message: Message,
    /// Its payload, read.
    pub content: Content,
}

/// Which end of a log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryPage {
    /// From this message on; [`Seq::ZERO`] means from the oldest kept.
    From(Seq),
    /// The newest before this message; above the head it means the newest of all. The page before this one ends before
    /// its first message; an empty page says that nothing older is kept.
    Before(Seq),
}

impl HistoryPage {
    /// The newest messages.
    pub const NEWEST: Self = Self::Before(Seq(u64::MAX));
}

/// A page of a log, oldest message first, of the log as it was when asked for.
#[derive(Debug)]
pub struct History {
    group: GroupInfo,
    relay: RelayServiceClient<Channel>,
    request: ReadRequest,
    runs: Streaming<ReadResponse>,
    /// Whether something came since the relay was last asked.
    came: bool,
    /// Of the run that came last, still to be given.
    waiting: VecDeque<Message>,
    /// The log of the run that came last.
    log: LogId,
    /// `None` before the relay said where a page begins that was asked for by its end.
    next: Option<Seq>,
    before: Option<Seq>,
    left: Option<u64>,
    ended: bool,
}

impl History {
    /// Returns the group whose log is read.
    #[must_use]
    pub const fn group(&self) -> &GroupInfo {
        &self.group
    }

    /// The next one; `None` at the end.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when the relay is lost on the way; nothing follows.
    pub async fn next(&mut self) -> Option<Result<HistoryMessage, ClientError>> {
        while !self.ended && self.left != Some(0) {
            if let Some(message) = self.waiting.pop_front() {
                self.next = Some(message.seq.next());
                self.left = self.left.map(|left| left - 1);
                let content = Content::decode(message.content_type, &message.payload);
                return Some(Ok(HistoryMessage { log: self.log, message, content }));
            }
            match self.next_run().await {
                Ok(Some(run)) => self.take(&run),
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
        let answer = match self.runs.message().await {
            Err(status) if self.came && self.next.is_some() && was_cut(status.code()) => {
                self.read_on().await?;
                self.runs.message().await
            }
            answer => answer,
        };
        let answer = answer.map_err(|status| ClientError::of_status(&status, "the relay"))?;
        self.came = true;
        let Some(ReadResponse { run, first_seq }) = answer else { return Ok(None) };
        if self.next.is_none() {
            if first_seq == 0 {
                return Err(ClientError::Failed(
                    "the relay is older and reads from a first message on only".to_owned(),
                ));
            }
            self.next = Some(Seq(first_seq));
        }
        let run = Run::parse(run).map_err(|error| ClientError::Failed(format!("the relay sent a run that {error}")))?;
        Ok(Some(run))
    }

    /// Asks for what is left: a relay ends a read of which nothing is taken for half a minute, such as behind a pager.
    async fn read_on(&mut self) -> Result<(), ClientError> {
        let next = self.next.unwrap_or(Seq::FIRST);
        let to_end = self.before.map(|before| before.0.saturating_sub(next.0));
        self.request.limit_messages = self.left.into_iter().chain(to_end).min().unwrap_or(0);
        (self.request.from_seq, self.request.before_seq) = (next.0, 0);
        let read = self.relay.read(self.request.clone()).await;
        self.runs = read.map_err(|status| ClientError::of_status(&status, "the relay"))?.into_inner();
        self.came = false;
        Ok(())
    }

    /// A run may begin before the page and end after it.
    fn take(&mut self, run: &Run) {
        let wanted = |message: &Message| {
            self.next.is_none_or(|next| message.seq >= next) && self.before.is_none_or(|before| message.seq < before)
        };
        self.waiting.extend(run.messages().filter(wanted));
        self.log = run.header().log;
    }
}

pub(crate) async fn start(
    context: &Context,
    group: &GroupName,
    page: HistoryPage,
    limit: Option<u64>,
) -> Result<History, ClientError> {
    let (next, before) = match page {
        HistoryPage::From(from) => (Some(from), None),
        // Nothing is before the first message, and 0 would ask for the other direction.
        HistoryPage::Before(before) => (None, Some(before.max(Seq::FIRST))),
    };
    let access = context.access(&GroupKey::Name(group.clone())).await?;
    let mut relay = access.connect_relay(&context.trust).await?.max_decoding_message_size(MAX_READ_RESPONSE);
    let request = ReadRequest {
        group_id: access.group.id.into(),
        log_id: 0,
        from_seq: next.map_or(0, |next| next.0),
        limit_messages: limit.unwrap_or(0),
        ticket: access.ticket,
        before_seq: before.map_or(0, |before| before.0),
    };
    let runs =
        relay.read(request.clone()).await.map_err(|status| ClientError::of_status(&status, "the relay"))?.into_inner();
    let (waiting, log) = (VecDeque::new(), access.group.log);
    Ok(History {
        group: access.group,
        relay,
        request,
        runs,
        came: false,
        waiting,
        log,
        next,
        before,
        left: limit,
        ended: false,
    })
}

/// Whether a read ended like this may go on where it was.
const fn was_cut(code: Code) -> bool {
    matches!(code, Code::Cancelled | Code::ResourceExhausted | Code::Unavailable | Code::Unknown)
}
