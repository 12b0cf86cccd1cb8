//! Read: history from the log.

use std::sync::Arc;

use gaung_log::Log;
use gaung_proto::{
    GroupId, LogId, Seq,
    pb::relay::{ReadRequest, ReadResponse},
    run::Run,
};
use tokio::{sync::mpsc, task::spawn_blocking};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{CallError, Relay, group_id};

/// Bytes of runs that one read of the log brings.
pub(super) const READ_BYTES: usize = 256 * 1024;
/// Runs that wait for a slow reader.
const READ_AHEAD: usize = 4;

/// Runs from the one that holds the seq asked for to the head as it is now, or to the limit.
pub(super) async fn read(
    relay: Relay,
    request: ReadRequest,
) -> Result<ReceiverStream<Result<ReadResponse, Status>>, CallError> {
    let group = group_id(&request.group_id)?;
    let serving = relay.serving(group).await?;
    relay.0.access.check_bearer(&serving.config, &request.ticket)?;
    let log = serving.identity.log;
    if request.log_id != 0 && request.log_id != log.0 {
        return Err(CallError::OtherLog { current: log });
    }
    let position = relay.0.log.position(group).ok_or(CallError::NotReady)?;
    let from = if request.from_seq == 0 { position.oldest } else { Seq(request.from_seq) };
    if from < position.oldest {
        return Err(CallError::Trimmed { oldest: position.oldest });
    }
    let last = match request.limit_messages {
        0 => position.head,
        limit => position.head.min(from.plus(limit - 1)),
    };
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let tasks = relay.0.tasks.clone();
    tasks.spawn(async move {
        if let Err(error) = send_runs(&relay, group, log, from, last, &sender).await {
            let _ = sender.send(Err(error.into())).await;
        }
    });
    Ok(ReceiverStream::new(receiver))
}

async fn send_runs(
    relay: &Relay,
    group: GroupId,
    log: LogId,
    from: Seq,
    last: Seq,
    sender: &mpsc::Sender<Result<ReadResponse, Status>>,
) -> Result<(), CallError> {
    let mut next = from;
    while next <= last {
        let runs = read_log(relay, group, log, next).await?;
        if runs.is_empty() {
            return Ok(());
        }
        for run in runs {
            if run.first_seq() > last {
                return Ok(());
            }
            next = run.last_seq().next();
            if sender.send(Ok(ReadResponse { run: run.as_bytes().clone() })).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Reads from the store without keeping a runtime's thread from its work.
pub(super) async fn read_log(relay: &Relay, group: GroupId, log: LogId, from: Seq) -> Result<Vec<Run>, CallError> {
    let permit = Arc::clone(&relay.0.reads).acquire_owned().await.map_err(|_| CallError::Stopping)?;
    let store: Arc<dyn Log> = Arc::clone(&relay.0.log);
    let read = spawn_blocking(move || {
        let _permit = permit;
        store.read(group, log, from, READ_BYTES)
    });
    Ok(read.await.map_err(|_| CallError::Unreadable)??)
}
