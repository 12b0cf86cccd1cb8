//! Groups whose address lapses and which get another: the relay leaves the one and goes on at the other.

use std::time::Duration;

use gaung_proto::{
    Epoch, Generation, GroupAddr, GroupId, GroupTag, LogId, SenderId, Seq,
    body::{Migrate, Nak, NakRange},
    datagram::{Header, PacketType},
    pb::relay::{GetLogRequest, relay_service_client::RelayServiceClient},
};
use tokio::{net::UdpSocket, time::timeout};
use tonic::transport::Channel;

use crate::{
    datagrams::{be_heard, cookie, datagram},
    support::{
        Following, GroupKind, OneGroup, RegistryDouble, TestRelay, ack, entry, eventually, join, publish, read,
        receive, receive_type, request, unicast, words,
    },
};

async fn epoch(client: &mut RelayServiceClient<Channel>, group: GroupId) -> u32 {
    let log = client.get_log(GetLogRequest { group_id: group.into(), ..Default::default() }).await;
    log.map_or(0, |log| log.into_inner().epoch)
}

/// Waits until nothing has come for longer than heartbeats leave between them.
async fn until_silent(socket: &UdpSocket) {
    let mut buffer = [0; 2048];
    while timeout(Duration::from_millis(1500), socket.recv(&mut buffer)).await.is_ok() {}
}

#[tokio::test]
async fn without_a_lease_nothing_is_multicast_and_with_a_new_one_under_the_new_tag() {
    let OneGroup { registry, relay, group, addr, mut client } = OneGroup::start().await;
    let member = join(addr);
    be_heard(&member, &relay).await;
    publish(&mut client, request(group, 1, vec![entry(1, "one")])).await;
    receive_type(&member, PacketType::Data).await;
    let mut follower = Following::open(&mut client).await;
    follower.add(group, 0, 1).await;
    let _started = follower.next().await;
    assert_eq!(words(&follower.next_run().await), ["one"]);

    registry.lapse(group);
    until_silent(&member).await;
    let repeated = publish(&mut client, request(group, 1, vec![entry(1, "one"), entry(2, "two")])).await;
    assert_eq!(repeated.acks, [ack(1, 1, 2)]);
    assert_eq!(words(&follower.next_run().await), ["two"], "followers go on by TCP");

    registry.regain(group, Some(addr));
    let tag = GroupTag::of(group, Generation(2), LogId(registry.log_id(group)));
    let (next, _) = receive(&member).await;
    assert_eq!(Header::decode(&next).unwrap().0.tag, tag, "nothing left in between");

    let elsewhere = registry.regain(group, None);
    let moved = join(elsewhere);
    let (notice, body, _) = receive_type(&member, PacketType::Migrate).await;
    let to = GroupAddr::new(*elsewhere.ip(), elsewhere.port()).unwrap();
    let log = LogId(registry.log_id(group));
    assert_eq!((notice.tag, Migrate::decode(&body)), (tag, Ok(Migrate { group, log, generation: Generation(3), to })));
    receive_type(&moved, PacketType::Heartbeat).await;
    publish(&mut client, request(group, 1, vec![entry(3, "three")])).await;
    let (header, ..) = receive_type(&moved, PacketType::Data).await;
    assert_eq!(header.tag, GroupTag::of(group, Generation(3), log));
    assert_eq!((header.seq.0, header.epoch.0), (3, 1), "the opening goes on");
    assert_eq!(words(&follower.next_run().await), ["three"]);

    let own = unicast();
    let sender = SenderId([5; 16]);
    let cookie = cookie(&own, &relay, tag, sender).await;
    let nak = Nak { sender, cookie, ranges: vec![NakRange::messages(Seq(1), Seq(1))] };
    own.send_to(&datagram(PacketType::Nak, tag, Epoch(1), 0, |out| nak.write(out)), relay.udp).await.unwrap();
    let (notice, body, _) = receive_type(&own, PacketType::Migrate).await;
    assert_eq!((notice.tag, Migrate::decode(&body).unwrap().to), (tag, to), "who missed it is told");
    own.send_to(&datagram(PacketType::Nak, header.tag, Epoch(1), 0, |out| nak.write(out)), relay.udp).await.unwrap();
    let (repair, ..) = receive_type(&own, PacketType::Data).await;
    assert_eq!((repair.seq, repair.tag), (Seq(1), header.tag), "what came before the move is still to be had");
    relay.stop().await;
}

#[tokio::test]
async fn a_text_group_is_heard_at_its_new_address() {
    let registry = RegistryDouble::start().await;
    let relay = TestRelay::disk(&registry).await;
    let (group, _) = registry.create("bare", GroupKind::Text).await;
    let mut client = relay.client().await;
    publish(&mut client, request(group, 1, vec![entry(1, "one")])).await;
    registry.lapse(group);
    eventually("the group is opened anew", async || epoch(&mut client, group).await == 2).await;
    let addr = registry.regain(group, None);
    eventually("the group is opened anew", async || epoch(&mut client, group).await == 3).await;
    let (member, stranger) = (join(addr), unicast());
    publish(&mut client, request(group, 1, vec![entry(2, "two")])).await;
    assert_eq!(receive(&member).await.0, b"two");
    // Joining takes a moment after the opening.
    eventually("a stranger is logged", async || {
        stranger.send_to(b"strange", addr).await.unwrap();
        read(&mut client, group, 3, 1).await.is_ok_and(|runs| !runs.is_empty())
    })
    .await;
    relay.stop().await;
}

#[tokio::test]
async fn a_relay_that_starts_without_a_registry_keeps_to_what_it_was_told() {
    let OneGroup { mut registry, relay, group, addr, mut client } = OneGroup::start().await;
    publish(&mut client, request(group, 1, vec![entry(1, "one")])).await;
    let ear = join(addr);
    receive_type(&ear, PacketType::Heartbeat).await;
    registry.lapse(group);
    until_silent(&ear).await;
    relay.stop().await;
    registry.go_away();

    let member = join(addr);
    let relay = TestRelay::disk(&registry).await;
    let mut client = relay.client().await;
    publish(&mut client, request(group, 1, vec![entry(2, "two")])).await;
    registry.come_back().await;
    registry.regain(group, Some(addr));
    let (datagram, _) = receive(&member).await;
    let tag = GroupTag::of(group, Generation(2), LogId(registry.log_id(group)));
    assert_eq!(Header::decode(&datagram).unwrap().0.tag, tag);
    relay.stop().await;
}
