//! A group's policy: who may do what in it. Browsers sign the next version; the registry decides whether it may follow.

use std::sync::Arc;

use axum::{
    Json,
    extract::{
        Extension, Path, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{HeaderMap, StatusCode},
};
use gaung_proto::{
    pb::registry::{GetGroupRequest, SetPolicyRequest, get_group_request::By},
    policy::MAX_POLICY_BYTES,
};
use serde::{Deserialize, Serialize};

use crate::registry::ticket_viewer;

use super::{
    super::{context::ApiContext, serve::PageConnection},
    error::ApiError,
    group_id,
    hex::{Hex, to_hex},
    history::ticket,
    timed_for,
};

/// Most bytes in the body of a request that sets a policy: hexadecimal digits, and the braces around them.
pub(super) const MAX_BODY: usize = 2 * MAX_POLICY_BYTES + 64;

/// What is decided in a group, and by whom it may be changed first of all.
#[derive(Serialize)]
pub(super) struct PolicyJson {
    /// The device that made the group; empty for a group that nobody owns.
    owner: String,
    /// The encoded SignedPolicy as hexadecimal digits; empty before anybody has decided anything.
    policy: String,
}

#[derive(Deserialize)]
pub(super) struct PolicyQuery {
    ticket: Option<Hex>,
}

/// Answers with a group's owner and policy.
pub(super) async fn read(
    State(context): State<Arc<ApiContext>>,
    Extension(browser): Extension<PageConnection>,
    Path(group): Path<String>,
    headers: HeaderMap,
    query: Result<Query<PolicyQuery>, QueryRejection>,
) -> Result<Json<PolicyJson>, ApiError> {
    let Query(query) = query?;
    let group = group_id(&group)?;
    let ticket = ticket(&context, &browser, &headers, group, query.ticket)?;
    let request = GetGroupRequest { by: Some(By::Id(group.into())), viewer: ticket_viewer(ticket) };
    let found = context.registry.clone().get_group(timed_for(&browser, request)).await?.into_inner().group;
    let found = found.ok_or_else(|| ApiError::unavailable("the registry's answer has no group"))?;
    Ok(Json(PolicyJson { owner: to_hex(&found.owner_device_id), policy: to_hex(&found.policy) }))
}

#[derive(Deserialize)]
pub(super) struct SetPolicyJson {
    /// An encoded SignedPolicy, which names the group.
    policy: Hex,
}

/// Replaces a group's policy by the next version; 409 if another one came first.
pub(super) async fn replace(
    State(context): State<Arc<ApiContext>>,
    Extension(browser): Extension<PageConnection>,
    body: Result<Json<SetPolicyJson>, JsonRejection>,
) -> Result<StatusCode, ApiError> {
    let Json(SetPolicyJson { policy }) = body?;
    let request = SetPolicyRequest { policy: policy.0.into() };
    context.registry.clone().set_policy(timed_for(&browser, request)).await?;
    Ok(StatusCode::NO_CONTENT)
}
