//! The hub's side of the registry, which may come and go: registering, watching groups and relays, looking groups up.

mod everyone;
mod group_verifier;
mod group_watch;
mod lookup;
mod registration;

pub(crate) use self::{
    everyone::follow_everyone,
    group_verifier::GroupVerifier,
    group_watch::watch_groups,
    lookup::{GroupLookups, LookupRoute},
    registration::{AdvertisedPorts, Registration},
};

use std::time::Duration;

use bytes::Bytes;
use gaung_net::backoff::Backoff;
use gaung_proto::pb::registry::{Viewer, registry_service_client::RegistryServiceClient};
use service_kit::rpc::MAX_MESSAGE_BYTES;
use tokio::time::timeout;
use tonic::{Response, Status, transport::Channel};

/// A client of the registry; clones share its connection.
pub(crate) type RegistryClient = RegistryServiceClient<Channel>;

/// Limit of one call, after which the registry counts as away.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// Makes the client of the registry behind `channel`.
pub(crate) fn client(channel: Channel) -> RegistryClient {
    RegistryServiceClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// Returns the viewer that holds `ticket`, who may see the group that it is for; `None` without a ticket.
pub(crate) fn ticket_viewer(ticket: Bytes) -> Option<Viewer> {
    (!ticket.is_empty()).then(|| Viewer { ticket, ..Viewer::default() })
}

/// The backoff between attempts to reach a registry that is away.
fn backoff() -> Backoff {
    Backoff::between(Duration::from_millis(50), Duration::from_secs(1))
}

async fn within_limit<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
    match timeout(CALL_LIMIT, call).await {
        Ok(answer) => answer.map(Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("no answer within 5 s")),
    }
}
