//! Who has heard: the relay's receipts as they change, one JSON object a line.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::Body,
    extract::{Extension, Path, Query, State, rejection::QueryRejection},
    http::header::CONTENT_TYPE,
    response::{IntoResponse as _, Response},
};
use gaung_proto::pb::relay::{
    MemberLane, MissingMember, Receipt, SeqRange, WatchReceiptsRequest, WatchReceiptsResponse,
};
use serde::{Deserialize, Serialize};
use service_kit::share::{Origin, Share};
use tokio_stream::Stream;
use tonic::{Request, Status, Streaming};

use crate::hub::Hub;

use super::{
    super::serve::Place,
    device::{Hex, to_hex},
    error::ApiError,
    group_id,
    history::{log_id, ticket},
    relay_of,
};

/// How long one request is answered; the page asks again.
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
    /// Of a text session.
    name: String,
    lane: Option<&'static str>,
}

/// Answers with a line for each change until all is heard, or a minute is over.
pub(super) async fn receipts(
    State(hub): State<Arc<Hub>>,
    Extension(browser): Extension<Place>,
    Path(group): Path<String>,
    query: Result<Query<ReceiptsQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query?;
    let ticket = ticket(query.ticket);
    let place = hub.receipt_watches.take(browser.address.into(), 1);
    let place = place.map_err(|full| Status::resource_exhausted(full.to_string()))?;
    let (info, mut relay) = relay_of(&hub, group_id(&group)?, &ticket).await?;
    let request = WatchReceiptsRequest {
        group_id: info.id.into(),
        log_id: log_id(query.log.as_deref())?.0,
        ranges: vec![SeqRange { first_seq: query.first, last_seq: query.last }],
        wait_ms: WATCH_MS,
        ticket,
    };
    let changes = relay.watch_receipts(Request::new(request)).await?.into_inner();
    let body = Body::from_stream(ReceiptBody::new(changes, place));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// The lines of one request. It ends early if its place goes to somebody else; the page asks again.
struct ReceiptBody {
    changes: Streaming<WatchReceiptsResponse>,
    evicted: Pin<Box<dyn Future<Output = ()> + Send>>,
    _place: Share<Origin>,
}

impl ReceiptBody {
    fn new(changes: Streaming<WatchReceiptsResponse>, place: Share<Origin>) -> Self {
        let notice = place.notice();
        Self { changes, evicted: Box::pin(async move { notice.evicted().await }), _place: place }
    }
}

impl Stream for ReceiptBody {
    type Item = Result<String, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.evicted.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.changes).poll_next(cx).map_ok(|change| lines(&change))
    }
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

/// How a member hears, as people read it.
pub(super) fn lane_word(lane: MemberLane) -> Option<&'static str> {
    match lane {
        MemberLane::Multicast => Some("multicast"),
        MemberLane::Tcp => Some("tcp"),
        MemberLane::Text => Some("text"),
        MemberLane::Unspecified => None,
    }
}
