//! What the page should know of its hub, and how a phone comes to it.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::{
        HeaderMap,
        header::{CONTENT_TYPE, HOST},
    },
    response::{IntoResponse as _, Response},
};
use gaung_net::interface::{choose, interfaces};
use qrcode::{EcLevel, QrCode, render::svg};
use serde::{Deserialize, Serialize};

use super::{
    super::context::{ApiContext, PageAddress},
    error::ApiError,
};

/// Longest text of a QR code; a URL with an invite fits.
const MAX_QR_TEXT: usize = 256;
/// Pixels of a QR code's side, at least.
const QR_SIDE: u32 = 240;

#[derive(Serialize)]
pub(super) struct About {
    version: &'static str,
    /// Empty until the registry was reached.
    everyone: String,
    /// How others reach this page; the best one first.
    urls: Vec<String>,
}

/// Answers with the hub's version, `everyone` and addresses.
pub(super) async fn about(State(context): State<Arc<ApiContext>>, headers: HeaderMap) -> Json<About> {
    let asked = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    Json(About {
        version: env!("CARGO_PKG_VERSION"),
        everyone: context.directory.everyone().map(|everyone| everyone.id.to_string()).unwrap_or_default(),
        urls: urls(&context.address, asked),
    })
}

/// The address that the browser came by is right for others too, unless it means the browser's own machine.
fn urls(address: &PageAddress, asked: &str) -> Vec<String> {
    let (host, port) = asked.rsplit_once(':').unwrap_or((asked, "80"));
    let url = |host: &str| format!("http://{host}:{port}/");
    let PageAddress { advertise, listens_on, interface } = address;
    if !advertise.is_empty() {
        return vec![url(advertise)];
    }
    let own = host == "localhost" || host == "[::1]" || host.starts_with("127.");
    if !own {
        return vec![format!("http://{asked}/")];
    }
    let is_everywhere = listens_on.is_some_and(|ip| ip.is_unspecified());
    let chosen = interfaces().ok().and_then(|all| choose(&all, interface.as_deref()).ok());
    let others = chosen.map(|chosen| chosen.links).unwrap_or_default();
    let others = others.iter().filter(|link| is_everywhere && !link.ip.is_loopback());
    let mut urls: Vec<String> = others.map(|link| url(&link.ip.to_string())).collect();
    if urls.is_empty() {
        urls.push(format!("http://{asked}/"));
    }
    urls
}

#[derive(Deserialize)]
pub(super) struct QrQuery {
    text: String,
}

/// A QR code as SVG, black on white.
pub(super) async fn qr_code(query: Result<Query<QrQuery>, QueryRejection>) -> Result<Response, ApiError> {
    let Query(QrQuery { text }) = query?;
    if text.is_empty() || text.len() > MAX_QR_TEXT {
        return Err(ApiError::invalid(format!("a QR code is made of 1 to {MAX_QR_TEXT} bytes")));
    }
    let code = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::M)
        .map_err(|error| ApiError::invalid(format!("no QR code can be made of that: {error}")))?;
    let image = code.render::<svg::Color<'_>>().min_dimensions(QR_SIDE, QR_SIDE).build();
    Ok(([(CONTENT_TYPE, "image/svg+xml")], image).into_response())
}
