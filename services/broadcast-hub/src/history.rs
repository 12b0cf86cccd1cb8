//! Reading a relay's log for one session, within the session's pace.

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
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};
use tracing::debug;

use crate::{
    failure::Failure,
    hub::Hub,
    relays,
    session_core::{LogPart, LogRead},
};

/// What a read brings, in order.
#[derive(Debug)]
pub(crate) enum HistoryItem {
    /// The read has its place, which the session keeps until it has written what it was given.
    Begun(Arc<HistoryPlace>),
    Part(LogPart),
}

/// An item of the read with this number.
#[derive(Debug)]
pub(crate) struct HistoryPart {
    pub(crate) read: u64,
    pub(crate) group: GroupId,
    pub(crate) item: HistoryItem,
}

/// Places for reads of the log. A read and what its session has not written of it are about 1 MiB, so the place is held
/// until both are gone, and an address has no more than its share while others wait.
#[derive(Debug)]
pub(crate) struct HistoryPlaces(SharePool<Origin>);

/// One place of [`HistoryPlaces`].
#[derive(Debug)]
pub(crate) struct HistoryPlace(Mutex<Share<Origin>>);

impl HistoryPlaces {
    pub(crate) fn new(reads: usize) -> Self {
        // One address may have them all while nobody else wants one.
        Self(SharePool::new(reads as u64, reads as u64))
    }

    /// Waits for a place. The one whose session took nothing for longest goes first when another address needs it.
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
    /// Another address needed it more.
    pub(crate) fn is_evicted(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_evicted()
    }

    /// For an answer that holds the place until it is out.
    pub(crate) fn notice(&self) -> EvictionNotice {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).notice()
    }

    /// The session took something.
    pub(crate) fn touch(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).touch();
    }
}

/// Delays between tries for a place while all of the address's own are taken.
const PLACE_RETRY: Duration = Duration::from_millis(20);
const MAX_PLACE_RETRY: Duration = Duration::from_millis(250);

/// One read of a log for a session, which takes what it brings from `to`.
pub(crate) struct HistoryRead {
    pub(crate) hub: Arc<Hub>,
    pub(crate) read: LogRead,
    /// Of the session.
    pub(crate) origin: Origin,
    pub(crate) to: mpsc::Sender<HistoryPart>,
}

/// The session is gone.
struct Gone;

impl HistoryRead {
    /// Reads to the end; a relay that is away is waited for.
    pub(crate) async fn run(mut self) {
        let hub = self.hub.clone();
        let reading = async {
            let place = hub.history_places.take(self.origin).await;
            if self.send(HistoryItem::Begun(place.clone())).await.is_err() {
                return;
            }
            hub.figures.history_reads.inc();
            let mut backoff = relays::backoff();
            while let Ok(false) = self.attempt(&mut backoff, &place).await {
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
    async fn attempt(&mut self, backoff: &mut Backoff, place: &HistoryPlace) -> Result<bool, Gone> {
        let link = self.hub.relays.link(&self.hub, self.read.group.info().relay);
        let Some(mut client) = link.history_client(&self.hub) else { return Ok(false) };
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
    ) -> Result<Result<(), Status>, Gone> {
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

    /// Tells what is missing and goes on behind it; never the end of a read.
    async fn skip_to(&mut self, oldest: Seq) -> Result<bool, Gone> {
        if let Some(range) = SeqRange::new(self.read.next, Seq(oldest.0.saturating_sub(1))) {
            self.hub.figures.gaps.inc();
            self.send_part(LogPart::Gap(range)).await?;
            self.read.next = oldest;
        }
        Ok(false)
    }

    async fn send_part(&self, part: LogPart) -> Result<(), Gone> {
        self.send(HistoryItem::Part(part)).await
    }

    async fn send(&self, item: HistoryItem) -> Result<(), Gone> {
        let part = HistoryPart { read: self.read.number, group: self.read.group.id, item };
        self.to.send(part).await.map_err(|_| Gone)
    }
}
