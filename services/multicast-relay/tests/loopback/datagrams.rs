//! What plain UDP sockets can do: repair, publish, text groups; and what hostile ones cannot.

use crate::support::{
    GroupKind, OneGroup, RegistryDouble, TestRelay, ack, entry, eventually, join, publish, read, receive, receive_type,
    request, unicast, words,
};
use bytes::{Bytes, BytesMut};
use gaung_proto::{
    ClientId, ClientSeq, DeviceId, Epoch, GroupTag, Pkt, SenderId, Seq,
    body::{Cookie, Data, Heartbeat, Nak, NakRange, Probe, Puback, Publish, PublishOutcome, Status},
    datagram::{Fragment, Header, PacketType, flags},
    pb::relay::{GetLogRequest, PublishRequest},
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use tokio::net::UdpSocket;

pub(crate) fn datagram(
    packet_type: PacketType,
    tag: GroupTag,
    epoch: Epoch,
    seq: u64,
    write: impl FnOnce(&mut BytesMut),
) -> Vec<u8> {
    let mut body = BytesMut::new();
    write(&mut body);
    let header =
        Header { packet_type, flags: 0, tag, epoch, pkt: Pkt(1), seq: Seq(seq), fragment: Fragment::WHOLE, ts_us: 0 };
    header.encode(&body).to_vec()
}

/// Probes until the cookie comes.
pub(crate) async fn cookie(socket: &UdpSocket, relay: &TestRelay, tag: GroupTag, sender: SenderId) -> Cookie {
    let probe = Probe { sender, nonce: 7, cookie: Cookie(0) };
    socket.send_to(&datagram(PacketType::Probe, tag, Epoch(0), 0, |out| probe.write(out)), relay.udp).await.unwrap();
    let (header, body, _) = receive_type(socket, PacketType::Probe).await;
    assert!(header.has(flags::RESPONSE));
    let answer = Probe::decode(&body).unwrap();
    assert_eq!(answer.nonce, 7);
    answer.cookie
}

/// Lets the relay know that somebody listens to `member`'s group; returns the heartbeat that it was found by.
pub(crate) async fn be_heard(member: &UdpSocket, relay: &TestRelay) -> Header {
    let (heartbeat, ..) = receive_type(member, PacketType::Heartbeat).await;
    cookie(&unicast(), relay, heartbeat.tag, SenderId([9; 16])).await;
    heartbeat
}

#[tokio::test]
async fn a_member_that_missed_a_datagram_gets_it_again_and_is_counted() {
    let OneGroup { registry: _registry, relay, group, addr, mut client } = OneGroup::start().await;
    let member = join(addr);
    be_heard(&member, &relay).await;
    publish(&mut client, request(group, 1, vec![entry(1, "one")])).await;
    let (header, first, _) = receive_type(&member, PacketType::Data).await;
    let (_, body, from) = receive_type(&member, PacketType::Heartbeat).await;
    let heartbeat = Heartbeat::decode(&body).unwrap();
    assert_eq!((heartbeat.group, heartbeat.oldest_repairable, from), (group, Seq(1), relay.udp.into()));

    let own = unicast();
    let sender = SenderId([5; 16]);
    let cookie = cookie(&own, &relay, header.tag, sender).await;
    let nak = Nak { sender, cookie, ranges: vec![NakRange::messages(Seq(1), Seq(1))] };
    let nak = datagram(PacketType::Nak, header.tag, header.epoch, 0, |out| nak.write(out));
    own.send_to(&nak, relay.udp).await.unwrap();
    let (repair, body, _) = receive_type(&own, PacketType::Data).await;
    assert!(repair.has(flags::REPAIR));
    let repaired = Data::decode(&body, true).unwrap();
    assert_eq!((repaired.original, repaired.bytes), (Some(Pkt(1)), &first[..]));

    let status = Status {
        sender,
        cookie,
        device: DeviceId([6; 16]),
        highest_pkt: Pkt(1),
        received: 0,
        lost: 1,
        repaired: 0,
        echo_ts_us: header.ts_us,
        echo_delay_us: 0,
    };
    let status = datagram(PacketType::Status, header.tag, header.epoch, 1, |out| status.write(out));
    own.send_to(&status, relay.udp).await.unwrap();
    eventually("the member is known", async || {
        let log =
            client.get_log(GetLogRequest { group_id: group.into(), ..Default::default() }).await.unwrap().into_inner();
        log.members.first().is_some_and(|member| member.delivered_seq == 1 && member.lost_datagrams == 1)
    })
    .await;
    let asked = client.get_log(GetLogRequest { group_id: group.into(), ..Default::default() }).await.unwrap();
    let sent = asked.into_inner().sent.unwrap();
    assert_eq!((sent.data, sent.repairs, sent.parity), (1, 1, 0));
    assert!(sent.data_bytes > first.len() as u64, "with the header: {sent:?}");
    relay.stop().await;
}

#[tokio::test]
async fn a_client_of_udp_alone_publishes_once_it_has_a_cookie() {
    let OneGroup { registry: _registry, relay, group, addr, .. } = OneGroup::start().await;
    let member = join(addr);
    let (heartbeat, _, relay_addr) = receive_type(&member, PacketType::Heartbeat).await;
    let own = unicast();
    let client = ClientId([4; 16]);
    let payload = crate::support::text("by datagram");
    let publish_with = |cookie| {
        let publish =
            Publish { sender: client.into(), cookie, device: DeviceId::NONE, content_type: 1, payload: &payload };
        datagram(PacketType::Publish, heartbeat.tag, Epoch(0), 1, |out| publish.write(out))
    };
    own.send_to(&publish_with(Cookie(0)), relay_addr).await.unwrap();
    let (_, body, _) = receive_type(&own, PacketType::Puback).await;
    let puback = Puback::decode(&body).unwrap();
    assert_eq!(puback.outcome, PublishOutcome::NeedsCookie);
    for _ in 0..3 {
        own.send_to(&publish_with(puback.cookie), relay_addr).await.unwrap();
        let (header, body, _) = receive_type(&own, PacketType::Puback).await;
        let puback = Puback::decode(&body).unwrap();
        assert_eq!((header.seq, puback.outcome), (Seq(1), PublishOutcome::Logged));
        assert_eq!((puback.client, puback.client_seq), (client, ClientSeq(1)));
    }
    let runs = read(&mut relay.client().await, group, 1, 0).await.unwrap();
    assert_eq!(runs.iter().flat_map(words).collect::<Vec<_>>(), ["by datagram"]);

    let foreign =
        Publish { sender: client.into(), cookie: Cookie(0), device: DeviceId::NONE, content_type: 1, payload: b"" };
    let foreign = datagram(PacketType::Publish, GroupTag(1), Epoch(0), 1, |out| foreign.write(out));
    own.send_to(&foreign, relay_addr).await.unwrap();
    let (_, body, _) = receive_type(&own, PacketType::Puback).await;
    assert_eq!(Puback::decode(&body).unwrap().outcome, PublishOutcome::NotFound);
    relay.stop().await;
}

#[tokio::test]
async fn a_datagram_under_the_client_id_of_a_stream_is_refused() {
    let OneGroup { registry: _registry, relay, group, addr, .. } = OneGroup::start().await;
    let member = join(addr);
    let (heartbeat, _, relay_addr) = receive_type(&member, PacketType::Heartbeat).await;
    let mut client = relay.client().await;
    let of_ann = |n| PublishRequest {
        stream_key: Bytes::from_static(&[1; 16]),
        ..request(group, 1, vec![entry(n, "by stream")])
    };
    publish(&mut client, of_ann(1)).await;
    let own = unicast();
    let payload = crate::support::text("by datagram");
    let ask = async |client: u8, cookie| {
        let sender = ClientId([client; 16]).into();
        let publish = Publish { sender, cookie, device: DeviceId([1; 16]), content_type: 1, payload: &payload };
        let datagram = datagram(PacketType::Publish, heartbeat.tag, Epoch(0), 2, |out| publish.write(out));
        own.send_to(&datagram, relay_addr).await.unwrap();
        Puback::decode(&receive_type(&own, PacketType::Puback).await.1).unwrap()
    };
    let cookie = ask(1, Cookie(0)).await.cookie;
    assert_eq!(ask(1, cookie).await.outcome, PublishOutcome::OtherPublisher);
    assert_eq!(ask(3, cookie).await.outcome, PublishOutcome::Logged);
    publish(&mut client, of_ann(2)).await;
    let runs = read(&mut client, group, 1, 0).await.unwrap();
    assert_eq!(runs.iter().flat_map(words).collect::<Vec<_>>(), ["by stream", "by datagram", "by stream"]);
    relay.stop().await;
}

#[tokio::test]
async fn a_text_group_carries_bare_text_both_ways() {
    let registry = RegistryDouble::start().await;
    let relay = TestRelay::disk(&registry).await;
    let (group, addr) = registry.create("old-clients", GroupKind::Text).await;
    let receiver = join(addr);
    let mut client = relay.client().await;
    publish(&mut client, request(group, 1, vec![entry(1, "halo semua"), entry(2, "ünï")])).await;
    assert_eq!(receive(&receiver).await.0, "halo semua".as_bytes());
    assert_eq!(receive(&receiver).await.0, "ünï".as_bytes());

    let stranger = unicast();
    let name = format!("udp:{}", stranger.local_addr().unwrap());
    let mut logged = Vec::new();
    eventually("strangers are heard", async || {
        stranger.send_to(b"\xff raw", addr).await.unwrap();
        logged = read(&mut client, group, 3, 1).await.unwrap();
        !logged.is_empty()
    })
    .await;
    let message = logged[0].messages().next().unwrap();
    assert!(message.author.device.is_none());
    let content = gaung_proto::Content::decode(message.content_type, &message.payload);
    assert_eq!(content, gaung_proto::Content::text(name, &b"\xff raw"[..]));

    let long = client.publish(request(group, 1, vec![entry(3, &"x".repeat(1401))])).await.unwrap_err();
    assert_eq!(long.code(), tonic::Code::InvalidArgument);
    assert!(long.message().contains("1400"), "{}", long.message());
    let limit = publish(&mut client, request(group, 1, vec![entry(3, &"x".repeat(1400))])).await;
    assert_eq!(limit.acks.len(), 1);
    loop {
        let heard = receive(&receiver).await.0;
        if heard != b"\xff raw" {
            assert_eq!(heard, vec![b'x'; 1400], "nothing but text, and strangers' words not again");
            break;
        }
    }
    let head = client
        .get_log(GetLogRequest { group_id: group.into(), ..Default::default() })
        .await
        .unwrap()
        .into_inner()
        .head_seq;
    let own: usize = read(&mut client, group, 1, 0)
        .await
        .unwrap()
        .iter()
        .map(|run| run.messages().filter(|m| !m.author.device.is_none()).count())
        .sum();
    assert_eq!(own, 3, "the relay does not log what it sent itself; head {head}");
    relay.stop().await;
}

#[tokio::test]
async fn a_private_group_is_silent_and_wants_a_ticket() {
    let registry = RegistryDouble::start().await;
    let relay = TestRelay::disk(&registry).await;
    let (open, _) = registry.create("open", GroupKind::Proto).await;
    let (group, addr) = registry.create("secret", GroupKind::Private).await;
    let ear = join(addr);
    let mut client = relay.client().await;
    eventually("the group is known", async || {
        let outcome = client.publish(request(group, 1, vec![entry(1, "x")])).await;
        outcome.is_err_and(|status| status.code() == tonic::Code::Unauthenticated)
    })
    .await;
    let device = DeviceId([1; 16]);
    let far = i64::MAX / 2;
    let with = |ticket: bytes::Bytes| {
        let mut request = request(group, 1, vec![entry(1, "hush")]);
        request.ticket = ticket;
        request
    };
    let code = |outcome: Result<_, tonic::Status>| outcome.map(|_: tonic::Response<_>| ()).unwrap_err().code();
    assert_eq!(code(client.publish(with(bytes::Bytes::new())).await), tonic::Code::Unauthenticated);
    let bad = [
        registry.ticket(open, device, far),
        registry.ticket(group, DeviceId([2; 16]), far),
        registry.ticket(group, device, 1),
        bytes::Bytes::from_static(b"nonsense"),
    ];
    for ticket in bad {
        assert_eq!(code(client.publish(with(ticket)).await), tonic::Code::PermissionDenied);
    }
    let published = publish(&mut client, with(registry.ticket(group, device, far))).await;
    assert_eq!(published.acks, [ack(1, 1, 1)]);
    assert_eq!(read(&mut client, group, 1, 0).await.unwrap_err().code(), tonic::Code::Unauthenticated);

    let own = unicast();
    let tag = GroupTag::of(group, gaung_proto::Generation(1), gaung_proto::LogId(registry.log_id(group)));
    let publish = Publish { sender: SenderId([1; 16]), cookie: Cookie(1), device, content_type: 1, payload: b"" };
    own.send_to(&datagram(PacketType::Publish, tag, Epoch(0), 2, |out| publish.write(out)), relay.udp).await.unwrap();
    let (_, body, _) = receive_type(&own, PacketType::Puback).await;
    assert_eq!(Puback::decode(&body).unwrap().outcome, PublishOutcome::Refused);
    let mut buffer = [0; 2048];
    assert!(ear.try_recv(&mut buffer).is_err(), "no datagram, not even a heartbeat");
    relay.stop().await;
}

#[tokio::test]
async fn hostile_datagrams_stop_nothing() {
    let seed = std::env::var("GAUNG_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("GAUNG_SEED={seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let OneGroup { registry: _registry, relay, group, addr, mut client } = OneGroup::start().await;
    let member = join(addr);
    be_heard(&member, &relay).await;
    publish(&mut client, request(group, 1, vec![entry(1, "before")])).await;
    let (header, _, _) = receive_type(&member, PacketType::Data).await;
    let own = unicast();
    let sender = SenderId([1; 16]);
    let cookie = cookie(&own, &relay, header.tag, sender).await;
    let nak = Nak { sender, cookie, ranges: vec![NakRange::messages(Seq(1), Seq(9)); 32] };
    let publish_body = Publish { sender, cookie, device: DeviceId::NONE, content_type: 1, payload: b"z" };
    let valid = [
        datagram(PacketType::Nak, header.tag, header.epoch, 0, |out| nak.write(out)),
        datagram(PacketType::Probe, header.tag, Epoch(0), 0, |out| Probe { sender, nonce: 1, cookie }.write(out)),
        datagram(PacketType::Publish, header.tag, Epoch(0), 1, |out| publish_body.write(out)),
    ];
    for round in 0..20_000 {
        let datagram = if round % 2 == 0 {
            (0..rng.random_range(0..1500)).map(|_| rng.random()).collect::<Vec<u8>>()
        } else {
            let mut datagram = valid[rng.random_range(0..valid.len())].clone();
            let at = rng.random_range(0..datagram.len());
            datagram[at] = rng.random();
            datagram
        };
        own.send_to(&datagram, relay.udp).await.unwrap();
        if round % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let after = publish(&mut client, request(group, 7, vec![entry(1, "after")])).await;
    let last = after.acks[0].first_seq;
    let runs = read(&mut client, group, 1, 0).await.unwrap();
    let dense = runs.windows(2).all(|pair| pair[0].last_seq().next() == pair[1].first_seq());
    assert!(dense && runs.last().unwrap().last_seq() >= Seq(last), "GAUNG_SEED={seed}");
    relay.stop().await;
}
