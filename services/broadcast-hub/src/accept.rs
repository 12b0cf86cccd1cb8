//! Letting connections in and sharing them out over the shards.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

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
    hub::Hub,
    inbox::{Arrival, Port},
};

/// Which of the two ports a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Framed,
    Text,
}

/// Until accepting is tried again after the system refused, such as without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until stopped.
pub(crate) async fn run(
    hub: Arc<Hub>,
    listener: TcpListener,
    kind: Kind,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Err(error) = hand_over(&hub, stream, peer, kind, &stop) {
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
    hub: &Arc<Hub>,
    stream: TcpStream,
    peer: SocketAddr,
    kind: Kind,
    stop: &CancellationToken,
) -> io::Result<()> {
    match admit(hub, peer, kind) {
        Ok((admitted, port)) => {
            let (hub, stop, notice) = (hub.clone(), stop.clone(), admitted.notice());
            tokio::spawn(async move {
                tokio::select! {
                    () = hub.admission.wait(&stream, peer) => {}
                    () = stop.cancelled() => return,
                    () = notice.evicted() => {
                        hub.figures.evicted.inc();
                        return;
                    }
                }
                if let Ok(stream) = stream.into_std() {
                    hub.next_shard().arrive(Arrival { stream, address: peer.ip(), port, admitted });
                }
            });
            Ok(())
        }
        Err(refused) => {
            hub.figures.sessions_refused.inc();
            let stream = stream.into_std()?;
            let words = refusal(kind, refused);
            // A fresh socket takes a few bytes at once; if not, the peer sees the end alone.
            io::Write::write(&mut &stream, &words).map(|_| ())
        }
    }
}

fn admit(hub: &Hub, peer: SocketAddr, kind: Kind) -> Result<(Admitted, Port), Refused> {
    let admitted = hub.admission.admit(peer.ip())?;
    let port = match kind {
        Kind::Framed => Port::Framed(hub.admission.begin_handshake(peer.ip())?),
        Kind::Text => Port::Text,
    };
    Ok((admitted, port))
}

fn refusal(kind: Kind, refused: Refused) -> Bytes {
    match kind {
        Kind::Framed => dialect::refusal(&refused.to_string()),
        Kind::Text => format!("* {refused}\n").into(),
    }
}
