//! Somebody who speaks to the relay without the project's client.

use gaung_proto::{
    GroupId,
    block::Message,
    pb::relay::{Entry, PublishRequest, ReadRequest, relay_service_client::RelayServiceClient},
    run::Run,
};
use tokio::runtime::Runtime;
use tonic::transport::Channel;

use crate::deployment::Up;

/// A client of the relay that publishes what it likes.
#[derive(Debug)]
pub struct Eve {
    runtime: Runtime,
    relay: RelayServiceClient<Channel>,
}

impl Eve {
    /// Connects to the relay, without TLS.
    ///
    /// # Panics
    /// If the relay cannot be reached.
    #[must_use]
    pub fn at(up: &Up) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let relay = runtime
            .block_on(RelayServiceClient::connect(format!("http://{}", up.address("relay"))))
            .expect("the relay");
        Self { runtime, relay }
    }

    /// Reads all messages of a group.
    ///
    /// # Panics
    /// If the relay refuses.
    pub fn read(&mut self, group: GroupId) -> Vec<Message> {
        let request = ReadRequest { group_id: group.into(), from_seq: 1, ..ReadRequest::default() };
        let runs = async {
            let mut runs = self.relay.read(request).await.expect("a read").into_inner();
            let mut messages = Vec::new();
            while let Some(response) = runs.message().await.expect("a run") {
                messages.extend(Run::parse(response.run).expect("a whole run").messages());
            }
            messages
        };
        self.runtime.block_on(runs)
    }

    /// Publishes a message as it is, with its client id and number.
    ///
    /// # Panics
    /// If the relay refuses.
    pub fn publish(&mut self, group: GroupId, message: &Message) {
        let entry = Entry {
            client_seq: message.client_seq.0,
            content_type: message.content_type.to_byte().into(),
            payload: message.payload.clone(),
        };
        let request = PublishRequest {
            group_id: group.into(),
            client_id: message.author.client.into(),
            device_id: message.author.device.into(),
            entries: vec![entry],
            ..PublishRequest::default()
        };
        let _ = self.runtime.block_on(self.relay.publish(request)).expect("a message that is taken");
    }
}
