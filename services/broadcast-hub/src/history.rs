//! Reading a relay's log for one session, at the session's pace.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use gaung_net::backoff::Backoff;
use gaung_proto::{
    GroupId, Seq, SeqRange,
    pb::relay::{GetLogRequest, ReadRequest, ReadResponse},
    run::Run,
};
use service_kit::share::{EvictionNotice, Origin, Share, SharePool};
use tokio::{runtime::Handle, sync::mpsc};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};
use tracing::debug;

use crate::{
    failure::Failure,
    metrics::Figures,
    relay_connector::{self, RelayConnector},
    session_core::{LogPart, LogRead, LogReadGuard},
};

/// What a read gives its session, in order.
#[derive(Debug)]
pub(crate) enum HistoryItem {
    /// The read has begun. The session keeps its place until it has written what was read.
    Begun(Arc<HistoryPlace>),
    Part(LogPart),
}

/// One item, with the number of the read that it is from.
#[derive(Debug)]
pub(crate) struct HistoryPart {
    pub(crate) read: u64,
    pub(crate) group: GroupId,
    pub(crate) item: HistoryItem,
}

/// Limits reads of the log at a time. A read and what its session has not written of it take about 1 MiB, so its place is
/// held until both are gone, and an address has no more than its share of places while others wait.
#[derive(Debug)]
pub(crate) struct HistoryPlaces(SharePool<Origin>);

/// One place of [`HistoryPlaces`].
#[derive(Debug)]
pub(crate) struct HistoryPlace(Mutex<Share<Origin>>);

impl HistoryPlaces {
    pub(crate) fn new(reads: usize) -> Self {
        // One address may have them all while no other needs one.
        Self(SharePool::new(reads as u64, reads as u64))
    }

    /// Waits for a place. When another address needs one, the place whose session read nothing for longest is evicted.
    pub(crate) async fn take(&self, origin: Origin) -> Arc<HistoryPlace> {
        let mut backoff = Backoff::between(PLACE_RETRY, MAX_PLACE_RETRY);
        loop {
            match self.0.take(origin, 1) {
                Ok(share) => return Arc::new(HistoryPlace(Mutex::new(share))),
                Err(_full) => tokio::time::sleep(backoff.next_delay()).await,
            }
        }
    }
}

impl HistoryPlace {
    /// Returns true once the place was evicted for another address.
    pub(crate) fn is_evicted(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_evicted()
    }

    /// Returns a notice of the eviction, to an answer that holds the place until it is written.
    pub(crate) fn notice(&self) -> EvictionNotice {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).notice()
    }

    /// Notes that the session has read something.
    pub(crate) fn touch(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).touch();
    }
}

/// Bounds of the backoff between tries for a place while the address has its share.
const PLACE_RETRY: Duration = Duration::from_millis(20);
const MAX_PLACE_RETRY: Duration = Duration::from_millis(250);

/// Starts reads of logs for sessions.
pub(crate) struct HistoryReader {
    pub(crate) places: Arc<HistoryPlaces>,
    pub(crate) connector: Arc<RelayConnector>,
    pub(crate) figures: Figures,
    /// Runs the reads, which are started from shards' threads.
    pub(crate) runtime: Handle,
    /// Ends the reads, after the sessions.
    pub(crate) stop: CancellationToken,
}

impl HistoryReader {
    /// Starts a read for a session of `origin`, which receives it through `to` and ends it by dropping the guard.
    pub(crate) fn start(
        self: &Arc<Self>,
        read: LogRead,
        origin: Origin,
        to: mpsc::Sender<HistoryPart>,
    ) -> LogReadGuard {
        let read = HistoryRead { reader: self.clone(), read, origin, to };
        let task = self.runtime.spawn(read.run()).abort_handle();
        LogReadGuard::new(move || task.abort())
    }
}

/// One read of a log for a session.
struct HistoryRead {
    reader: Arc<HistoryReader>,
    read: LogRead,
    origin: Origin,
    to: mpsc::Sender<HistoryPart>,
}

/// The session that receives a read has ended.
struct SessionGone;

impl HistoryRead {
    async fn run(self) {
        let stop = self.reader.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.read_to_end() => {}
        }
    }

    /// Reads to the head as it was at the beginning, and waits for a relay that is away.
    async fn read_to_end(mut self) {
        let place = self.reader.places.take(self.origin).await;
        if self.send(HistoryItem::Begun(place.clone())).await.is_err() {
            return;
        }
        self.reader.figures.history_reads.inc();
        let mut backoff = relay_connector::backoff();
        while let Ok(false) = self.attempt(&mut backoff, &place).await {
            if !backoff.wait(&self.reader.stop).await {
                return;
            }
        }
    }

    /// Reads as far as possible; returns true once the read is over, false to try again.
    async fn attempt(&mut self, backoff: &mut Backoff, place: &HistoryPlace) -> Result<bool, SessionGone> {
        let relay = self.read.group.info().relay;
        let Some(mut client) = self.reader.connector.log_client(relay) else { return Ok(false) };
        let request = ReadRequest {
            group_id: self.read.group.id.into(),
            log_id: self.read.log.0,
            from_seq: self.read.next.0,
            limit_messages: 0,
            ticket: self.read.ticket.clone(),
            before_seq: 0,
        };
        let ended = match client.read(request).await {
            Ok(response) => self.forward(response.into_inner(), backoff, place).await?,
            Err(status) => Err(status),
        };
        let Err(status) = ended else {
            self.send_part(LogPart::End).await?;
            return Ok(true);
        };
        debug!(group = %self.read.group.id, code = ?status.code(), why = status.message(), "log not read");
        match status.code() {
            Code::OutOfRange => {
                let request = GetLogRequest { group_id: self.read.group.id.into(), ticket: self.read.ticket.clone() };
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
                self.send_part(LogPart::Failed(Failure::new(status.code(), status.message()))).await?;
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
        place: &HistoryPlace,
    ) -> Result<Result<(), Status>, SessionGone> {
        loop {
            let bytes = match runs.message().await {
                Ok(Some(response)) => response.run,
                Ok(None) => return Ok(Ok(())),
                Err(status) => return Ok(Err(status)),
            };
            backoff.reset();
            let run = match Run::parse(bytes) {
                Ok(run) if run.header().group == self.read.group.id && run.header().log == self.read.log => run,
                Ok(_) => return Ok(Err(Status::failed_precondition("the relay sent another log"))),
                Err(error) => return Ok(Err(Status::data_loss(error.to_string()))),
            };
            if run.last_seq() < self.read.next {
                continue;
            }
            if run.first_seq() > self.read.next {
                self.skip_to(run.first_seq()).await?;
            }
            self.read.next = run.last_seq().next();
            self.send_part(LogPart::Run(run)).await?;
            place.touch();
        }
    }

    /// Reports messages that the log has dropped as a gap and continues behind them. Returns false, because the read is not over.
    async fn skip_to(&mut self, oldest: Seq) -> Result<bool, SessionGone> {
        if let Some(range) = SeqRange::new(self.read.next, Seq(oldest.0.saturating_sub(1))) {
            self.reader.figures.gaps.inc();
            self.send_part(LogPart::Gap(range)).await?;
            self.read.next = oldest;
        }
        Ok(false)
    }

    async fn send_part(&self, part: LogPart) -> Result<(), SessionGone> {
        self.send(HistoryItem::Part(part)).await
    }

    async fn send(&self, item: HistoryItem) -> Result<(), SessionGone> {
        let part = HistoryPart { read: self.read.number, group: self.read.group.id, item };
        self.to.send(part).await.map_err(|_| SessionGone)
    }
}
