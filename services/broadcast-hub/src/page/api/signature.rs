//! Signatures of calls to the registry. Browsers sign with the keys that they keep; the hub passes challenge and signature on.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Extension, State},
};
use gaung_proto::pb::registry::{DeviceSignature, GetChallengeRequest};
use serde::{Deserialize, Serialize};

use super::{
    super::{context::ApiContext, serve::PageConnection},
    error::ApiError,
    hex::{Hex, to_hex},
    timed_for,
};

/// A browser's signature of one call.
#[derive(Debug, Deserialize)]
pub(super) struct SignatureJson {
    public_key: Hex,
    nonce: Hex,
    signature: Hex,
}

impl From<SignatureJson> for DeviceSignature {
    fn from(signed: SignatureJson) -> Self {
        Self {
            public_key: signed.public_key.0.into(),
            nonce: signed.nonce.0.into(),
            signature: signed.signature.0.into(),
        }
    }
}

/// What the browser's next signature covers.
#[derive(Serialize)]
pub(super) struct ChallengeJson {
    /// Hexadecimal digits; good for one call.
    nonce: String,
    /// The registry's clock, ms since 1970, by which mutes end.
    unix_ms: i64,
}

/// Answers with a challenge of the registry.
pub(super) async fn challenge(
    State(context): State<Arc<ApiContext>>,
    Extension(browser): Extension<PageConnection>,
) -> Result<Json<ChallengeJson>, ApiError> {
    let request = timed_for(&browser, GetChallengeRequest {});
    let issued = context.registry.clone().get_challenge(request).await?.into_inner();
    Ok(Json(ChallengeJson { nonce: to_hex(&issued.nonce), unix_ms: issued.unix_ms }))
}
