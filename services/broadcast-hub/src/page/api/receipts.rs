//! Receipts: who has delivered a message. They are sent as they change, one JSON object a line.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Extension, Path, Query, State, rejection::QueryRejection},
    http::{HeaderMap, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use gaung_proto::pb::relay::{
    MemberLane, MissingMember, Receipt, SeqRange, WatchReceiptsRequest, WatchReceiptsResponse,
};
use serde::{Deserialize, Serialize};
use tokio_stream::StreamExt as _;
use tonic::{Request, Status};

use super::{
    super::{context::ApiContext, serve::PageConnection},
    error::ApiError,
    group_id,
    hex::{Hex, to_hex},
    history::{log_id, ticket},
    relay_of,
    shared_body::SharedBody,
};

/// Time after which an answer ends; the page requests again.
const WATCH_MS: u32 = 60_000;

#[derive(Deserialize)]
pub(super) struct ReceiptsQuery {
    first: u64,
    last: u64,
    log: Option<String>,
    ticket: Option<Hex>,
}

#[derive(Serialize)]
struct ReceiptJson {
    seq: u64,
    heard: u32,
    present: u32,
    silent: u32,
    absent: u32,
    complete: bool,
    missing: Vec<MissingJson>,
}

#[derive(Serialize)]
struct MissingJson {
    device: String,
    /// The name of a text session; empty for others.
    name: String,
    lane: Option<&'static str>,
}

/// Answers with a line for each change, until the receipts are complete or a minute is over.
pub(super) async fn receipts(
    State(context): State<Arc<ApiContext>>,
    Extension(browser): Extension<PageConnection>,
    Path(group): Path<String>,
    headers: HeaderMap,
    query: Result<Query<ReceiptsQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query?;
    let group = group_id(&group)?;
    let ticket = ticket(&context, &browser, &headers, group, query.ticket)?;
    let place = context.receipt_watches.take(browser.address.into(), 1);
    let place = place.map_err(|full| Status::resource_exhausted(full.to_string()))?;
    let (info, mut relay) = relay_of(&context, group, &ticket).await?;
    let request = WatchReceiptsRequest {
        group_id: info.id.into(),
        log_id: log_id(query.log.as_deref())?.0,
        ranges: vec![SeqRange { first_seq: query.first, last_seq: query.last }],
        wait_ms: WATCH_MS,
        ticket,
    };
    let changes = relay.watch_receipts(Request::new(request)).await?.into_inner();
    let notice = place.notice();
    let lines = changes.map(move |change| {
        // The body holds the share until it ends.
        let _ = &place;
        change.map(|change| lines(&change))
    });
    // No error after an eviction: the page requests again when the answer ends.
    let body = Body::from_stream(SharedBody::new(lines, notice, None));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

fn lines(change: &WatchReceiptsResponse) -> String {
    let line = |receipt: &Receipt| {
        serde_json::to_string(&ReceiptJson::from_pb(receipt)).expect("numbers and strings become JSON") + "\n"
    };
    change.receipts.iter().map(line).collect()
}

impl ReceiptJson {
    fn from_pb(receipt: &Receipt) -> Self {
        Self {
            seq: receipt.seq,
            heard: receipt.heard,
            present: receipt.present,
            silent: receipt.silent,
            absent: receipt.absent,
            complete: receipt.complete,
            missing: receipt.missing.iter().map(MissingJson::from_pb).collect(),
        }
    }
}

impl MissingJson {
    fn from_pb(member: &MissingMember) -> Self {
        Self { device: to_hex(&member.device_id), name: member.name.clone(), lane: lane_word(member.lane()) }
    }
}

/// Names a member's lane for people.
pub(super) fn lane_word(lane: MemberLane) -> Option<&'static str> {
    match lane {
        MemberLane::Multicast => Some("multicast"),
        MemberLane::Tcp => Some("tcp"),
        MemberLane::Text => Some("text"),
        MemberLane::Unspecified => None,
    }
}
