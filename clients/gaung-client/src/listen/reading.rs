//! Reading what is missing from the relay's log, into the engine.

use std::sync::Arc;

use gaung_engine::HistoryEnd;
use gaung_proto::{
    LogId, Seq, SeqRange,
    net::Lane,
    pb::relay::{ReadRequest, relay_service_client::RelayServiceClient},
    run::Run,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::drive::{Input, Port};
use crate::{
    client::Inner,
    error::ClientError,
    registry::{Joined, relay_of},
};

/// A run of one message of the largest size, with its framing.
const MAX_RESPONSE: usize = 1024 * 1024;

/// How it went, for people and for the registry's sake; the engine has been told already.
#[derive(Debug)]
pub(super) enum ReadNote {
    Done,
    Failed {
        why: String,
    },
    /// The log is another one, or the group is gone: ask the registry.
    Stale,
}

/// Reads `range` of `log`, whose end may lie beyond the log's.
pub(super) async fn read(inner: Arc<Inner>, mut joined: Joined, log: LogId, range: SeqRange, port: Port) -> ReadNote {
    let mut next = range.first;
    let mut renewed = false;
    // Once more from the oldest that is kept, and once more with another ticket.
    for _ in 0..3 {
        match pass(&joined, log, range, &mut next, &port).await {
            Ok(()) => {
                let head = if next > range.last { range.last } else { Seq(next.0.saturating_sub(1)) };
                port.input(Input::End(HistoryEnd::Reached { head })).await;
                return ReadNote::Done;
            }
            Err(ReadError::Status(status)) if status.code() == Code::OutOfRange => {
                let Some(oldest) = oldest(&status).filter(|oldest| *oldest > next) else { break };
                port.input(Input::Trimmed { oldest }).await;
                next = oldest;
                if next > range.last {
                    port.input(Input::End(HistoryEnd::Reached { head: range.last })).await;
                    return ReadNote::Done;
                }
            }
            Err(ReadError::Status(status)) if matches!(status.code(), Code::FailedPrecondition | Code::NotFound) => {
                port.input(Input::End(HistoryEnd::Failed)).await;
                return ReadNote::Stale;
            }
            Err(ReadError::Status(status)) if is_denied(&status) && joined.group.private && !renewed => {
                renewed = true;
                match inner.other_ticket(joined.group.id, &joined.ticket).await {
                    Ok(ticket) => joined.ticket = ticket,
                    Err(error) => {
                        port.input(Input::End(HistoryEnd::Failed)).await;
                        return ReadNote::Failed { why: error.to_string() };
                    }
                }
            }
            Err(error) => {
                port.input(Input::End(HistoryEnd::Failed)).await;
                return ReadNote::Failed { why: error.to_string() };
            }
        }
    }
    port.input(Input::End(HistoryEnd::Failed)).await;
    ReadNote::Failed { why: "the relay's log begins later at each reading".to_owned() }
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("{0}")]
    Unreachable(#[from] ClientError),
    #[error("the relay cannot be read from: {}", .0.message())]
    Status(#[from] Status),
    #[error("the relay sent a run that {0}")]
    Decode(#[from] gaung_proto::DecodeError),
}

async fn pass(joined: &Joined, log: LogId, range: SeqRange, next: &mut Seq, port: &Port) -> Result<(), ReadError> {
    let channel = relay_of(&joined.group, &joined.services)?.connect("relay").await?;
    let mut relay = RelayServiceClient::new(channel).max_decoding_message_size(MAX_RESPONSE);
    let request = ReadRequest {
        group_id: joined.group.id.into(),
        log_id: log.0,
        from_seq: next.0,
        limit_messages: range.last.0.saturating_sub(next.0).saturating_add(1),
        ticket: joined.ticket.clone(),
        before_seq: 0,
    };
    let mut runs = relay.read(request).await?.into_inner();
    while let Some(response) = runs.message().await? {
        let run = Run::parse(response.run)?;
        *next = run.last_seq().next().max(*next);
        if !port.run(run, Lane::History).await {
            break;
        }
    }
    Ok(())
}

/// The relay did not take the ticket: it has expired, while the machine slept or by the relay's clock.
fn is_denied(status: &Status) -> bool {
    matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated)
}

fn oldest(status: &Status) -> Option<Seq> {
    status.get_details_error_info()?.metadata.get("oldest_seq")?.parse().ok().map(Seq)
}
