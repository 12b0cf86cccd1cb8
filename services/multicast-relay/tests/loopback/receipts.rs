//! Receipts of members by multicast and at a hub, and who may see them.

use gaung_proto::{
    ClientId, DeviceId, GroupId, SenderId,
    body::Status,
    datagram::{Header, PacketType},
    pb::relay::{
        GetLogRequest, MemberLane, MemberStatus, Receipt, SeqRange, SessionReport, WatchReceiptsRequest,
        WatchReceiptsResponse, relay_service_client::RelayServiceClient,
    },
};
use tokio::{net::UdpSocket, time::timeout};
use tonic::{Code, Status as CallStatus, Streaming, transport::Channel};

use crate::{
    datagrams::{cookie, datagram},
    support::{
        Following, GroupKind, LONG, OneGroup, RegistryDouble, TestRelay, entry, eventually, join, publish,
        receive_type, request, unicast,
    },
};

type Client = RelayServiceClient<Channel>;

#[tokio::test]
async fn both_lanes_are_in_one_receipt_which_is_told_as_it_changes() {
    let OneGroup { registry, relay, group, addr, mut client } = OneGroup::start().await;
    publish(&mut client, request(group, 1, vec![entry(1, "one")])).await;
    let member = Member::enter(&relay, addr, 5).await;
    member.status(1).await;
    let hub = Following::open(&mut client).await;
    let log = registry.log_id(group);
    hub.add(group, 0, 0).await;
    hub.report(group, log, vec![session(6, 1), text_session(7, "client-7")]).await;
    let lanes = [(5, MemberLane::Multicast), (6, MemberLane::Tcp), (7, MemberLane::Text)];
    until_members(&mut client, group, |members| {
        members.iter().map(|m| (m.client_id[0], m.lane())).collect::<Vec<_>>() == lanes
    })
    .await;

    publish(&mut client, request(group, 1, vec![entry(2, "two"), entry(3, "three")])).await;
    let mut watch = watch(&mut client, group, &[(2, 3)], 60_000).await.unwrap();
    let first = receipts(&mut watch).await.unwrap();
    assert_eq!(first.iter().map(counts).collect::<Vec<_>>(), [(2, 0, 3, 1, 0), (3, 0, 3, 1, 0)]);
    assert_eq!(missing(&first[0]), [(5, String::new()), (6, String::new()), (7, "client-7".to_owned())]);
    hub.report(group, log, vec![session(6, 2)]).await;
    let next = receipts(&mut watch).await.unwrap();
    assert_eq!((next.len(), counts(&next[0])), (1, (2, 1, 3, 1, 0)), "only what changed");
    member.status(3).await;
    hub.report(group, log, vec![session(6, 3)]).await;
    let mut last = Vec::new();
    while let Some(some) = receipts(&mut watch).await {
        last.extend(some);
    }
    assert_eq!(counts(last.last().unwrap()), (3, 2, 3, 1, 0));
    assert!(last.last().unwrap().complete, "what nobody can tell is not waited for: {last:?}");

    member.status(3).await;
    hub.report(group, log, vec![SessionReport { gone: true, ..session(7, 0) }]).await;
    hub.report(group, log ^ 1, vec![session(8, 3)]).await;
    // Who claims more than was logged is doubted, as the engine's tests say; this one claims what there is.
    hub.report(group, log, vec![session(9, 3)]).await;
    until_members(&mut client, group, |members| {
        let nine = members.iter().find(|m| m.client_id[0] == 9);
        nine.is_some_and(|m| m.delivered_seq == 3) && members.iter().all(|m| m.client_id[0] != 8)
    })
    .await;
    // The members are counted a few times a second, and with the last of them the receipts.
    let page = metrics(&relay, "gaung_relay_members{lane=\"tcp\"} 2").await;
    for line in [
        "members{lane=\"multicast\"} 1",
        "receipts_complete_total 2",
        "round_trip_seconds_count ",
        "member_loss_ratio_count ",
        "member_delivered_total ",
        "member_lost_datagrams_total ",
        "member_repaired_datagrams_total ",
        "member_behind_messages_count ",
    ] {
        assert!(page.contains(&format!("gaung_relay_{line}")), "{line}: {page}");
    }
    relay.stop().await;
}

