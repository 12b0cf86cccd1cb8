//! Receipts: who has heard a message, followed until all have, or the time is over.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use gaung_engine::MemberLane;
use gaung_net::backoff::Backoff;
use gaung_proto::{
    ClientId, DeviceId, GroupId, GroupName, Seq,
    limits::MAX_RECEIPT_MESSAGES,
    pb::relay::{self as pb, WatchReceiptsRequest, WatchReceiptsResponse},
};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status, Streaming};

use crate::{
    calls::{GroupKey, relay::lane_of},
    context::Context,
    endpoint::server_backoff,
    error::{ClientError, ErrorKind},
    group::bad,
};

/// Who has heard one message, of those who were present when it was logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Which message.
    pub seq: Seq,
    /// Present then, and delivered.
    pub heard: u32,
    /// Present then: a STATUS came, or a session was at a hub, within 5 s before.
    pub present: u32,
    /// Of those, text sessions, which cannot say.
    pub silent: u32,
    /// Known within the last minute, and absent then.
    pub absent: u32,
    /// Present and not heard, at most 16, text sessions last.
    pub missing: Vec<MissingMember>,
    /// Nothing more can be learnt.
    pub complete: bool,
}

/// A member that has not heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingMember {
    /// Its device; none for a text session.
    pub device: DeviceId,
    /// Its process.
    pub client: ClientId,
    /// How it hears; `None` if the relay is newer than this.
    pub lane: Option<MemberLane>,
    /// What a text session calls itself; else empty.
    pub name: String,
}

/// The receipts of some messages as they change. Dropping it ends the watch.
#[derive(Debug)]
pub struct Receipts {
    context: Arc<Context>,
    group: GroupId,
    /// Those that can change still.
    open: BTreeSet<Seq>,
    deadline: Instant,
    stream: Option<Streaming<WatchReceiptsResponse>>,
    backoff: Backoff,
}

/// The longest message of an answer: 1024 receipts with 16 names each.
const MAX_RESPONSE: usize = 4 * 1024 * 1024;
/// What the relay sends when the time is over may come so much later.
const LAST_ANSWER: Duration = Duration::from_secs(2);

impl Receipts {
    /// Follows the receipts of 1 to 1024 messages for at most `wait`.
    ///
    /// # Errors
    /// [`ClientError::Usage`] for no message or too many, and what the registry says.
    pub(crate) async fn watch(
        context: &Arc<Context>,
        group: &GroupName,
        open: BTreeSet<Seq>,
        wait: Duration,
    ) -> Result<Self, ClientError> {
        if open.is_empty() || open.len() as u64 > MAX_RECEIPT_MESSAGES {
            return Err(ClientError::Usage(format!("receipts can be had of 1 to {MAX_RECEIPT_MESSAGES} messages")));
        }
        let group = context.get_group(&GroupKey::Name(group.clone())).await?.id;
        let deadline = Instant::now() + wait;
        Ok(Self { context: Arc::clone(context), group, open, deadline, stream: None, backoff: server_backoff() })
    }

    /// What has changed, first of all messages; `None` once nothing more can be learnt or the time is over. A relay that
    /// is lost is sought again until then.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if the relay was away to the end; [`ClientError::Failed`] if it does not know any
    /// more who was present, for it was started after the message; what the registry says. Nothing follows.
    pub async fn next(&mut self) -> Option<Result<Vec<Receipt>, ClientError>> {
        while !self.open.is_empty() {
            match self.step().await {
                Ok(Some(receipts)) => return Some(Ok(receipts)),
                Ok(None) => {}
                Err(error) => {
                    self.open.clear();
                    return Some(Err(error));
                }
            }
        }
        None
    }

