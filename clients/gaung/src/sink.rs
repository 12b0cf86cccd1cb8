//! Where messages go: to the relay by gRPC, or by datagrams alone; acknowledged alike.

use std::{future::Future, pin::Pin};

use bytes::Bytes;
use gaung_client::{PublishError, Publisher, udp_only::UdpOnlyPublisher};
use gaung_proto::{Content, Seq};

/// The seq of a message once it is durable.
pub(crate) type Ack = Pin<Box<dyn Future<Output = Result<Seq, PublishError>> + Send>>;

/// A place to publish.
#[derive(Debug, Clone)]
pub(crate) enum Sink {
    /// Pipelined.
    Relay(Publisher),
    /// One message after the other.
    UdpOnly(UdpOnlyPublisher),
}

impl Sink {
    /// Takes one plain message in the order of the calls; waits while too much is unacknowledged.
    ///
    /// # Errors
    /// [`PublishError`] if it was not taken.
    pub(crate) async fn publish(&self, body: Bytes) -> Result<Ack, PublishError> {
        let content = Content::text("", body);
        match self {
            Self::Relay(publisher) => {
                let ack = publisher.publish(content).await?;
                Ok(Box::pin(ack))
            }
            Self::UdpOnly(publisher) => {
                let seq = publisher.publish(content).await?;
                Ok(Box::pin(std::future::ready(Ok(seq))))
            }
        }
    }
}
