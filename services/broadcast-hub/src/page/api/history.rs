//! Pages of a group's log: runs one after another, the same bytes as on the WebSocket.

use std::{sync::Arc, time::Instant};

use axum::{
    body::Body,
    extract::{Extension, Path, Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderName, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use gaung_proto::{GroupId, LogId, pb::relay::ReadRequest};
use serde::Deserialize;
use tokio_stream::{StreamExt as _, once};
use tonic::Status;

use super::{
    super::{context::ApiContext, serve::PageConnection},
    error::ApiError,
    group_id,
    hex::Hex,
    refuse_exposed, relay_of,
    shared_body::SharedBody,
    timed,
};

/// Most messages on one page.
const MAX_MESSAGES: u64 = 1000;
/// Carries the secret of the browser's session, as hexadecimal digits.
const SESSION: HeaderName = HeaderName::from_static("gaung-session");
/// Names the page's first seq, because its first run may begin earlier; absent if the page is empty.
const FIRST_SEQ: HeaderName = HeaderName::from_static("gaung-first-seq");

#[derive(Deserialize)]
pub(super) struct HistoryQuery {
    /// The page ends before this seq.
    before: u64,
    limit: u64,
    /// The log as 16 hexadecimal digits; the request fails if another one is current.
    log: Option<String>,
    ticket: Option<Hex>,
}

/// Answers with a page of runs, oldest first.
pub(super) async fn history(
    State(context): State<Arc<ApiContext>>,
    Extension(connection): Extension<PageConnection>,
    Path(group): Path<String>,
    headers: HeaderMap,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query?;
    let group = group_id(&group)?;
    let ticket = ticket(&context, &connection, &headers, group, query.ticket)?;
    let (info, mut relay) = relay_of(&context, group, &ticket).await?;
    let request = ReadRequest {
        group_id: info.id.into(),
        log_id: log_id(query.log.as_deref())?.0,
        from_seq: 0,
        limit_messages: query.limit.clamp(1, MAX_MESSAGES),
        ticket,
        before_seq: query.before.max(1),
    };
    // Runs that the browser has not read yet are in memory, as in any read of a log.
    let place = context.history_places.take(connection.address.into()).await;
    let mut pages = relay.read(timed(request)).await?.into_inner();
    let runs = [(CONTENT_TYPE, "application/octet-stream")];
    let Some(first) = pages.message().await? else { return Ok(runs.into_response()) };
    let first_seq = [(FIRST_SEQ, first.first_seq.to_string())];
    let notice = place.notice();
    let parts = once(Ok(first)).chain(pages).map(move |page| {
        place.touch();
        page.map(|page| page.run)
    });
    let evicted = Status::resource_exhausted("evicted for an address with fewer reads");
    let body = Body::from_stream(SharedBody::new(parts, notice, Some(evicted)));
    Ok((runs, first_seq, body).into_response())
}

/// Parses the log of a request; 0 stands for the current one.
pub(super) fn log_id(text: Option<&str>) -> Result<LogId, ApiError> {
    let Some(text) = text else { return Ok(LogId(0)) };
    u64::from_str_radix(text, 16).map(LogId).map_err(|_| ApiError::invalid("a log id has 16 hexadecimal digits"))
}

/// Decodes the ticket of a request for a group; empty if it has none. Others must not read one, and it opens nothing without the secret
/// of a session that has proven the ticket's device.
pub(super) fn ticket(
    context: &ApiContext,
    browser: &PageConnection,
    headers: &HeaderMap,
    group: GroupId,
    hex: Option<Hex>,
) -> Result<Bytes, ApiError> {
    let Some(Hex(ticket)) = hex else { return Ok(Bytes::new()) };
    refuse_exposed(browser)?;
    let secret = headers.get(SESSION).and_then(|secret| Hex::try_from(secret.to_str().ok()?.to_owned()).ok());
    let device = secret.and_then(|secret| context.page_sessions.device(&secret.0)).ok_or_else(ApiError::no_session)?;
    let checked = context.directory.check_ticket(Instant::now(), group, device, &ticket);
    checked.map_err(|error| ApiError::denied(error.to_string()))?;
    Ok(ticket.into())
}
