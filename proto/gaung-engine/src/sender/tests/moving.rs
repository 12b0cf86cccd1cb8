//! The group goes on at another address.

use gaung_proto::body::Migrate;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn old_addr() -> SocketAddrV4 {
    config(0).addr.socket_addr()
}

fn new_addr() -> GroupAddr {
    GroupAddr::new(Ipv4Addr::new(239, 255, 9, 9), 20009).unwrap()
}

fn tag(generation: u32) -> GroupTag {
    GroupTag::of(GROUP, Generation(generation), LOG)
}

fn move_to(bench: &mut Bench, generation: u32) -> Vec<Transmit> {
    bench.sender.handle_move(bench.now, new_addr(), 1, Generation(generation));
    bench.drain()
}

fn header(transmit: &Transmit) -> Header {
    Header::decode(&transmit.payload).unwrap().0
}

fn notice(transmit: &Transmit) -> Option<(GroupTag, Migrate)> {
    let (header, body) = Header::decode(&transmit.payload).unwrap();
    (header.packet_type == PacketType::Migrate).then(|| (header.tag, Migrate::decode(body).unwrap()))
}

fn multicast_to(transmit: &Transmit) -> Option<SocketAddrV4> {
    match transmit.destination {
        Destination::Multicast(addr) => Some(addr),
        Destination::Unicast { .. } => None,
    }
}

#[test]
fn members_are_told_at_the_old_address_before_and_for_a_while_after() {
    let mut bench = Bench::new();
    bench.status(1, 0);
    let mut sent = move_to(&mut bench, 2);
    let began = bench.now;
    let mut first_there = None;
    let mut notices = 0;
    for step in 0..1000u64 {
        if step % 10 == 0 {
            bench.status(1, 0);
            sent.extend(bench.send(step / 10 + 1, &[100]));
        }
        for transmit in sent.drain(..) {
            let (at, to) = (bench.now - began, multicast_to(&transmit));
            if let Some((under, migrate)) = notice(&transmit) {
                assert_eq!((under, to), (tag(1), Some(old_addr())));
                assert_eq!(migrate, Migrate { group: GROUP, log: LOG, generation: Generation(2), to: new_addr() });
                notices += 1;
            } else if to == Some(new_addr().socket_addr()) {
                first_there.get_or_insert(at);
                assert_eq!(header(&transmit).tag, tag(2));
            } else if to == Some(old_addr()) {
                assert_eq!((header(&transmit).tag, first_there), (tag(1), None), "it has not left at {at:?}");
            }
        }
        sent = bench.advance(10 * MS);
    }
    assert_eq!((notices, first_there), (7, Some(100 * MS)));
    assert_eq!(bench.sender.stats().moves_told, 7, "and then never again");
}

#[test]
fn what_was_sent_before_is_repaired_after_and_what_waited_goes_there() {
    let mut bench = Bench::new();
    bench.status(1, 0);
    let before = bench.send(1, &[1000, 1000]);
    assert!(before.iter().all(|transmit| multicast_to(transmit) == Some(old_addr())));
    move_to(&mut bench, 2);
    let there = bench.advance(100 * MS);
    let heartbeat = there.iter().find(|transmit| header(transmit).packet_type == PacketType::Heartbeat).unwrap();
    assert_eq!((multicast_to(heartbeat), header(heartbeat).seq), (Some(new_addr().socket_addr()), Seq(2)));
    bench.nak(1, vec![NakRange::messages(Seq(1), Seq(2))]);
    let repairs = bench.advance(TIMING.repair_gather_max);
    let repairs: Vec<_> = repairs.iter().filter(|transmit| header(transmit).packet_type == PacketType::Data).collect();
    assert_eq!(repairs.len(), 2);
    assert!(repairs.iter().all(|repair| header(repair).tag == tag(2) && header(repair).epoch == EPOCH));
    let (next, _) = bench.send(3, &[10]).first().map(|transmit| (header(transmit), 0)).unwrap();
    assert_eq!((next.pkt, next.tag), (Pkt(3), tag(2)), "the count of the epoch goes on");
}

