//! Where connections become sessions.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use tokio::net::TcpStream;

use crate::{
    admission::{Admission, Admitted, Handshake, Refused},
    inbox::{Inboxes, NewConnection},
    metrics::Figures,
    session_core::EndReason,
};

/// Admits connections of all ports or refuses them, and hands them to the shards. Clones share the limits.
#[derive(Debug, Clone)]
pub(crate) struct SessionEntry {
    admission: Arc<Admission>,
    inboxes: Inboxes,
    figures: Figures,
}

impl SessionEntry {
    pub(crate) const fn new(admission: Arc<Admission>, inboxes: Inboxes, figures: Figures) -> Self {
        Self { admission, inboxes, figures }
    }

    /// Admits a connection from `address`, or counts it as refused.
    pub(crate) fn admit(&self, address: IpAddr) -> Result<Admitted, Refused> {
        self.admission.admit(address).inspect_err(|_| self.count_refused())
    }

    /// Admits a connection to the sessions that have not said hello, or counts it as refused.
    pub(crate) fn begin_handshake(&self, address: IpAddr) -> Result<Handshake, Refused> {
        self.admission.begin_handshake(address).inspect_err(|_| self.count_refused())
    }

    /// Waits until it is the turn of the connection's address, which sets up many new connections at a pace.
    pub(crate) async fn wait_turn(&self, stream: &TcpStream, peer: SocketAddr) {
        self.admission.wait(stream, peer).await;
    }

    /// Counts a connection that ended before it was a session.
    pub(crate) fn count_end(&self, reason: &EndReason) {
        if let Some(counter) = reason.counter(&self.figures) {
            counter.inc();
        }
    }

    /// Counts a connection that spoke plaintext where it has to speak TLS.
    pub(crate) fn count_plaintext_refused(&self) {
        self.figures.plaintext_refused.inc();
    }

    /// Counts a connection that ended before or in its TLS handshake.
    pub(crate) fn count_handshake_failed(&self) {
        self.figures.handshakes_failed.inc();
    }

    /// Hands an admitted connection to the next shard in turn.
    pub(crate) fn hand_over(&self, connection: NewConnection) {
        self.inboxes.hand_over(connection);
    }

    fn count_refused(&self) {
        self.figures.sessions_refused.inc();
    }
}
