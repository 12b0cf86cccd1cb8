//! The site's root, which people install so that their browsers know the page.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE},
    },
    response::{IntoResponse as _, Response},
};
use service_kit::secure::ServiceCredentials;
use sha2::{Digest as _, Sha256};

/// What the page tells of its site. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct PageSite(Arc<SiteFacts>);

#[derive(Debug)]
struct SiteFacts {
    code: String,
    /// The root in DER.
    root: Vec<u8>,
}

impl PageSite {
    pub(crate) fn of(credentials: &ServiceCredentials) -> Self {
        Self(Arc::new(SiteFacts { code: credentials.site().code().to_string(), root: credentials.root().to_vec() }))
    }

    /// Returns the site's code, which `gaung up` prints too.
    pub(super) fn code(&self) -> &str {
        &self.0.code
    }

    /// Returns the SHA-256 of the root as systems show it before they install a certificate.
    pub(super) fn fingerprint(&self) -> String {
        let bytes: Vec<String> = Sha256::digest(&self.0.root).iter().map(|byte| format!("{byte:02X}")).collect();
        bytes.join(":")
    }
}

/// Answers with the root. Its content type makes phones offer to install it.
pub(super) async fn root(State(site): State<Option<PageSite>>) -> Response {
    let Some(site) = site else {
        return (StatusCode::NOT_FOUND, "this hub has no certificate and speaks no HTTPS\n").into_response();
    };
    let headers = [
        (CONTENT_TYPE, "application/x-x509-ca-cert".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"gaung-{}.crt\"", site.code())),
        (CACHE_CONTROL, "no-cache".to_owned()),
    ];
    (headers, site.0.root.clone()).into_response()
}