#[tokio::test]
async fn a_member_that_moves_to_the_hub_stays_one_member() {
    let OneGroup { registry, relay, group, addr, mut client } = OneGroup::start().await;
    publish(&mut client, request(group, 1, vec![entry(1, "one")])).await;
    let member = Member::enter(&relay, addr, 5).await;
    member.status(1).await;
    until_members(&mut client, group, |members| members.len() == 1).await;
    publish(&mut client, request(group, 1, vec![entry(2, "two")])).await;
    let hub = Following::open(&mut client).await;
    hub.add(group, 0, 0).await;
    let unproven = session(5, 2);
    hub.report(group, registry.log_id(group), vec![unproven.clone()]).await;
    until_members(&mut client, group, |members| {
        members.iter().map(|m| (m.lane(), m.delivered_seq)).collect::<Vec<_>>()
            == [(MemberLane::Multicast, 1), (MemberLane::Tcp, 2)]
    })
    .await;
    let mut other = watch(&mut client, group, &[(2, 2)], 0).await.unwrap();
    assert_eq!(counts(&receipts(&mut other).await.unwrap()[0]), (2, 0, 1, 0, 0), "somebody's word is not the member's");
    hub.report(group, registry.log_id(group), vec![SessionReport { cookie: member.cookie.0, ..unproven }]).await;
    until_members(&mut client, group, |members| {
        members.iter().map(|m| (m.lane(), m.delivered_seq)).collect::<Vec<_>>() == [(MemberLane::Tcp, 2)]
    })
    .await;
    let mut watch = watch(&mut client, group, &[(1, 2)], 0).await.unwrap();
    let told = receipts(&mut watch).await.unwrap();
    assert_eq!(told.iter().map(counts).collect::<Vec<_>>(), [(1, 0, 0, 0, 1), (2, 1, 1, 0, 0)]);
    assert!(receipts(&mut watch).await.is_none());
    relay.stop().await;
}

#[tokio::test]
async fn a_private_groups_members_are_for_those_with_a_ticket() {
    let registry = RegistryDouble::start().await;
    let relay = TestRelay::disk(&registry).await;
    registry.registered().await;
    let (group, _) = registry.create("club", GroupKind::Private).await;
    let ticket = registry.ticket(group, DeviceId([1; 16]), i64::MAX);
    let mut client = relay.client().await;
    let mut hub = Following::open(&mut client).await;
    publish_with(&mut client, group, &ticket, 1).await;
    hub.add_by(group, 0, 0, ticket.clone()).await;
    assert!(matches!(hub.next().await, gaung_proto::pb::relay::follow_response::Event::Started(_)));
    hub.report(group, registry.log_id(group), vec![session(6, 1)]).await;
    let with_ticket = GetLogRequest { group_id: group.into(), ticket: ticket.clone() };
    eventually("the session is known", async || {
        client.get_log(with_ticket.clone()).await.unwrap().into_inner().members.len() == 1
    })
    .await;
    let stranger = client.get_log(GetLogRequest { group_id: group.into(), ..GetLogRequest::default() }).await;
    assert_eq!(stranger.unwrap_err().code(), Code::Unauthenticated, "not even how much was said");
    publish_with(&mut client, group, &ticket, 2).await;
    hub.report(group, registry.log_id(group), vec![session(6, 2)]).await;
    let asked = WatchReceiptsRequest {
        group_id: group.into(),
        ranges: vec![SeqRange { first_seq: 2, last_seq: 2 }],
        wait_ms: 60_000,
        ..WatchReceiptsRequest::default()
    };
    let refused = client.watch_receipts(asked.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut watch = client.watch_receipts(WatchReceiptsRequest { ticket, ..asked }).await.unwrap().into_inner();
    let mut last = None;
    while let Some(some) = receipts(&mut watch).await {
        last = some.last().map(counts);
    }
    assert_eq!(last, Some((2, 1, 1, 0, 0)));
    relay.stop().await;
}

#[tokio::test]
async fn what_cannot_be_watched_is_refused_with_a_reason() {
    let OneGroup { registry, relay, group, .. } = OneGroup::start().await;
    publish(&mut relay.client().await, request(group, 1, vec![entry(1, "before")])).await;
    relay.stop().await;
    let relay = TestRelay::disk(&registry).await;
    let mut client = relay.client().await;
    publish(&mut client, request(group, 1, vec![entry(2, "after")])).await;
    for (ranges, code, words) in [
        (&[(1, 2)][..], Code::OutOfRange, "opened its log after"),
        (&[(2, 3)], Code::OutOfRange, "not logged yet"),
        (&[], Code::InvalidArgument, "1 to 1024"),
        (&[(0, 2)], Code::InvalidArgument, "range"),
        (&[(3, 2)], Code::InvalidArgument, "range"),
        (&[(2, u64::MAX), (1, u64::MAX)], Code::InvalidArgument, "1 to 1024"),
    ] {
        let status = watch(&mut client, group, ranges, 0).await.unwrap_err();
        assert_eq!(status.code(), code, "{ranges:?}: {status:?}");
        assert!(status.message().contains(words), "{ranges:?}: {}", status.message());
    }
    let mut alone = watch(&mut client, group, &[(2, 2)], 60_000).await.unwrap();
    let told = receipts(&mut alone).await.unwrap();
    assert_eq!((counts(&told[0]), told[0].complete), ((2, 0, 0, 0, 0), true), "nobody is waited for");
    assert!(receipts(&mut alone).await.is_none());
    relay.stop().await;
}

/// A member by plain sockets.
struct Member<'a> {
    relay: &'a TestRelay,
    socket: UdpSocket,
    sender: SenderId,
    cookie: gaung_proto::body::Cookie,
    heard: Header,
}

