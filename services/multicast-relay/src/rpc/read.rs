//! The Read call: pages of history from the log, in either direction.

use std::sync::Arc;

use gaung_log::{Log, Position};
use gaung_proto::{
    GroupId, LogId, Seq,
    pb::relay::{ReadRequest, ReadResponse},
    run::Run,
};
use service_kit::{
    rpc::{AnswerSender, AnswerStream, CallBytes, answer_queue},
    share::Caller,
};
use tokio::task::spawn_blocking;
use tonic::Request;

use super::{CallError, RelayCalls, group_id};

/// Most bytes of runs that one read of the log returns.
pub(super) const READ_BYTES: usize = 256 * 1024;
/// Most bytes of runs that wait for a slow reader.
const READ_AHEAD: usize = 256 * 1024;

/// Streams the runs that hold the requested messages, of the log as it is now.
pub(super) async fn read(
    relay: RelayCalls,
    request: Request<ReadRequest>,
) -> Result<AnswerStream<ReadResponse>, CallError> {
    let bytes = CallBytes::of(&request);
    let peer = relay.0.service_calls.peer_device(&request);
    let request = request.into_inner();
    let group = group_id(&request.group_id)?;
    let serving = match relay.serving(group).await {
        // What is in the log can be read while a full disk prevents writing.
        Err(CallError::NotReady) => relay.0.directory.readable(group).ok_or(CallError::NotReady)?,
        found => found?,
    };
    relay.0.access.check_reader(&serving.config, peer, &request.ticket)?;
    relay.0.policies.check_reader(&serving.config, &request.ticket)?;
    let log = serving.identity.log;
    if request.log_id != 0 && request.log_id != log.0 {
        return Err(CallError::OtherLog { current: log });
    }
    let position = relay.0.log.position(group).ok_or(CallError::NotReady)?;
    let page = HistoryPage::of(&request, position)?;
    let (sender, answers) = answer_queue(bytes, READ_AHEAD);
    let tasks = relay.0.tasks.clone();
    tasks.spawn(async move {
        if let Err(error) = send_runs(&relay, group, log, page, &sender).await {
            let _ = sender.send(Err(error.into()), 0).await;
        }
    });
    Ok(answers)
}

/// Messages `first` to `last`; none if `last` is lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HistoryPage {
    first: Seq,
    last: Seq,
    /// The page was requested by its end, so the answer must say where it begins.
    backwards: bool,
}

impl HistoryPage {
    fn of(request: &ReadRequest, position: Position) -> Result<Self, CallError> {
        let Position { oldest, head, .. } = position;
        let limit = if request.limit_messages == 0 { u64::MAX } else { request.limit_messages };
        if request.before_seq == 0 {
            let first = if request.from_seq == 0 { oldest } else { Seq(request.from_seq) };
            if first < oldest {
                return Err(CallError::Trimmed { oldest });
            }
            return Ok(Self { first, last: head.min(Seq(first.0.saturating_add(limit - 1))), backwards: false });
        }
        if request.from_seq != 0 {
            return Err(CallError::BadField("from_seq and before_seq: a page has one end only"));
        }
        let last = head.min(Seq(request.before_seq - 1));
        let first = oldest.max(Seq(last.0.saturating_sub(limit - 1)));
        Ok(Self { first, last, backwards: true })
    }
}

async fn send_runs(
    relay: &RelayCalls,
    group: GroupId,
    log: LogId,
    page: HistoryPage,
    sender: &AnswerSender<ReadResponse>,
) -> Result<(), CallError> {
    let mut first_seq = if page.backwards { page.first.0 } else { 0 };
    let mut next = page.first;
    while next <= page.last {
        // Fails only if nobody reads the answer any more.
        let Ok(mut held) = sender.reserve(READ_BYTES as u64).await else { return Ok(()) };
        let runs = read_log(relay, sender.caller(), group, log, next).await?;
        if runs.is_empty() {
            return Ok(());
        }
        for run in runs {
            if run.first_seq() > page.last {
                return Ok(());
            }
            next = run.last_seq().next();
            let response = ReadResponse { run: run.as_bytes().clone(), first_seq: std::mem::take(&mut first_seq) };
            let size = response.run.len();
            held.shrink(size as u64);
            if sender.send(Ok(response), size).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Reads from the log on a thread for blocking work.
pub(super) async fn read_log(
    relay: &RelayCalls,
    caller: Caller,
    group: GroupId,
    log: LogId,
    from: Seq,
) -> Result<Vec<Run>, CallError> {
    let permit = relay.0.reads.acquire(caller, 1).await;
    let store: Arc<dyn Log> = Arc::clone(&relay.0.log);
    let read = spawn_blocking(move || {
        let _permit = permit;
        store.read(group, log, from, READ_BYTES)
    });
    Ok(read.await.map_err(|_| CallError::Unreadable)??)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use gaung_proto::Epoch;

    use super::*;

    /// The first and last message of the page that `request` means, of a log that has 11 to 20.
    fn page(from_seq: u64, before_seq: u64, limit_messages: u64) -> Option<(u64, u64)> {
        let position = Position { log: LogId(1), epoch: Epoch(1), head: Seq(20), oldest: Seq(11) };
        let request = ReadRequest { from_seq, before_seq, limit_messages, ..ReadRequest::default() };
        HistoryPage::of(&request, position).ok().map(|page| (page.first.0, page.last.0))
    }

    #[test]
    fn forwards_from_a_message_or_the_oldest_to_the_limit_or_the_head() {
        assert_eq!(page(0, 0, 0), Some((11, 20)));
        assert_eq!(page(0, 0, 3), Some((11, 13)));
        assert_eq!(page(19, 0, 3), Some((19, 20)));
        assert_eq!(page(19, 0, u64::MAX), Some((19, 20)));
        assert_eq!(page(21, 0, 3), Some((21, 20)), "nothing above the head");
        assert_eq!(page(u64::MAX, 0, u64::MAX), Some((u64::MAX, 20)));
        assert_eq!(page(10, 0, 3), None, "no longer kept");
    }

    #[test]
    fn backwards_the_newest_before_a_message_until_nothing_older_is_kept() {
        assert_eq!(page(0, u64::MAX, 3), Some((18, 20)));
        assert_eq!(page(0, 21, 3), Some((18, 20)));
        assert_eq!(page(0, 18, 3), Some((15, 17)));
        assert_eq!(page(0, 13, 3), Some((11, 12)));
        assert_eq!(page(0, 13, 0), Some((11, 12)));
        for before in [11, 5, 1] {
            let (first, last) = page(0, before, 3).unwrap();
            assert!(first > last, "nothing is kept before {before}");
        }
        assert_eq!(page(12, 13, 1), None, "both ends");
    }
}
