//! Accepts connections on the framed and the text port and hands them to the shards.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use gaung_site::PeerIdentity;
use service_kit::secure::{AcceptError, Accepted, SecurePort, SecureStream};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    admission::{Admitted, Refused},
    dialect,
    goodbye::say_goodbye,
    inbox::{NewConnection, SessionPort},
    session_core::EndReason,
    session_entry::SessionEntry,
};

/// The port that a listener serves.
#[derive(Debug, Clone)]
pub(crate) enum ListenerKind {
    /// Framed sessions, by TLS or in plaintext.
    Framed {
        secure: SecurePort,
        /// How long a connection may send nothing.
        hello: Duration,
    },
    /// Text sessions, always in plaintext.
    Text,
}

/// A connection that has its place and is no session yet.
struct Newcomer {
    entry: SessionEntry,
    peer: SocketAddr,
    port: SessionPort,
    admitted: Admitted,
    stop: CancellationToken,
}

/// Delay before accepting again after the system refused, such as without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The answer to a peer whose plaintext is forbidden.
const ONLY_TLS: &str = "this hub speaks only TLS; use a newer client, or start the hub with --plaintext any";

/// Accepts connections until `stop`.
pub(crate) async fn run(
    entry: SessionEntry,
    listener: TcpListener,
    kind: ListenerKind,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match admit(&entry, peer, &kind) {
                Ok((admitted, port)) => {
                    let newcomer = Newcomer { entry: entry.clone(), peer, port, admitted, stop: stop.clone() };
                    tokio::spawn(newcomer.begin(stream, kind.clone()));
                }
                Err(refused) => say_at_once(stream, &kind.goodbye(&refused.to_string(), false)),
            },
            Err(error) => {
                warn!(%error, "a connection cannot be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(entry: &SessionEntry, peer: SocketAddr, kind: &ListenerKind) -> Result<(Admitted, SessionPort), Refused> {
    let admitted = entry.admit(peer.ip())?;
    let port = match kind {
        ListenerKind::Framed { .. } => SessionPort::Framed(entry.begin_handshake(peer.ip())?),
        ListenerKind::Text => SessionPort::Text,
    };
    Ok((admitted, port))
}

impl Newcomer {
    /// Waits for the connection's turn and, on the framed port, for what it speaks; then hands it over.
    async fn begin(self, stream: TcpStream, kind: ListenerKind) {
        if let Err(reason) = self.until_due(self.may_begin(&stream, &kind)).await {
            self.entry.count_end(&reason);
            return say_at_once(stream, &kind.goodbye(&reason.to_string(), reason.is_final()));
        }
        let accepted = match &kind {
            ListenerKind::Text => Ok(Accepted { stream: SecureStream::Plain(stream), peer: PeerIdentity::Unproven }),
            ListenerKind::Framed { secure, .. } => {
                let accepting = async { Ok(secure.accept(stream, self.peer).await) };
                match self.until_due(accepting).await {
                    Ok(accepted) => accepted,
                    // In the middle of a handshake nothing can be said.
                    Err(reason) => return self.entry.count_end(&reason),
                }
            }
        };
        match accepted {
            Ok(accepted) => self.hand_over(accepted),
            Err(AcceptError::Plaintext(stream)) => {
                self.entry.count_plaintext_refused();
                debug!(peer = %self.peer, "plaintext refused");
                say_goodbye(stream, &kind.goodbye(ONLY_TLS, true)).await;
            }
            Err(error) => {
                self.entry.count_handshake_failed();
                debug!(peer = %self.peer, %error, "a connection did not begin");
            }
        }
    }

    /// Waits until the connection may be set up: until it is its address's turn, and its first byte has come if it has to speak
    /// first.
    async fn may_begin(&self, stream: &TcpStream, kind: &ListenerKind) -> Result<(), EndReason> {
        self.entry.wait_turn(stream, self.peer).await;
        match kind {
            ListenerKind::Text => Ok(()),
            // An error is the next read's too.
            ListenerKind::Framed { hello, .. } => {
                timeout(*hello, stream.peek(&mut [0])).await.map(drop).map_err(|_| EndReason::NoHello)
            }
        }
    }

    /// Does a step unless the hub stops or the connection's place is evicted.
    async fn until_due<T>(&self, step: impl Future<Output = Result<T, EndReason>>) -> Result<T, EndReason> {
        tokio::select! {
            done = step => done,
            () = self.stop.cancelled() => Err(EndReason::HubStopping),
            () = self.admitted.evicted() => Err(EndReason::Evicted),
            () = self.port.evicted() => Err(EndReason::HandshakeEvicted),
        }
    }

    fn hand_over(self, accepted: Accepted) {
        let Accepted { stream, peer } = accepted;
        let (stream, tls) = stream.into_parts();
        if let Ok(stream) = stream.into_std() {
            let (address, port, admitted) = (self.peer.ip(), self.port, self.admitted);
            self.entry.hand_over(NewConnection { stream, tls, address, peer, port, admitted });
        }
    }
}

impl ListenerKind {
    /// Encodes why a connection ends that is no session. `is_final`: it would end again if the peer came back.
    fn goodbye(&self, reason: &str, is_final: bool) -> Bytes {
        match self {
            Self::Framed { .. } => dialect::goodbye(reason, is_final),
            Self::Text => format!("* {reason}\n").into(),
        }
    }
}

/// Says why a connection ends from which nothing was read.
fn say_at_once(stream: TcpStream, words: &[u8]) {
    // A new socket has room for a few bytes; if not, the peer only sees the connection end.
    let _ = stream.try_write(words);
}
