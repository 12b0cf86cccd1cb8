//! Invites to private groups: creating and redeeming codes.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Extension, Path, State, rejection::JsonRejection},
    http::StatusCode,
};
use gaung_proto::pb::registry::{CreateInviteRequest, DeviceSignature, RedeemInviteRequest};
use serde::{Deserialize, Serialize};

use super::{
    super::{context::ApiContext, serve::PageConnection},
    error::ApiError,
    group_id,
    groups::{GroupJson, described},
    refuse_exposed,
    signature::SignatureJson,
    timed_for,
};

#[derive(Deserialize)]
pub(super) struct InviteRequest {
    /// How often the code may be redeemed; 0 for no limit.
    #[serde(default)]
    uses: u32,
    /// Time until the code expires; 0 for a day.
    #[serde(default)]
    expires_ms: u64,
    /// Of the call `invite`.
    signature: SignatureJson,
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
    refuse_exposed(&browser)?;
    let Json(invite) = body?;
    let signature = DeviceSignature::from(invite.signature);
    let request = CreateInviteRequest {
        group_id: group_id(&group)?.into(),
        public_key: signature.public_key.clone(),
        uses: invite.uses,
        expires_ms: invite.expires_ms,
        signature: Some(signature),
    };
    let created = context.registry.clone().create_invite(timed_for(&browser, request)).await?.into_inner();
    Ok((StatusCode::CREATED, Json(InviteJson { code: created.code, expires_unix_ms: created.expires_unix_ms })))
}

#[derive(Deserialize)]
pub(super) struct RedeemRequest {
    code: String,
    /// Of the call `redeem`, whose subject is the code.
    signature: SignatureJson,
    #[serde(default)]
    member_name: String,
}

/// Redeems a code for the device that has signed.
pub(super) async fn redeem(
    State(context): State<Arc<ApiContext>>,
    Extension(browser): Extension<PageConnection>,
    body: Result<Json<RedeemRequest>, JsonRejection>,
) -> Result<Json<GroupJson>, ApiError> {
    refuse_exposed(&browser)?;
    let Json(redeem) = body?;
    let signature = Some(redeem.signature.into());
    let request = RedeemInviteRequest { code: redeem.code, signature, member_name: redeem.member_name };
    let redeemed = context.registry.clone().redeem_invite(timed_for(&browser, request)).await?.into_inner();
    Ok(Json(described(redeemed.group.as_ref())?))
}
