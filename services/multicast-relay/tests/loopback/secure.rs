//! What callers of a relay have to prove.

use gaung_proto::{
    DeviceId, Epoch, RelayId, SenderId,
    body::Publish,
    datagram::PacketType,
    pb::relay::{GetLogRequest, PublishRequest, ReadRequest, relay_service_client::RelayServiceClient},
    run::Run,
};
use gaung_site::{Role, SiteAuthority};
use multicast_relay::{Config, LogKind, bind};
use rustls::pki_types::UnixTime;
use service_kit::{
    rpc::ServiceEndpoint,
    secure::{PlaintextPolicy, ServiceCredentials},
};
use tonic::Code;

use crate::{
    datagrams::{cookie, datagram},
    support::{
        GroupKind, RegistryDouble, TestRelay, config, entry, eventually, join, publish, read, receive_type, request,
        text, unicast,
    },
};

const DEVICE: DeviceId = DeviceId([7; 16]);
const HUB: Role = Role::Hub(RelayId([8; 16]));

fn issue(site: &SiteAuthority, role: Role) -> ServiceCredentials {
    ServiceCredentials::issue(site, role, &[], UnixTime::now()).unwrap()
}

async fn start(site: &SiteAuthority, plaintext: PlaintextPolicy, registry: &RegistryDouble) -> (Role, TestRelay) {
    let config = Config { plaintext, log: LogKind::Memory, ..config(registry) };
    let bound = bind(config).await.unwrap();
    let role = Role::Relay(bound.id());
    (role, TestRelay::run(bound.with_credentials(issue(site, role))).await)
}

#[tokio::test]
async fn only_hubs_of_the_site_follow_a_relay() {
    let (site, registry) = (SiteAuthority::create().unwrap(), RegistryDouble::start().await);
    let (role, relay) = start(&site, PlaintextPolicy::Never, &registry).await;
    let follow = async |caller: ServiceCredentials| {
        let endpoint = ServiceEndpoint::new(&relay.grpc.to_string(), role, Some(&caller)).unwrap();
        let mut client = RelayServiceClient::new(endpoint.connect_lazy());
        client.follow(tokio_stream::empty()).await.map(drop).map_err(|status| status.code())
    };
    assert_eq!(follow(issue(&site, HUB)).await, Ok(()));
    for other in [Role::Registry, role] {
        assert_eq!(follow(issue(&site, other)).await, Err(Code::PermissionDenied), "{other}");
    }
    let stranger = issue(&SiteAuthority::create().unwrap(), HUB);
    assert_eq!(follow(stranger).await, Err(Code::Unavailable), "a hub of another site does not even call");
    let by_plaintext = relay.client().await.follow(tokio_stream::empty()).await.unwrap_err();
    assert_eq!(by_plaintext.code(), Code::Unauthenticated);
    relay.stop().await;
}

#[tokio::test]
async fn who_proves_nothing_follows_only_where_anyone_may_speak_plaintext() {
    let site = SiteAuthority::create().unwrap();
    for (policy, expected) in [(PlaintextPolicy::Loopback, Some(Code::PermissionDenied)), (PlaintextPolicy::Any, None)]
    {
        let registry = RegistryDouble::start().await;
        let (_, relay) = start(&site, policy, &registry).await;
        let followed = relay.client().await.follow(tokio_stream::empty()).await;
        assert_eq!(followed.map_err(|status| status.code()).err(), expected, "{policy}");
        relay.stop().await;
    }
}

#[tokio::test]
async fn a_log_names_no_device_that_was_not_proven() {
    for (policy, device) in [(PlaintextPolicy::Loopback, DeviceId::NONE), (PlaintextPolicy::Any, DEVICE)] {
        let registry = RegistryDouble::start().await;
        let relay = TestRelay::start(Config { plaintext: policy, ..config(&registry) }).await;
        let (group, addr) = registry.create("class", GroupKind::Proto).await;
        let mut client = relay.client().await;
        let by_call = PublishRequest { device_id: DEVICE.into(), ..request(group, 1, vec![entry(1, "by call")]) };
        publish(&mut client, by_call).await;
        let (heartbeat, _, from) = receive_type(&join(addr), PacketType::Heartbeat).await;
        let (own, payload) = (unicast(), text("by datagram"));
        let sender = SenderId([4; 16]);
        let cookie = cookie(&own, &relay, heartbeat.tag, sender).await;
        let said = Publish { sender, cookie, device: DEVICE, content_type: 1, payload: &payload };
        let said = datagram(PacketType::Publish, heartbeat.tag, Epoch(0), 1, |out| said.write(out));
        own.send_to(&said, from).await.unwrap();
        receive_type(&own, PacketType::Puback).await;
        let runs = read(&mut client, group, 1, 0).await.unwrap();
        let devices: Vec<_> = runs.iter().flat_map(Run::messages).map(|message| message.author.device).collect();
        assert_eq!(devices, [device, device], "{policy}");
        relay.stop().await;
    }
}

#[tokio::test]
async fn who_proves_no_device_stays_out_of_private_groups() {
    for (policy, expected) in [(PlaintextPolicy::Loopback, Err(Code::PermissionDenied)), (PlaintextPolicy::Any, Ok(()))]
    {
        let registry = RegistryDouble::start().await;
        let relay = TestRelay::start(Config { plaintext: policy, ..config(&registry) }).await;
        let (group, _) = registry.create("secret", GroupKind::Private).await;
        let ticket = registry.ticket(group, DEVICE, i64::MAX / 2);
        let mut client = relay.client().await;
        eventually("the group is served", async || {
            let refused = client.publish(request(group, 1, vec![entry(1, "x")])).await.unwrap_err();
            refused.code() == Code::Unauthenticated
        })
        .await;
        let said = PublishRequest {
            device_id: DEVICE.into(),
            ticket: ticket.clone(),
            ..request(group, 1, vec![entry(1, "x")])
        };
        let published = client.publish(said).await.map(drop).map_err(|status| status.code());
        let asked = ReadRequest { group_id: group.into(), ticket: ticket.clone(), ..ReadRequest::default() };
        let read = client.read(asked).await.map(drop).map_err(|status| status.code());
        let asked = GetLogRequest { group_id: group.into(), ticket };
        let log = client.get_log(asked).await.map(drop).map_err(|status| status.code());
        assert_eq!([published, read, log], [expected; 3], "{policy}");
        relay.stop().await;
    }
}
