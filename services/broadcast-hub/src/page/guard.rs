//! The checks of every request to the page, and the security headers of every response.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
        header::{CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS},
    },
    middleware::Next,
    response::{IntoResponse as _, Response},
};

/// The Content-Security-Policy: everything is loaded from this hub, and nothing inline runs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Suffixes of host names on a local network (RFC 6762, RFC 8375, and what routers assign).
const LOCAL_ENDINGS: [&str; 7] = [".localhost", ".local", ".lan", ".home", ".home.arpa", ".internal", ".test"];

/// Refuses requests that another site made a browser send, and adds the security headers to the response.
pub(super) async fn check(State(advertise): State<Arc<str>>, request: Request, next: Next) -> Response {
    let mut response = match refusal(request.method(), request.headers(), &advertise) {
        Some(refusal) => refusal.into_response(),
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refusal(method: &Method, headers: &HeaderMap, advertise: &str) -> Option<(StatusCode, &'static str)> {
    // An internet name that points to this machine is DNS rebinding: a site that would act in its visitor's name.
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(|host| is_local(host, advertise)) {
        let words = "open the page by this machine's address, or start the hub with --advertise and this name\n";
        return Some((StatusCode::MISDIRECTED_REQUEST, words));
    }
    let changes = *method != Method::GET && *method != Method::HEAD;
    let origin = headers.get(ORIGIN);
    if changes && origin.is_some() && !is_same_origin(origin, headers.get(HOST)) {
        return Some((StatusCode::FORBIDDEN, "only the hub's own page may do that\n"));
    }
    None
}

/// Returns true if the page that made the request came from this hub.
pub(super) fn is_same_origin(origin: Option<&HeaderValue>, host: Option<&HeaderValue>) -> bool {
    let (Some(origin), Some(host)) = (origin.and_then(text), host.and_then(text)) else { return false };
    let origin = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host))
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

fn is_local(host: &str, advertise: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    !name.is_empty()
        && (name.parse::<IpAddr>().is_ok()
            || !name.contains('.')
            || name == advertise.to_ascii_lowercase()
            || LOCAL_ENDINGS.iter().any(|ending| name.ends_with(ending)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_host_names_of_the_local_network_are_accepted() {
        for host in
            ["192.168.1.10:7480", "[fd00::1]:7480", "localhost:1", "laptop", "laptop.local:7480", "chat.example:80"]
        {
            assert!(is_local(host, "chat.example"), "{host}");
        }
        for host in ["evil.example:7480", "", ":7480", "192.168.1.10.evil.example", "local.evil.example"] {
            assert!(!is_local(host, "chat.example"), "{host}");
        }
    }

    #[test]
    fn another_origin_is_refused() {
        let value = |text: &'static str| Some(HeaderValue::from_static(text));
        let same = |origin: Option<HeaderValue>| is_same_origin(origin.as_ref(), value("10.0.0.1:7480").as_ref());
        assert!(same(value("http://10.0.0.1:7480")));
        for other in ["http://10.0.0.1", "http://10.0.0.1:7480.evil.example", "null", "ftp://10.0.0.1:7480"] {
            assert!(!same(value(other)), "{other}");
        }
        assert!(!same(None), "a browser sends its origin");
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("10.0.0.1:7480"));
        headers.insert(ORIGIN, HeaderValue::from_static("http://evil.example"));
        assert_eq!(refusal(&Method::POST, &headers, "").unwrap().0, StatusCode::FORBIDDEN);
        assert_eq!(refusal(&Method::GET, &headers, ""), None);
    }
}
