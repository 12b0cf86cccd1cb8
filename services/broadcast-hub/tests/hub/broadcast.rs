//! The broadcast lane on the loopback network.

use std::{collections::BTreeSet, net::UdpSocket, time::Duration};

use broadcast_hub::{BroadcastConfig, Limits};
use gaung_net::broadcast::open_listener;
use gaung_proto::{
    Generation, GroupTag, LogId,
    block::Block,
    body::Broadcast,
    datagram::{Header, PacketType},
};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_everyone_are_broadcast_after_the_append() {
    let port = free_port();
    let listener = open_listener(port).unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::UdpSocket::from_std(listener).unwrap();
    let world = World::with(|config| {
        config.limits = Limits::default();
        config.broadcast = Some(BroadcastConfig { port, datagrams_per_second: 1000, iface: Some("lo".to_owned()) });
    })
    .await;
    let other = world.group("g", 2);
    world.relay.append(other, 1, 10);
    world.relay.append(world.everyone, 3, 100);
    world.relay.append(world.everyone, 2, 100);
    let tag = GroupTag::of(world.everyone, Generation(1), LogId(1));
    let mut seqs = BTreeSet::new();
    let mut buffer = [0; 2048];
    while seqs.len() < 5 {
        let heard = tokio::time::timeout(Duration::from_secs(20), listener.recv(&mut buffer)).await;
        let datagram = &buffer[..heard.expect("a broadcast is heard").unwrap()];
        let (header, body) = Header::decode(datagram).unwrap();
        assert_eq!((header.packet_type, header.tag), (PacketType::Broadcast, tag));
        let block = Block::parse(Broadcast::decode(body).unwrap().bytes).unwrap();
        seqs.extend((0..u64::from(block.count())).map(|i| header.seq.0 + i));
    }
    assert_eq!(seqs, BTreeSet::from([1, 2, 3, 4, 5]));
    world.stop().await;
}

fn free_port() -> u16 {
    UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port()
}
