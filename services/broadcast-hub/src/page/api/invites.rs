//! Invites to private groups: creating and redeeming codes.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Extension, Path, State, rejection::JsonRejection},
    http::StatusCode,
};
use gaung_proto::{
    GroupId,
    pb::registry::{CreateInviteRequest, GetChallengeRequest, RedeemInviteRequest},
    signing::{Method, sign_call},
};
use serde::{Deserialize, Serialize};

use super::{
    super::{context::ApiContext, serve::PageConnection},
    device::{Hex, key_of},
    error::ApiError,
    group_id,
    groups::{GroupJson, described},
    timed, timed_for,
};

#[derive(Deserialize)]
pub(super) struct InviteRequest {
    public_key: Hex,
    /// How often the code may be redeemed; 0 for no limit.
    #[serde(default)]
    uses: u32,
    /// Time until the code expires; 0 for a day.
    #[serde(default)]
    expires_ms: u64,
}

/// A code that was created.
#[derive(Serialize)]
pub(super) struct InviteJson {
    code: String,
    expires_unix_ms: i64,
}

/// Creates a code; only members may.
pub(super) async fn create(
    State(context): State<Arc<ApiContext>>,
    Extension(browser): Extension<PageConnection>,
    Path(group): Path<String>,
    body: Result<Json<InviteRequest>, JsonRejection>,
) -> Result<(StatusCode, Json<InviteJson>), ApiError> {
    let Json(invite) = body?;
    let request = CreateInviteRequest {
        group_id: group_id(&group)?.into(),
        public_key: invite.public_key.0.into(),
        uses: invite.uses,
        expires_ms: invite.expires_ms,
        signature: None,
    };
    let created = context.registry.clone().create_invite(timed_for(&browser, request)).await?.into_inner();
    Ok((StatusCode::CREATED, Json(InviteJson { code: created.code, expires_unix_ms: created.expires_unix_ms })))
}

#[derive(Deserialize)]
pub(super) struct RedeemRequest {
    code: String,
    seed: Hex,
    #[serde(default)]
    member_name: String,
}

/// Redeems a code for the browser's device.
pub(super) async fn redeem(
    State(context): State<Arc<ApiContext>>,
    Extension(browser): Extension<PageConnection>,
    body: Result<Json<RedeemRequest>, JsonRejection>,
) -> Result<Json<GroupJson>, ApiError> {
    let Json(redeem) = body?;
    let key = key_of(&redeem.seed)?;
    let mut client = context.registry.clone();
    let nonce = client.get_challenge(timed(GetChallengeRequest {})).await?.into_inner().nonce;
    // The signed group id is zero, because the group is not known before.
    let signature = sign_call(&key, Method::Redeem, GroupId::NONE, &nonce, &redeem.code);
    let request =
        RedeemInviteRequest { code: redeem.code, signature: Some(signature), member_name: redeem.member_name };
    let redeemed = client.redeem_invite(timed_for(&browser, request)).await?.into_inner();
    Ok(Json(described(redeemed.group.as_ref())?))
}
