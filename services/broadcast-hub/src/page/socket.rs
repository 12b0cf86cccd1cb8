//! Opening a WebSocket: checks the request, then hands the bare socket to a shard as a session.

use axum::{
    extract::{Extension, Request, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
    },
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use rustls::ServerConnection;
use service_kit::watched::WatchedStream;
use tracing::debug;
use tungstenite::handshake::derive_accept_key;

use crate::{
    admission::{Admitted, Handshake},
    inbox::{NewConnection, SessionPort},
    session_entry::SessionEntry,
};

use super::{guard::is_same_origin, serve::PageConnection};

/// Answers a request to open a WebSocket; the connection becomes a session.
pub(super) async fn open(
    State(entry): State<SessionEntry>,
    Extension(connection): Extension<PageConnection>,
    mut request: Request,
) -> Response {
    let accept = match accept_key(request.headers(), connection.is_secure) {
        Ok(accept) => accept,
        Err(refused) => return refused.into_response(),
    };
    let handshake = match entry.begin_handshake(connection.address) {
        Ok(handshake) => handshake,
        Err(refused) => return (StatusCode::SERVICE_UNAVAILABLE, format!("{refused}\n")).into_response(),
    };
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let (Some(upgrade), Some(admitted)) = (upgrade, connection.take_admission()) else {
        return (StatusCode::UPGRADE_REQUIRED, "this connection cannot become a WebSocket\n").into_response();
    };
    tokio::spawn(hand_over(entry, upgrade, connection, admitted, handshake));
    let headers = [(UPGRADE, HeaderValue::from_static("websocket")), (CONNECTION, HeaderValue::from_static("upgrade"))];
    (StatusCode::SWITCHING_PROTOCOLS, headers, [(SEC_WEBSOCKET_ACCEPT, accept)]).into_response()
}

type UpgradeRefused = (StatusCode, &'static str);

/// Checks the request and derives its Sec-WebSocket-Accept (RFC 6455, section 4.2).
fn accept_key(headers: &HeaderMap, is_secure: bool) -> Result<String, UpgradeRefused> {
    let is = |name, word: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
    };
    if !is(UPGRADE, "websocket") || !is(CONNECTION, "upgrade") || !is(SEC_WEBSOCKET_VERSION, "13") {
        return Err((StatusCode::UPGRADE_REQUIRED, "this address is for WebSockets, version 13\n"));
    }
    if !is_same_origin(headers, is_secure) {
        return Err((StatusCode::FORBIDDEN, "only the hub's own page may open a session\n"));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or((StatusCode::BAD_REQUEST, "the key is missing\n"))?;
    Ok(derive_accept_key(key.as_bytes()))
}

async fn hand_over(
    entry: SessionEntry,
    upgrade: OnUpgrade,
    connection: PageConnection,
    admitted: Admitted,
    handshake: Handshake,
) {
    let (stream, tls, early) = match bare_socket(upgrade).await {
        Ok(bare) => bare,
        Err(error) => return debug!(%error, "a WebSocket was not opened"),
    };
    let PageConnection { address, peer, is_exposed, .. } = connection;
    let port = SessionPort::Web { handshake, early, is_exposed };
    entry.hand_over(NewConnection { stream, tls, address, peer, port, admitted });
}

/// A connection without hyper around it: the socket, the state of TLS, and the bytes that hyper had read ahead.
type BareConnection = (std::net::TcpStream, Option<Box<ServerConnection>>, Bytes);

async fn bare_socket(upgrade: OnUpgrade) -> anyhow::Result<BareConnection> {
    let parts = upgrade.await?.downcast::<TokioIo<WatchedStream>>();
    let parts = parts.map_err(|_| anyhow::anyhow!("the connection is of another kind"))?;
    let (socket, tls) = parts.io.into_inner().into_inner().into_parts();
    Ok((socket.into_std()?, tls, parts.read_buf))
}
