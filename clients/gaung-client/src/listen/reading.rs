//! Reading missing messages from the relay's log into the engine.

use std::sync::Arc;

use gaung_engine::HistoryEnd;
use gaung_proto::{LogId, Seq, SeqRange, net::Lane, pb::relay::ReadRequest, run::Run};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{
    drive::{EngineInput, EnginePort},
    note::ReadNote,
};
use crate::{
    calls::{GroupAccess, relay::MAX_READ_RESPONSE},
    context::Context,
    error::ClientError,
};

/// Reads `range` of `log` into the engine. The range may end beyond the log.
pub(super) async fn read(
    context: Arc<Context>,
    mut access: GroupAccess,
    log: LogId,
    range: SeqRange,
    port: EnginePort,
) -> ReadNote {
    let mut next = range.first;
    let mut renewed = false;
    // A second pass may start at the oldest message that is kept, a third one may use another ticket.
    for _ in 0..3 {
        match pass(&context, &access, log, range, &mut next, &port).await {
            Ok(()) => {
                let head = if next > range.last { range.last } else { Seq(next.0.saturating_sub(1)) };
                port.input(EngineInput::End(HistoryEnd::Reached { head })).await;
                return ReadNote::Done;
            }
            Err(ReadError::Status(status)) if status.code() == Code::OutOfRange => {
                let Some(oldest) = oldest(&status).filter(|oldest| *oldest > next) else { break };
                port.input(EngineInput::Trimmed { oldest }).await;
                next = oldest;
                if next > range.last {
                    port.input(EngineInput::End(HistoryEnd::Reached { head: range.last })).await;
                    return ReadNote::Done;
                }
            }
            Err(ReadError::Status(status)) if matches!(status.code(), Code::FailedPrecondition | Code::NotFound) => {
                port.input(EngineInput::End(HistoryEnd::Failed)).await;
                return ReadNote::Stale;
            }
            Err(ReadError::Status(status)) if is_denied(&status) && access.group.private && !renewed => {
                renewed = true;
                match context.other_ticket(access.group.id, &access.ticket).await {
                    Ok(ticket) => access.ticket = ticket,
                    Err(error) => {
                        port.input(EngineInput::End(HistoryEnd::Failed)).await;
                        return ReadNote::Failed { why: error.to_string() };
                    }
                }
            }
            Err(error) => {
                port.input(EngineInput::End(HistoryEnd::Failed)).await;
                return ReadNote::Failed { why: error.to_string() };
            }
        }
    }
    port.input(EngineInput::End(HistoryEnd::Failed)).await;
    ReadNote::Failed { why: "the relay's log starts later at each read".to_owned() }
}

/// Why one pass over the log ended early.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("{0}")]
    Unreachable(#[from] ClientError),
    #[error("the relay cannot be read from: {}", .0.message())]
    Status(#[from] Status),
    #[error("the relay sent a run that {0}")]
    Decode(#[from] gaung_proto::DecodeError),
}

/// Reads from `next` to the end of `range`, and moves `next` past what came.
async fn pass(
    context: &Context,
    access: &GroupAccess,
    log: LogId,
    range: SeqRange,
    next: &mut Seq,
    port: &EnginePort,
) -> Result<(), ReadError> {
    let mut relay = access.connect_relay(&context.trust).await?.max_decoding_message_size(MAX_READ_RESPONSE);
    let request = ReadRequest {
        group_id: access.group.id.into(),
        log_id: log.0,
        from_seq: next.0,
        limit_messages: range.last.0.saturating_sub(next.0).saturating_add(1),
        ticket: access.ticket.clone(),
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

/// Whether the relay refused the ticket: it expired while the machine slept, or by the relay's clock.
fn is_denied(status: &Status) -> bool {
    matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated)
}

fn oldest(status: &Status) -> Option<Seq> {
    status.get_details_error_info()?.metadata.get("oldest_seq")?.parse().ok().map(Seq)
}
