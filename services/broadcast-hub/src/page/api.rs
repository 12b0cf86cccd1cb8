//! The JSON API: what a browser needs besides the messages. It answers from registry and relay, and keeps nothing.

mod about;
mod error;
mod groups;
mod hex;
mod history;
mod invites;
mod lab;
mod members;
mod policy;
mod receipts;
mod shared_body;
mod signature;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};
use bytes::Bytes;
use gaung_proto::{
    GroupId, RelayId,
    pb::registry::{GetGroupRequest, get_group_request::By},
};
use service_kit::rpc::call_on_behalf;
use tonic::Request;

use crate::{directory::GroupInfo, registry::ticket_viewer, relay_connector::RelayClient};

use self::error::ApiError;
use super::{context::ApiContext, serve::PageConnection};

/// Limit for the answers of registry and relay.
const DEADLINE: Duration = Duration::from_secs(10);

/// Routes the API's paths below `/api`.
pub(super) fn router(context: Arc<ApiContext>) -> Router {
    let lab = Arc::<lab::LabSnapshot>::default();
    Router::new()
        .route("/about", get(about::about))
        .route("/qr", get(about::qr_code))
        .route("/challenge", post(signature::challenge))
        .route("/groups", get(groups::list).post(groups::create))
        .route("/groups/{group}/join", post(groups::join))
        .route("/groups/{group}/leave", post(groups::leave))
        .route("/groups/{group}/members", get(members::members))
        .route("/groups/{group}/history", get(history::history))
        .route("/groups/{group}/receipts", get(receipts::receipts))
        .route("/groups/{group}/invites", post(invites::create))
        .route("/groups/{group}/policy", get(policy::read))
        .route("/policies", post(policy::replace).layer(DefaultBodyLimit::max(policy::MAX_BODY)))
        .route("/invites/redeem", post(invites::redeem))
        .route("/lab", get(move |context| lab::lab(context, lab)))
        .fallback(|| async { ApiError::unknown_path() })
        .with_state(context)
}

/// Makes a request with the deadline of all calls to other services.
fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}

/// Makes such a request on behalf of the browser of this connection, whom the registry charges for the call.
fn timed_for<T>(browser: &PageConnection, message: T) -> Request<T> {
    let mut request = timed(message);
    call_on_behalf(&mut request, browser.address);
    request
}

/// Refuses what belongs to private groups on a connection that others can read.
fn refuse_exposed(browser: &PageConnection) -> Result<(), ApiError> {
    if browser.is_exposed { Err(ApiError::exposed()) } else { Ok(()) }
}

fn group_id(text: &str) -> Result<GroupId, ApiError> {
    text.parse().map_err(|error: gaung_proto::id::IdError| ApiError::invalid(error.to_string()))
}

/// Returns a group and a client of its relay. A group that the directory does not have is looked up at the registry, which
/// describes a private group to the holder of its ticket.
async fn relay_of(
    context: &ApiContext,
    group: GroupId,
    ticket: &Bytes,
) -> Result<(Arc<GroupInfo>, RelayClient), ApiError> {
    let info = match context.directory.by_id(group) {
        Some(info) => info,
        None => {
            let request = GetGroupRequest { by: Some(By::Id(group.into())), viewer: ticket_viewer(ticket.clone()) };
            let found = context.registry.clone().get_group(timed(request)).await?.into_inner().group;
            let info = found.as_ref().and_then(GroupInfo::from_pb);
            Arc::new(info.ok_or_else(|| ApiError::unavailable("the registry's answer has no group"))?)
        }
    };
    let client = relay_client(context, info.relay)?;
    Ok((info, client))
}

fn relay_client(context: &ApiContext, relay: RelayId) -> Result<RelayClient, ApiError> {
    let client = context.relays.log_client(relay);
    client.ok_or_else(|| ApiError::unavailable("the group's relay cannot be reached; try again"))
}