impl<'a> Member<'a> {
    async fn enter(relay: &'a TestRelay, addr: std::net::SocketAddrV4, number: u8) -> Self {
        let (heard, _, _) = receive_type(&join(addr), PacketType::Heartbeat).await;
        let (socket, sender) = (unicast(), SenderId([number; 16]));
        let cookie = cookie(&socket, relay, heard.tag, sender).await;
        Self { relay, socket, sender, cookie, heard }
    }

    async fn status(&self, delivered: u64) {
        let status = Status {
            sender: self.sender,
            cookie: self.cookie,
            device: DeviceId(*self.sender.as_bytes()),
            highest_pkt: gaung_proto::Pkt(1),
            received: delivered as u32,
            lost: 0,
            repaired: 0,
            echo_ts_us: self.heard.ts_us,
            echo_delay_us: 0,
        };
        let Header { tag, epoch, .. } = self.heard;
        let status = datagram(PacketType::Status, tag, epoch, delivered, |out| status.write(out));
        self.socket.send_to(&status, self.relay.udp).await.unwrap();
    }
}

fn session(number: u8, delivered_seq: u64) -> SessionReport {
    SessionReport {
        client_id: ClientId([number; 16]).into(),
        device_id: DeviceId([number; 16]).into(),
        delivered_seq,
        ..SessionReport::default()
    }
}

fn text_session(number: u8, name: &str) -> SessionReport {
    SessionReport { silent: true, name: name.to_owned(), ..session(number, 0) }
}

async fn publish_with(client: &mut Client, group: GroupId, ticket: &bytes::Bytes, client_seq: u64) {
    let request = request(group, 1, vec![entry(client_seq, "x")]);
    publish(client, gaung_proto::pb::relay::PublishRequest { ticket: ticket.clone(), ..request }).await;
}

async fn watch(
    client: &mut Client,
    group: GroupId,
    ranges: &[(u64, u64)],
    wait_ms: u32,
) -> Result<Streaming<WatchReceiptsResponse>, CallStatus> {
    let range = |&(first_seq, last_seq): &(u64, u64)| SeqRange { first_seq, last_seq };
    let ranges = ranges.iter().map(range).collect();
    let request = WatchReceiptsRequest { group_id: group.into(), ranges, wait_ms, ..WatchReceiptsRequest::default() };
    Ok(client.watch_receipts(request).await?.into_inner())
}

async fn receipts(watch: &mut Streaming<WatchReceiptsResponse>) -> Option<Vec<Receipt>> {
    let answer = timeout(LONG, watch.message()).await.expect("an answer comes").unwrap();
    answer.map(|answer| answer.receipts)
}

fn counts(receipt: &Receipt) -> (u64, u32, u32, u32, u32) {
    (receipt.seq, receipt.heard, receipt.present, receipt.silent, receipt.absent)
}

fn missing(receipt: &Receipt) -> Vec<(u8, String)> {
    receipt.missing.iter().map(|missing| (missing.client_id[0], missing.name.clone())).collect()
}

async fn until_members(client: &mut Client, group: GroupId, mut met: impl FnMut(&[MemberStatus]) -> bool) {
    let request = GetLogRequest { group_id: group.into(), ..GetLogRequest::default() };
    eventually("the members are as they should be", async || {
        met(&client.get_log(request.clone()).await.unwrap().into_inner().members)
    })
    .await;
}

async fn metrics(relay: &TestRelay, wanted: &str) -> String {
    let mut page = String::new();
    eventually(wanted, async || {
        page = relay.metrics_page().await;
        page.contains(wanted)
    })
    .await;
    page
}
