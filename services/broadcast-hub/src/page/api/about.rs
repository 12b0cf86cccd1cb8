//! The hub's version and addresses, and QR codes by which a phone opens the page.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Extension, Query, State, rejection::QueryRejection},
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
    super::{
        context::{ApiContext, PageAddress},
        serve::PageConnection,
    },
    error::ApiError,
};

/// Longest text of a QR code, in bytes; a URL with an invite fits.
const MAX_QR_TEXT: usize = 256;
/// Least length of a QR code's side, in pixels.
const QR_SIDE: u32 = 240;

/// What the page is told of its hub.
#[derive(Serialize)]
pub(super) struct AboutJson {
    version: &'static str,
    /// The id of `everyone`; empty until the registry was reached.
    everyone: String,
    /// The URLs by which others reach this page, the best one first.
    urls: Vec<String>,
    /// The site that HTTPS proves; `None` if there is no HTTPS.
    site: Option<SiteJson>,
}

/// How people recognise a site.
#[derive(Serialize)]
struct SiteJson {
    code: String,
    /// SHA-256 of the root certificate.
    fingerprint: String,
}

/// Answers with the hub's version, the id of `everyone`, the page's URLs and its site.
pub(super) async fn about(
    State(context): State<Arc<ApiContext>>,
    Extension(connection): Extension<PageConnection>,
    headers: HeaderMap,
) -> Json<AboutJson> {
    let requested = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    Json(AboutJson {
        version: env!("CARGO_PKG_VERSION"),
        everyone: context.directory.everyone().map(|everyone| everyone.id.to_string()).unwrap_or_default(),
        urls: urls(&context.address, requested, connection.is_secure),
        site: context
            .site
            .as_ref()
            .map(|site| SiteJson { code: site.code().to_owned(), fingerprint: site.fingerprint() }),
    })
}

/// Lists the page's URLs. The host that the browser requested works for others too, unless it is a loopback address.
///
/// `is_secure`: whether it requested the page by HTTPS, by which others get it then too.
fn urls(address: &PageAddress, requested: &str, is_secure: bool) -> Vec<String> {
    let (scheme, default_port) = if is_secure { ("https", "443") } else { ("http", "80") };
    let (host, port) = requested.rsplit_once(':').unwrap_or((requested, default_port));
    let url = |host: &str| format!("{scheme}://{host}:{port}/");
    let PageAddress { advertise, listens_on, interface } = address;
    if !advertise.is_empty() {
        return vec![url(advertise)];
    }
    let is_loopback = host == "localhost" || host == "[::1]" || host.starts_with("127.");
    if !is_loopback {
        return vec![format!("{scheme}://{requested}/")];
    }
    let is_everywhere = listens_on.is_some_and(|ip| ip.is_unspecified());
    let chosen = interfaces().ok().and_then(|all| choose(&all, interface.as_deref()).ok());
    let others = chosen.map(|chosen| chosen.links).unwrap_or_default();
    let others = others.iter().filter(|link| is_everywhere && !link.ip.is_loopback());
    let mut urls: Vec<String> = others.map(|link| url(&link.ip.to_string())).collect();
    if urls.is_empty() {
        urls.push(format!("{scheme}://{requested}/"));
    }
    urls
}

#[derive(Deserialize)]
pub(super) struct QrQuery {
    text: String,
}

/// Answers with a QR code as SVG, black on white.
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
