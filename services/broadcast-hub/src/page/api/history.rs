//! A page of a group's log: the very runs, one behind the other, as on the WebSocket.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Extension, Path, Query, State, rejection::QueryRejection},
    http::{HeaderName, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use gaung_proto::{LogId, pb::relay::ReadRequest};
use serde::Deserialize;
use tokio_stream::{StreamExt as _, once};
use tonic::Status;

use super::{
    super::{context::ApiContext, serve::PageConnection},
    device::Hex,
    error::ApiError,
    group_id, relay_of,
    shared_body::SharedBody,
    timed,
};

/// Most messages of a page.
const MAX_MESSAGES: u64 = 1000;
/// The first message of the page, where its run may begin earlier; absent if the page is empty.
const FIRST_SEQ: HeaderName = HeaderName::from_static("gaung-first-seq");

#[derive(Deserialize)]
pub(super) struct HistoryQuery {
    /// The newest messages before this one.
    before: u64,
    limit: u64,
    /// 16 hexadecimal digits; another log than the current is refused.
    log: Option<String>,
    ticket: Option<Hex>,
}

/// Answers with runs, oldest first.
pub(super) async fn history(
    State(context): State<Arc<ApiContext>>,
    Extension(connection): Extension<PageConnection>,
    Path(group): Path<String>,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query?;
    let ticket = ticket(query.ticket);
    let (info, mut relay) = relay_of(&context, group_id(&group)?, &ticket).await?;
    let request = ReadRequest {
        group_id: info.id.into(),
        log_id: log_id(query.log.as_deref())?.0,
        from_seq: 0,
        limit_messages: query.limit.clamp(1, MAX_MESSAGES),
        ticket,
        before_seq: query.before.max(1),
    };
    // What is read and not taken by the browser is a read's as long as it lasts.
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
    let evicted = Status::resource_exhausted("others needed the place of this read");
    let body = Body::from_stream(SharedBody::new(parts, notice, Some(evicted)));
    Ok((runs, first_seq, body).into_response())
}

/// A log of a request; 0 for whichever is current.
pub(super) fn log_id(text: Option<&str>) -> Result<LogId, ApiError> {
    let Some(text) = text else { return Ok(LogId(0)) };
    u64::from_str_radix(text, 16).map(LogId).map_err(|_| ApiError::invalid("a log id has 16 hexadecimal digits"))
}

pub(super) fn ticket(hex: Option<Hex>) -> Bytes {
    hex.map(|hex| hex.0.into()).unwrap_or_default()
}
