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

use super::serve::PageConnection;

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
    let is_secure = request.extensions().get::<PageConnection>().is_some_and(|connection| connection.is_secure);
    let mut response = match refusal(request.method(), request.headers(), is_secure, &advertise) {
        Some(refusal) => refusal.into_response(),
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refusal(
    method: &Method,
    headers: &HeaderMap,
    is_secure: bool,
    advertise: &str,
) -> Option<(StatusCode, &'static str)> {
    // An internet name that points to this machine is DNS rebinding: a site that would act in its visitor's name.
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(|host| is_local(host, advertise)) {
        let words = "open the page by this machine's address, or start the hub with --advertise and this name\n";
        return Some((StatusCode::MISDIRECTED_REQUEST, words));
    }
    let changes = *method != Method::GET && *method != Method::HEAD;
    if changes && headers.contains_key(ORIGIN) && !is_same_origin(headers, is_secure) {
        return Some((StatusCode::FORBIDDEN, "only the hub's own page may do that\n"));
    }
    None
}

/// Returns true if the page that made the request came from this hub, and as securely as the request.
pub(super) fn is_same_origin(headers: &HeaderMap, is_secure: bool) -> bool {
    let (Some(origin), Some(host)) = (headers.get(ORIGIN).and_then(text), headers.get(HOST).and_then(text)) else {
        return false;
    };
    let origin = origin.strip_prefix(if is_secure { "https://" } else { "http://" });
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

    fn headers(origin: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("10.0.0.1:7480"));
        headers.insert(ORIGIN, HeaderValue::from_static(origin));
        headers
    }

    #[test]
    fn another_origin_is_refused() {
        assert!(is_same_origin(&headers("http://10.0.0.1:7480"), false));
        for other in ["http://10.0.0.1", "http://10.0.0.1:7480.evil.example", "null", "ftp://10.0.0.1:7480"] {
            assert!(!is_same_origin(&headers(other), false), "{other}");
        }
        let mut without = headers("null");
        without.remove(ORIGIN);
        assert!(!is_same_origin(&without, false), "a browser sends its origin");
        let evil = headers("http://evil.example");
        assert_eq!(refusal(&Method::POST, &evil, false, "").unwrap().0, StatusCode::FORBIDDEN);
        assert_eq!(refusal(&Method::GET, &evil, false, ""), None);
    }

    #[test]
    fn a_page_that_came_without_tls_is_another_origin() {
        let (http, https) = (headers("http://10.0.0.1:7480"), headers("https://10.0.0.1:7480"));
        assert!(is_same_origin(&https, true));
        assert!(!is_same_origin(&http, true));
        assert!(!is_same_origin(&https, false));
        assert_eq!(refusal(&Method::POST, &http, true, "").unwrap().0, StatusCode::FORBIDDEN);
    }
}
