//! Accepts connections on the framed and the text port and hands them to the shards.

use std::{io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    admission::{Admitted, Refused},
    dialect,
    inbox::{NewConnection, SessionPort},
    session_entry::SessionEntry,
};

/// The port that a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListenerKind {
    Framed,
    Text,
}

/// Delay before accepting again after the system refused, such as without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
            Ok((stream, peer)) => {
                if let Err(error) = hand_over(&entry, stream, peer, kind, &stop) {
                    debug!(%peer, %error, "a connection ended at once");
                }
            }
            Err(error) => {
                warn!(%error, "a connection cannot be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn hand_over(
    entry: &SessionEntry,
    stream: TcpStream,
    peer: SocketAddr,
    kind: ListenerKind,
    stop: &CancellationToken,
) -> io::Result<()> {
    match admit(entry, peer, kind) {
        Ok((admitted, port)) => {
            let (entry, stop, notice) = (entry.clone(), stop.clone(), admitted.notice());
            tokio::spawn(async move {
                tokio::select! {
                    () = entry.wait_turn(&stream, peer) => {}
                    () = stop.cancelled() => return,
                    () = notice.evicted() => {
                        entry.count_evicted();
                        return;
                    }
                }
                if let Ok(stream) = stream.into_std() {
                    entry.hand_over(NewConnection { stream, address: peer.ip(), port, admitted });
                }
            });
            Ok(())
        }
        Err(refused) => {
            let stream = stream.into_std()?;
            let words = refusal(kind, refused);
            // A new socket has room for a few bytes; if not, the peer only sees the connection end.
            io::Write::write(&mut &stream, &words).map(|_| ())
        }
    }
}

fn admit(entry: &SessionEntry, peer: SocketAddr, kind: ListenerKind) -> Result<(Admitted, SessionPort), Refused> {
    let admitted = entry.admit(peer.ip())?;
    let port = match kind {
        ListenerKind::Framed => SessionPort::Framed(entry.begin_handshake(peer.ip())?),
        ListenerKind::Text => SessionPort::Text,
    };
    Ok((admitted, port))
}

fn refusal(kind: ListenerKind, refused: Refused) -> Bytes {
    match kind {
        ListenerKind::Framed => dialect::refusal(&refused.to_string()),
        ListenerKind::Text => format!("* {refused}\n").into(),
    }
}
