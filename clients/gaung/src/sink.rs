//! Publishes messages to the relay by gRPC or by datagrams alone, with the same acknowledgements.

use std::{future::Future, pin::Pin};

use bytes::Bytes;
use gaung_client::{PublishError, Publisher, udp_only::UdpOnlyPublisher};
use gaung_proto::{Content, Seq};

/// Resolves to the seq of a message once it is durable.
pub(crate) type Ack = Pin<Box<dyn Future<Output = Result<Seq, PublishError>> + Send>>;

/// A publisher of either kind.
#[derive(Debug, Clone)]
pub(crate) enum Sink {
    /// Publishes to the relay by gRPC, many messages at a time.
    Relay(Publisher),
    /// Publishes by datagrams, one message at a time.
    UdpOnly(UdpOnlyPublisher),
}

impl Sink {
    /// Publishes a text message in the order of the calls; waits while too many are not acknowledged.
    ///
    /// # Errors
    /// [`PublishError`] if it was not accepted.
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