#[test]
fn data_that_waits_for_the_rate_leaves_for_the_new_address() {
    let mut bench = Bench::with(SenderConfig { rate: Rate::from_mbit(1), ..config(0) });
    bench.status(1, 0);
    let mut sent = bench.send(1, &[1000; 100]);
    sent.extend(move_to(&mut bench, 2));
    for _ in 0..300 {
        sent.extend(bench.advance(10 * MS));
    }
    sent.retain(|transmit| header(transmit).packet_type == PacketType::Data);
    let pkts: Vec<u32> = sent.iter().map(|transmit| header(transmit).pkt.0).collect();
    assert_eq!(pkts, (1..=100).collect::<Vec<_>>(), "each once");
    let there = sent.iter().position(|transmit| multicast_to(transmit) == Some(new_addr().socket_addr())).unwrap();
    let (here, there) = sent.split_at(there);
    assert!(!here.is_empty() && here.iter().all(|transmit| header(transmit).tag == tag(1)));
    assert!(there.iter().all(|transmit| header(transmit).tag == tag(2)));
}

#[test]
fn who_missed_it_is_told_when_it_speaks_if_it_has_proven_its_address() {
    let mut bench = Bench::new();
    let status = |bench: &mut Bench, member: u8, cookie: Cookie, under: GroupTag| {
        let status = Status { cookie, ..status_of(member) };
        bench.hear_under(under, addr(member), PacketType::Status, 0, &body(|out| status.write(out)))
    };
    move_to(&mut bench, 2);
    bench.advance(SECOND);
    move_to(&mut bench, 3);
    bench.advance(10 * SECOND);
    assert!([1, 2, 3].iter().all(|&generation| bench.sender.is_addressed(tag(generation))));
    assert!(!bench.sender.is_addressed(tag(4)));
    let cookie = bench.cookie(1);
    for former in [1, 2] {
        let told = status(&mut bench, 1, cookie, tag(former));
        let (under, migrate) = notice(&told[0]).unwrap();
        assert_eq!((under, migrate.generation, told.len()), (tag(former), Generation(3), 1));
        assert_eq!(told[0].destination, Destination::Unicast { peer: addr(1), from: None });
    }
    assert!(status(&mut bench, 1, Cookie(1), tag(1)).is_empty(), "nothing is sent to an address that is not proven");
    assert!(status(&mut bench, 1, cookie, tag(9)).is_empty());
}

#[test]
fn a_question_under_a_former_tag_is_answered_under_it() {
    let mut bench = Bench::new();
    move_to(&mut bench, 2);
    bench.advance(SECOND);
    let probe = body(|out| Probe { sender: SenderId([1; 16]), nonce: 7, cookie: Cookie(0) }.write(out));
    let answers = bench.hear_under(tag(1), addr(1), PacketType::Probe, 0, &probe);
    assert_eq!((answers.len(), header(&answers[0]).tag), (1, tag(1)));
    let (_, answer) = Header::decode(&answers[0].payload).unwrap();
    assert_eq!(Probe::decode(answer).unwrap().cookie, bench.cookie(1));
}

#[test]
fn without_an_address_nothing_is_multicast_and_nothing_is_lost() {
    let mut bench = Bench::new();
    bench.status(1, 0);
    bench.send(1, &[100]);
    bench.sender.handle_lapse(bench.now);
    let mut sent = bench.send(2, &[100, 100]);
    sent.extend(bench.status(1, 0));
    for _ in 0..300 {
        sent.extend(bench.advance(10 * MS));
    }
    assert_eq!(sent, [], "not even a heartbeat");
    bench.nak(1, vec![NakRange::messages(Seq(2), Seq(2))]);
    let alone = bench.advance(TIMING.repair_gather_max);
    assert_eq!((alone.len(), multicast_to(&alone[0])), (1, None), "who asks is answered");
    let there = move_to(&mut bench, 2);
    assert!(there.is_empty(), "there is nobody to be told at no address: {there:?}");
    let there = bench.advance(Duration::ZERO);
    let (heartbeat, body) = Header::decode(&there[0].payload).unwrap();
    let heartbeat_body = gaung_proto::body::Heartbeat::decode(body).unwrap();
    assert_eq!((heartbeat.tag, heartbeat.seq), (tag(2), Seq(3)));
    assert_eq!((heartbeat_body.oldest_repairable, heartbeat_body.last_pkt), (Seq(1), Pkt(2)));
    bench.advance(100 * MS);
    bench.nak(1, vec![NakRange::messages(Seq(2), Seq(3))]);
    let repairs = bench.advance(TIMING.repair_gather_max);
    assert_eq!(repairs.iter().filter(|repair| header(repair).tag == tag(2)).count(), 1);
}
