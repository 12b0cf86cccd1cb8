//! Reading a relay's log for one session, within the session's pace.

use std::sync::Arc;

use bytes::Bytes;
use gaung_proto::{
    GroupId, LogId, Seq, SeqRange,
    pb::relay::{GetLogRequest, ReadRequest, ReadResponse},
    run::Run,
};
use service_kit::backoff::Backoff;
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};
use tracing::debug;

use crate::{group::Group, hub::Hub, inbox::Failure, relays};

/// What is read, in order.
#[derive(Debug)]
pub(crate) enum HistoryItem {
    Run(Run),
    /// No log has these any more.
    Gap(SeqRange),
    /// The head, as it was when the read began, is reached.
    End,
    /// It cannot go on.
    Failed(Failure),
}

/// An item of the read with this number.
#[derive(Debug)]
pub(crate) struct HistoryPart {
    pub(crate) read: u64,
    pub(crate) group: GroupId,
    pub(crate) item: HistoryItem,
}

/// One read: from `next` of `log` to its head.
pub(crate) struct HistoryRead {
    pub(crate) hub: Arc<Hub>,
    pub(crate) group: Arc<Group>,
    pub(crate) log: LogId,
    pub(crate) next: Seq,
    pub(crate) ticket: Bytes,
    pub(crate) number: u64,
    pub(crate) to: mpsc::Sender<HistoryPart>,
}

/// The session is gone.
struct Gone;

impl HistoryRead {
    /// Reads to the end; a relay that is away is waited for.
    pub(crate) async fn run(mut self) {
        let hub = self.hub.clone();
        let reading = async {
            let Ok(_permit) = hub.history_reads.acquire().await else { return };
            hub.figures.history_reads.inc();
            let mut backoff = relays::backoff();
            while let Ok(false) = self.attempt(&mut backoff).await {
                if !backoff.wait(&hub.links_stop).await {
                    return;
                }
            }
        };
        let stop = hub.links_stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = reading => {}
        }
    }

    /// True once the read is over, false to try again.
    async fn attempt(&mut self, backoff: &mut Backoff) -> Result<bool, Gone> {
        let link = self.hub.relays.link(&self.hub, self.group.info().relay);
        let Some(mut client) = link.history_client(&self.hub) else { return Ok(false) };
        let request = ReadRequest {
            group_id: self.group.id.into(),
            log_id: self.log.0,
            from_seq: self.next.0,
            limit_messages: 0,
            ticket: self.ticket.clone(),
            before_seq: 0,
        };
        let ended = match client.read(request).await {
            Ok(response) => self.forward(response.into_inner(), backoff).await?,
            Err(status) => Err(status),
        };
        let Err(status) = ended else {
            self.send(HistoryItem::End).await?;
            return Ok(true);
        };
        debug!(group = %self.group.id, code = ?status.code(), why = status.message(), "log not read");
        match status.code() {
            Code::OutOfRange => {
                let request = GetLogRequest { group_id: self.group.id.into(), ticket: Bytes::new() };
                let Ok(log) = client.get_log(request).await else { return Ok(false) };
                self.skip_to(Seq(log.into_inner().oldest_seq)).await
            }
            Code::FailedPrecondition
            | Code::NotFound
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::InvalidArgument
            | Code::DataLoss
            | Code::Unimplemented => {
                self.send(HistoryItem::Failed(Failure::new(status.code(), status.message()))).await?;
                Ok(true)
            }
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::AlreadyExists
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Internal
            | Code::Unavailable => Ok(false),
        }
    }

    async fn forward(
        &mut self,
        mut runs: Streaming<ReadResponse>,
        backoff: &mut Backoff,
    ) -> Result<Result<(), Status>, Gone> {
        loop {
            let bytes = match runs.message().await {
                Ok(Some(response)) => response.run,
                Ok(None) => return Ok(Ok(())),
                Err(status) => return Ok(Err(status)),
            };
            backoff.reset();
            let run = match Run::parse(bytes) {
                Ok(run) if run.header().group == self.group.id && run.header().log == self.log => run,
                Ok(_) => return Ok(Err(Status::failed_precondition("the relay sent another log"))),
                Err(error) => return Ok(Err(Status::data_loss(error.to_string()))),
            };
            if run.last_seq() < self.next {
                continue;
            }
            if run.first_seq() > self.next {
                self.skip_to(run.first_seq()).await?;
            }
            self.next = run.last_seq().next();
            self.send(HistoryItem::Run(run)).await?;
        }
    }

    /// Tells what is missing and goes on behind it; never the end of a read.
    async fn skip_to(&mut self, oldest: Seq) -> Result<bool, Gone> {
        if let Some(range) = SeqRange::new(self.next, Seq(oldest.0.saturating_sub(1))) {
            self.hub.figures.gaps.inc();
            self.send(HistoryItem::Gap(range)).await?;
            self.next = oldest;
        }
        Ok(false)
    }

    async fn send(&self, item: HistoryItem) -> Result<(), Gone> {
        let part = HistoryPart { read: self.number, group: self.group.id, item };
        self.to.send(part).await.map_err(|_| Gone)
    }
}
