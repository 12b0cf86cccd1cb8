//! Invites: a code that lets others into a private group, and using one.

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
    /// 0: no limit.
    #[serde(default)]
    uses: u32,
    /// 0: a day.
    #[serde(default)]
    expires_ms: u64,
}

#[derive(Serialize)]
pub(super) struct Invite {
    code: String,
    expires_unix_ms: i64,
}

/// Makes a code; only members may.
pub(super) async fn create(
    State(context): State<Arc<ApiContext>>,
    Extension(browser): Extension<PageConnection>,
    Path(group): Path<String>,
    body: Result<Json<InviteRequest>, JsonRejection>,
) -> Result<(StatusCode, Json<Invite>), ApiError> {
    let Json(wish) = body?;
    let request = CreateInviteRequest {
        group_id: group_id(&group)?.into(),
        public_key: wish.public_key.0.into(),
        uses: wish.uses,
        expires_ms: wish.expires_ms,
    };
    let made = context.registry.clone().create_invite(timed_for(&browser, request)).await?.into_inner();
    Ok((StatusCode::CREATED, Json(Invite { code: made.code, expires_unix_ms: made.expires_unix_ms })))
}

#[derive(Deserialize)]
pub(super) struct RedeemRequest {
    code: String,
    seed: Hex,
    #[serde(default)]
    member_name: String,
}

/// Uses a code for the browser's device.
pub(super) async fn redeem(
    State(context): State<Arc<ApiContext>>,
    Extension(browser): Extension<PageConnection>,
    body: Result<Json<RedeemRequest>, JsonRejection>,
) -> Result<Json<GroupJson>, ApiError> {
    let Json(wish) = body?;
    let key = key_of(&wish.seed)?;
    let mut client = context.registry.clone();
    let nonce = client.get_challenge(timed(GetChallengeRequest {})).await?.into_inner().nonce;
    // The group is not known before; its id is zero in what is signed.
    let signature = sign_call(&key, Method::Redeem, GroupId::NONE, &nonce, &wish.code);
    let request = RedeemInviteRequest { code: wish.code, signature: Some(signature), member_name: wish.member_name };
    let redeemed = client.redeem_invite(timed_for(&browser, request)).await?.into_inner();
    Ok(Json(described(redeemed.group.as_ref())?))
}