    /// One answer, or one attempt to get one.
    async fn step(&mut self) -> Result<Option<Vec<Receipt>>, ClientError> {
        let Some(stream) = &mut self.stream else { return self.connect().await.map(|()| None) };
        match timeout_at(self.deadline + LAST_ANSWER, stream.message()).await {
            Ok(Ok(Some(answer))) => {
                let receipts: Vec<Receipt> = answer.receipts.into_iter().map(receipt).collect::<Result<_, _>>()?;
                for receipt in receipts.iter().filter(|receipt| receipt.complete) {
                    self.open.remove(&receipt.seq);
                }
                self.backoff.reset();
                Ok(Some(receipts))
            }
            Ok(Err(status)) => self.again(refused_or_lost(&status)).await.map(|()| None),
            Ok(Ok(None)) | Err(_) => {
                self.open.clear();
                Ok(None)
            }
        }
    }

    async fn connect(&mut self) -> Result<(), ClientError> {
        match self.open_stream().await {
            Ok(stream) => self.stream = Some(stream),
            Err(error) => self.again(error).await?,
        }
        Ok(())
    }

    async fn open_stream(&self) -> Result<Streaming<WatchReceiptsResponse>, ClientError> {
        let access = self.context.access(&GroupKey::Id(self.group)).await?;
        let mut relay = access.connect_relay(&self.context.trust).await?.max_decoding_message_size(MAX_RESPONSE);
        let wait = self.deadline.saturating_duration_since(Instant::now());
        let request = WatchReceiptsRequest {
            group_id: self.group.into(),
            log_id: 0,
            ranges: ranges(self.open.iter().copied()),
            wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
            ticket: access.ticket,
        };
        let answer = relay.watch_receipts(request).await;
        Ok(answer.map_err(|status| refused_or_lost(&status))?.into_inner())
    }

    /// Waits a little before the next attempt, if one may help and the time is not over.
    async fn again(&mut self, error: ClientError) -> Result<(), ClientError> {
        self.stream = None;
        let delay = self.backoff.next_delay();
        if error.kind() != ErrorKind::Unreachable || Instant::now() + delay >= self.deadline {
            return Err(error);
        }
        sleep(delay).await;
        Ok(())
    }
}

/// What the relay says for good, or [`ClientError::Unreachable`]: a broken connection has codes of its own.
fn refused_or_lost(status: &Status) -> ClientError {
    match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented => ClientError::of_status(status, "the relay"),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => ClientError::Unreachable(format!("the relay does not answer: {}", status.message())),
    }
}

/// As few ranges as there can be.
fn ranges(seqs: impl Iterator<Item = Seq>) -> Vec<pb::SeqRange> {
    let mut ranges: Vec<pb::SeqRange> = Vec::new();
    for Seq(seq) in seqs {
        match ranges.last_mut() {
            Some(range) if range.last_seq + 1 == seq => range.last_seq = seq,
            Some(_) | None => ranges.push(pb::SeqRange { first_seq: seq, last_seq: seq }),
        }
    }
    ranges
}

fn receipt(receipt: pb::Receipt) -> Result<Receipt, ClientError> {
    let missing = |missing: pb::MissingMember| {
        let (device, client) = (missing.device_id[..].try_into(), missing.client_id[..].try_into());
        let lane = lane_of(missing.lane());
        let (device, client) = (device.map_err(bad)?, client.map_err(bad)?);
        Ok(MissingMember { device, client, lane, name: missing.name })
    };
    Ok(Receipt {
        seq: Seq(receipt.seq),
        heard: receipt.heard,
        present: receipt.present,
        silent: receipt.silent,
        absent: receipt.absent,
        missing: receipt.missing.into_iter().map(missing).collect::<Result<_, ClientError>>()?,
        complete: receipt.complete,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_range() {
        let range = |first_seq, last_seq| pb::SeqRange { first_seq, last_seq };
        assert_eq!(ranges([3, 4, 5, 9, 11, 12].into_iter().map(Seq)), [range(3, 5), range(9, 9), range(11, 12)]);
        assert_eq!(ranges(std::iter::empty()), []);
    }
}
