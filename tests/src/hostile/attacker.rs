//! What the hostile host has: the server's address, its network, and clients of every service.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use gaung_proto::{
    Content, Kind, RelayId,
    pb::{
        registry::{
            Group, ListGroupsRequest, ListServicesRequest, ServiceKind, registry_service_client::RegistryServiceClient,
        },
        relay::{Entry, PublishRequest, relay_service_client::RelayServiceClient},
    },
    ports,
};
use gaung_site::Role;
use tokio::{runtime::Runtime, time::sleep};
use tonic::transport::{Channel, Endpoint};

/// What an attack may use. It runs in the hostile host's network, and ends soon after [`Attacker::goes_on`] says so.
#[derive(Debug, Clone)]
pub struct Attacker {
    server: Ipv4Addr,
    stopped: Arc<AtomicBool>,
}

/// Ends the attack when dropped, also when honest people failed, so that the test ends.
#[derive(Debug)]
pub(super) struct StopAttack(Arc<AtomicBool>);

impl Drop for StopAttack {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Attacker {
    pub(super) fn new(server: Ipv4Addr) -> (Self, StopAttack) {
        let stopped = Arc::new(AtomicBool::new(false));
        (Self { server, stopped: Arc::clone(&stopped) }, StopAttack(stopped))
    }

    /// Whether the attack should last longer.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        !self.stopped.load(Ordering::Relaxed)
    }

    /// Where the server is.
    #[must_use]
    pub const fn server(&self) -> Ipv4Addr {
        self.server
    }

    /// A port of the server.
    #[must_use]
    pub fn at(&self, port: u16) -> SocketAddr {
        (self.server, port).into()
    }

    /// Runs an attack that awaits, on this thread. What it has opened lasts until the attack's time is over.
    ///
    /// # Panics
    /// If there is no runtime to be had.
    pub fn run(&self, attack: impl AsyncFnOnce()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime: Runtime = runtime.expect("a runtime");
        runtime.block_on(attack());
    }

    /// Waits until the attack's time is over, holding what is open.
    pub async fn hold(&self) {
        while self.goes_on() {
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// A connection to the registry, with a limit on how long an answer may take.
    #[must_use]
    pub fn registry(&self) -> RegistryServiceClient<Channel> {
        RegistryServiceClient::new(self.endpoint(ports::REGISTRY).connect_lazy())
    }

    /// A connection to the relay that takes at most `window` bytes of answers which nobody reads.
    #[must_use]
    pub fn relay(&self, window: u32) -> RelayServiceClient<Channel> {
        let endpoint = self.endpoint(ports::RELAY).initial_stream_window_size(window);
        RelayServiceClient::new(endpoint.connect_lazy()).max_decoding_message_size(usize::MAX)
    }

    /// A public group, by its name.
    ///
    /// # Panics
    /// If the registry does not tell of it.
    pub async fn group(&self, name: &str) -> Group {
        let request = ListGroupsRequest { page_size: 1000, ..Default::default() };
        let groups = self.registry().list_groups(request).await.expect("the registry answers").into_inner().groups;
        groups.into_iter().find(|group| group.name == name).expect("the group is listed")
    }

    /// The gRPC ports of registry, relay and hub, with the roles that they prove by TLS.
    ///
    /// # Panics
    /// If the registry does not list both.
    pub async fn services(&self) -> [(u16, Role); 3] {
        let listed = self.registry().list_services(ListServicesRequest {}).await.expect("the registry answers");
        let listed = listed.into_inner().services;
        let id = |kind: ServiceKind| {
            let service = listed.iter().find(|service| service.kind() == kind).expect("the service is listed");
            RelayId::try_from(&service.service_id[..]).expect("a service's id has 16 bytes")
        };
        [
            (ports::REGISTRY, Role::Registry),
            (ports::RELAY, Role::Relay(id(ServiceKind::Relay))),
            (ports::HUB, Role::Hub(id(ServiceKind::Hub))),
        ]
    }

    fn endpoint(&self, port: u16) -> Endpoint {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.at(port))).expect("an address is a target");
        endpoint.timeout(Duration::from_secs(5))
    }
}

/// A request that publishes a short text as one client, with each of `seqs`.
#[must_use]
pub fn publish(group: &Group, client: [u8; 16], seqs: &[u64]) -> PublishRequest {
    let content = Content { author_name: "eve".to_owned(), kind: Kind::Text(Bytes::from_static(b"hai")) };
    let (content_type, payload) = content.encode();
    let entry =
        |&client_seq| Entry { client_seq, content_type: content_type.to_byte().into(), payload: payload.clone() };
    PublishRequest {
        group_id: group.id.clone(),
        client_id: client.to_vec().into(),
        device_id: vec![0; 16].into(),
        entries: seqs.iter().map(entry).collect(),
        ..Default::default()
    }
}
