#![allow(clippy::unwrap_used)]
use std::net::{Ipv4Addr, SocketAddrV4};

use gaung_proto::{
    ClientSeq, DeviceId,
    block::Block,
    body::{Cookie, Nak, NakRange, Ncf, Probe, Status},
    datagram::DATAGRAM_HEADER,
    limits::{MAX_DATA_BODY, MAX_DATAGRAM, MAX_PAYLOAD},
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

mod hostile;
mod moving;
mod parity;

use super::{repair::MAX_REPAIRS_PER_NAK, *};
use crate::test_messages::{self, GROUP, LOG};

const EPOCH: Epoch = Epoch(4);
const MS: Duration = Duration::from_millis(1);

fn config(head: u64) -> SenderConfig {
    SenderConfig {
        group: GROUP,
        log: LOG,
        epoch: EPOCH,
        generation: Generation(1),
        addr: GroupAddr::new(Ipv4Addr::new(239, 255, 1, 2), 20001).unwrap(),
        ttl: 1,
        head: Seq(head),
        oldest_logged: Seq::FIRST,
        repair_bytes: 64 * 1024,
        rate: Rate::from_mbit(10_000),
        pads: false,
        cookies: Cookies::new([6; 16]),
        repair_shares: RepairShares::default(),
    }
}

/// A sender, its clock, and what it sent.
struct Bench {
    sender: RelaySender,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self::with(config(0))
    }

    fn with(config: SenderConfig) -> Self {
        let now = Instant::now();
        let mut bench = Self { sender: RelaySender::new(config, now), now };
        bench.advance(Duration::ZERO);
        bench
    }

    fn advance(&mut self, by: Duration) -> Vec<Transmit> {
        self.now += by;
        self.sender.handle_timeout(self.now);
        self.drain()
    }

    fn drain(&mut self) -> Vec<Transmit> {
        std::iter::from_fn(|| self.sender.poll_transmit()).collect()
    }

    fn send(&mut self, base: u64, payloads: &[usize]) -> Vec<Transmit> {
        self.sender.handle_run(self.now, &run(base, payloads));
        self.sender.flush(self.now);
        self.drain()
    }

    fn hear(&mut self, from: SocketAddrV4, packet_type: PacketType, seq: u64, body: &[u8]) -> Vec<Transmit> {
        self.hear_under(self.sender.tag(), from, packet_type, seq, body)
    }

    fn hear_under(
        &mut self,
        tag: GroupTag,
        from: SocketAddrV4,
        packet_type: PacketType,
        seq: u64,
        body: &[u8],
    ) -> Vec<Transmit> {
        let header = Header { tag, ..self.sender.header(self.now, packet_type, Pkt(1), Seq(seq)) };
        self.sender.handle_datagram(self.now, from, None, &header, body).unwrap();
        self.drain()
    }

    fn nak(&mut self, member: u8, ranges: Vec<NakRange>) -> Vec<Transmit> {
        let from = addr(member);
        let nak = Nak { sender: SenderId([member; 16]), cookie: self.cookie(member), ranges };
        self.hear(from, PacketType::Nak, 0, &body(|out| nak.write(out)))
    }

    fn status(&mut self, member: u8, delivered: u64) -> Vec<Transmit> {
        let status = Status {
            cookie: self.cookie(member),
            device: DeviceId([member; 16]),
            echo_ts_us: self.sender.ts_us(self.now).wrapping_sub(900),
            echo_delay_us: 500,
            ..status_of(member)
        };
        self.hear(addr(member), PacketType::Status, delivered, &body(|out| status.write(out)))
    }

    fn cookie(&self, member: u8) -> Cookie {
        self.sender.config.cookies.of(addr(member))
    }

    fn events(&mut self) -> Vec<SenderEvent> {
        std::iter::from_fn(|| self.sender.poll_event()).collect()
    }
}

fn addr(member: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, member), 5000)
}

fn body(write: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut out = BytesMut::new();
    write(&mut out);
    out
}

/// Makes a run of messages with payloads of these lengths.
fn run(base: u64, lengths: &[usize]) -> Run {
    let payload = |(i, &len): (usize, &usize)| (0..len).map(|b| (b + i) as u8).collect::<Vec<u8>>();
    test_messages::run(base, &lengths.iter().enumerate().map(payload).collect::<Vec<_>>())
}

fn header(transmit: &Transmit) -> Header {
    assert!(transmit.payload.len() <= MAX_DATAGRAM);
    Header::decode(&transmit.payload).unwrap().0
}

fn data(transmit: &Transmit) -> (Header, Vec<u8>) {
    let (header, body) = Header::decode(&transmit.payload).unwrap();
    assert_eq!(header.packet_type, PacketType::Data);
    (header, Data::decode(body, header.has(flags::REPAIR)).unwrap().bytes.to_vec())
}

fn is_multicast(transmit: &Transmit) -> bool {
    matches!(transmit.destination, Destination::Multicast(_))
}

fn heartbeat(transmit: &Transmit) -> (Header, Heartbeat) {
    let (header, body) = Header::decode(&transmit.payload).unwrap();
    assert_eq!(header.packet_type, PacketType::Heartbeat);
    (header, Heartbeat::decode(body).unwrap())
}

#[test]
fn full_datagrams_are_equally_long_where_little_is_lacking() {
    let lengths = |pads, payload_bytes: usize, count: usize| {
        let mut bench = Bench::with(SenderConfig { pads, ..config(0) });
        let sent = bench.send(1, &vec![payload_bytes; count]);
        let lengths: Vec<usize> = sent.iter().map(|transmit| transmit.payload.len()).collect();
        let kept = lengths.iter().sum::<usize>() + sent.len() * size_of::<SentData>();
        assert_eq!(bench.sender.repair_bytes(), kept);
        bench.nak(1, vec![NakRange::messages(Seq(1), Seq(count as u64))]);
        let repairs = bench.advance(TIMING.repair_gather_max).into_iter().filter(|sent| data_seq(sent).is_some());
        assert!(repairs.map(|repair| data(&repair).1).eq(sent.iter().map(|sent| data(sent).1)), "without padding");
        lengths
    };
    let full = DATAGRAM_HEADER + MAX_DATA_BODY;
    let packed = |count: usize, payload_bytes: usize| DATAGRAM_HEADER + 44 + count * (20 + payload_bytes);
    assert_eq!(lengths(true, 64, 30), [full, full, packed(2, 64)]);
    assert_eq!(lengths(false, 64, 30), [packed(14, 64), packed(14, 64), packed(2, 64)]);
    assert_eq!(lengths(true, 1000, 2), [packed(1, 1000), packed(1, 1000)], "too much is lacking");
    assert_eq!(lengths(true, 1100, 2), [full, packed(1, 1100)]);
    assert_eq!(lengths(true, 3000, 1), [full, full, 44 + 20 + 3000 + 3 * DATAGRAM_HEADER - 2 * full], "cut up");
}

#[test]
fn whole_messages_are_packed_and_come_back_out() {
    let mut bench = Bench::new();
    let lengths = [100, 200, 1000, 1192, 0, 5];
    let sent = bench.send(1, &lengths);
    let mut seq = 1;
    for (n, transmit) in sent.iter().enumerate() {
        let (header, bytes) = data(transmit);
        assert_eq!((header.pkt, header.seq, header.fragment), (Pkt(n as u32 + 1), Seq(seq), Fragment::WHOLE));
        let block = Block::parse(&bytes).unwrap();
        for message in block.messages() {
            assert_eq!(message.payload.len(), lengths[seq as usize - 1]);
            assert_eq!(message.client_seq, ClientSeq(seq));
            seq += 1;
        }
    }
    assert_eq!((seq, sent.len()), (7, 4));
    assert!(sent.iter().all(is_multicast));
}

#[test]
fn a_long_message_is_cut_and_joins_again() {
    let mut bench = Bench::new();
    let sent = bench.send(1, &[10, MAX_PAYLOAD, 10]);
    let parts: Vec<_> = sent.iter().map(data).filter(|(header, _)| header.seq == Seq(2)).collect();
    assert_eq!(parts.len(), (MAX_PAYLOAD + 64).div_ceil(MAX_DATA_BODY));
    for (i, (header, _)) in parts.iter().enumerate() {
        assert_eq!(header.fragment, Fragment { index: i as u16, count: parts.len() as u16 });
    }
    let joined: Vec<u8> = parts.into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert_eq!(Block::parse(&joined).unwrap().messages().next().unwrap().payload.len(), MAX_PAYLOAD);
    let pkts: Vec<u32> = sent.iter().map(|transmit| header(transmit).pkt.0).collect();
    assert_eq!(pkts, (1..=sent.len() as u32).collect::<Vec<_>>(), "consecutive");
}

#[test]
fn a_half_full_datagram_waits_at_most_200_us() {
    let mut bench = Bench::new();
    bench.sender.handle_run(bench.now, &run(1, &[5]));
    assert_eq!(bench.drain(), []);
    assert_eq!(bench.sender.poll_timeout(), (bench.now + TIMING.packing_max, WakeReason::Pack));
    assert_eq!(bench.advance(TIMING.packing_max).len(), 1);
    bench.sender.handle_run(bench.now, &run(2, &[5]));
    bench.sender.handle_run(bench.now, &run(3, &[5]));
    bench.sender.flush(bench.now);
    let sent = bench.drain();
    assert_eq!(sent.len(), 1, "messages of two runs share a datagram");
    assert_eq!(Block::parse(&data(&sent[0]).1).unwrap().count(), 2);
}

#[test]
fn heartbeats_thin_out_after_the_last_data() {
    let mut bench = Bench::new();
    bench.send(1, &[5]);
    let began = bench.now;
    let mut at = Vec::new();
    while at.len() < 10 {
        let (next, reason) = bench.sender.poll_timeout();
        assert_eq!(reason, WakeReason::Heartbeat);
        let sent = bench.advance(next - bench.now);
        let (header, heartbeat) = heartbeat(&sent[0]);
        assert_eq!((header.seq, heartbeat.last_pkt, heartbeat.epoch_start), (Seq(1), Pkt(1), Seq(1)));
        assert!(header.pkt >= Pkt::FIRST_OTHER);
        at.push((bench.now - began).as_millis());
    }
    assert_eq!(at, [10, 20, 40, 80, 160, 320, 640, 1280, 2280, 3280]);
}

#[test]
fn one_asker_is_repaired_alone_and_several_together() {
    let mut bench = Bench::new();
    let sent = bench.send(1, &[900, 900, 900]);
    let miss = |seq: u64| vec![NakRange::messages(Seq(seq), Seq(seq))];
    assert_eq!(bench.nak(1, miss(2)), []);
    let repaired = bench.advance(TIMING.repair_gather_max);
    let [repair] = &repaired[..] else { panic!("{repaired:?}") };
    assert_eq!(repair.destination, Destination::Unicast { peer: addr(1), from: None });
    let (header, bytes) = data(repair);
    assert!(header.has(flags::REPAIR) && header.pkt >= Pkt::FIRST_OTHER);
    assert_eq!((header.seq, &bytes), (Seq(2), &data(&sent[1]).1));
    let body = Header::decode(&repair.payload).unwrap().1;
    assert_eq!(Data::decode(body, true).unwrap().original, Some(Pkt(2)));

    bench.nak(1, miss(3));
    bench.nak(2, miss(3));
    let repaired: Vec<_> =
        bench.advance(TIMING.repair_gather_max).into_iter().filter(|t| data_seq(t) == Some(3)).collect();
    assert!(repaired.len() == 1 && is_multicast(&repaired[0]));
}

fn data_seq(transmit: &Transmit) -> Option<u64> {
    let header = header(transmit);
    (header.packet_type == PacketType::Data).then_some(header.seq.0)
}

#[test]
fn repeats_are_ignored_while_the_repair_is_on_its_way() {
    let mut bench = Bench::new();
    bench.send(1, &[900]);
    let miss = vec![NakRange::messages(Seq(1), Seq(1))];
    bench.nak(1, miss.clone());
    assert_eq!(bench.advance(TIMING.repair_gather_max).len(), 1);
    bench.nak(1, miss.clone());
    let quiet = bench.advance(MS).iter().filter_map(data_seq).count();
    assert_eq!((quiet, bench.sender.stats().requests_suppressed), (0, 1));
    bench.advance(FIRST_LINGER);
    bench.nak(1, miss);
    assert_eq!(bench.advance(TIMING.repair_gather_max).iter().filter_map(data_seq).count(), 1);
}

/// Two of the first GRTT estimate.
const FIRST_LINGER: Duration = Duration::from_millis(10);

#[test]
fn an_unproven_address_gets_no_unicast_and_little_else() {
    let mut bench = Bench::new();
    bench.send(1, &[900; 40]);
    let ranges = vec![NakRange::messages(Seq(1), Seq(40))];
    for member in 1..=4 {
        let nak = Nak { sender: SenderId([member; 16]), cookie: Cookie(1), ranges: ranges.clone() };
        let sent = bench.hear(addr(member), PacketType::Nak, 0, &body(|out| nak.write(out)));
        assert_eq!(sent, []);
        let repairs = bench.advance(20 * MS);
        assert!(repairs.iter().all(is_multicast));
        bench.advance(FIRST_LINGER);
    }
    assert_eq!(bench.sender.stats().repairs_unicast, 0);
    assert_eq!(bench.sender.stats().repairs_multicast, 128);
    bench.status(1, 0);
    let status = Status { cookie: Cookie(1), ..status_of(2) };
    bench.hear(addr(2), PacketType::Status, 0, &body(|out| status.write(out)));
    assert_eq!(bench.sender.members().count(), 1, "an unproven member does not count");
}

fn status_of(member: u8) -> Status {
    Status {
        sender: SenderId([member; 16]),
        cookie: Cookie(0),
        device: DeviceId::NONE,
        highest_pkt: Pkt(0),
        received: 0,
        lost: 0,
        repaired: 0,
        echo_ts_us: 0,
        echo_delay_us: 0,
    }
}

#[test]
fn repairs_are_limited_per_nak_and_per_member_and_second() {
    let mut bench = Bench::new();
    bench.send(1, &[1000; 50]);
    let all = vec![NakRange::messages(Seq(1), Seq(u64::MAX / 2)); 32];
    bench.nak(1, all.clone());
    assert!(bench.advance(TIMING.repair_gather_max).iter().filter_map(data_seq).count() <= MAX_REPAIRS_PER_NAK);
    let mut repairs = 0;
    for _ in 0..40 {
        repairs += bench.advance(12 * MS).iter().filter_map(data_seq).count();
        bench.nak(1, all.clone());
    }
    assert!(repairs <= 512, "{repairs}");
    assert!(bench.sender.stats().requests_refused > 0);
}

#[test]
fn what_fell_out_of_the_window_is_not_repaired_and_heartbeats_say_so() {
    let mut bench = Bench::new();
    for n in 0..20 {
        bench.send(n * 5 + 1, &[1000; 5]);
    }
    bench.nak(1, vec![NakRange::messages(Seq(1), Seq(2))]);
    let sent = bench.advance(10 * MS);
    let [only] = &sent[..] else { panic!("{sent:?}") };
    let (header, heartbeat) = heartbeat(only);
    assert_eq!(header.seq, Seq(100));
    assert!(heartbeat.oldest_repairable > Seq(2) && heartbeat.oldest_repairable < Seq(100));
    assert!(bench.sender.repair_bytes() <= 64 * 1024);
}

#[test]
fn one_fragment_can_be_repaired() {
    let mut bench = Bench::new();
    let sent = bench.send(1, &[10_000]);
    bench.nak(1, vec![NakRange { first_seq: Seq(1), last_seq: Seq(1), first_fragment: 3, last_fragment: 4 }]);
    let repairs: Vec<_> = bench.advance(TIMING.repair_gather_max).iter().map(data).collect();
    assert_eq!(repairs.iter().map(|(header, _)| header.fragment.index).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(repairs[0].1, data(&sent[3]).1);
}

#[test]
fn ncf_silences_a_large_group() {
    let mut bench = Bench::new();
    bench.send(1, &[900; 6]);
    let miss = vec![NakRange::messages(Seq(2), Seq(4)), NakRange::messages(Seq(6), Seq(6))];
    (1..=8).for_each(|member| drop(bench.status(member, 1)));
    assert_eq!(bench.nak(1, miss.clone()), [], "eight are few");
    bench.advance(20 * MS);
    bench.advance(20 * MS);
    bench.status(9, 1);
    let confirmed = bench.nak(2, miss.clone());
    let (header, body) = Header::decode(&confirmed[0].payload).unwrap();
    assert_eq!(header.packet_type, PacketType::Ncf);
    assert_eq!(Ncf::decode(body).unwrap().ranges, miss);
    assert_eq!(bench.nak(3, miss), [], "confirmed already");
}

#[test]
fn a_confirmation_that_was_not_heard_is_sent_again() {
    let mut bench = Bench::new();
    bench.send(1, &[900; 6]);
    (1..=40).for_each(|member| drop(bench.status(member, 1)));
    let miss = vec![NakRange::messages(Seq(2), Seq(2))];
    let confirmations: usize = (1..=33).map(|member| bench.nak(member, miss.clone()).len()).sum();
    assert_eq!(confirmations, 1 + 32 / 8, "by the first who asks, and by each eighth who asks all the same");
}

#[test]
fn what_a_confirmation_named_goes_to_all_that_it_silenced() {
    let mut bench = Bench::new();
    bench.send(1, &[900; 6]);
    (1..=9).for_each(|member| drop(bench.status(member, 1)));
    let confirmed = bench.nak(2, vec![NakRange::messages(Seq(2), Seq(3))]);
    assert_eq!(header(&confirmed[0]).packet_type, PacketType::Ncf);
    let repairs: Vec<_> =
        bench.advance(TIMING.repair_gather_max).into_iter().filter(|sent| data_seq(sent).is_some()).collect();
    assert_eq!(repairs.len(), 2);
    assert!(repairs.iter().all(is_multicast), "one asked, and nobody knows how many were silenced");
}

#[test]
fn a_probe_is_answered_with_a_cookie_and_a_heartbeat_soon() {
    let mut bench = Bench::new();
    bench.advance(3 * Duration::from_secs(1));
    bench.advance(100 * MS);
    bench.advance(15 * MS);
    let probe = Probe { sender: SenderId([1; 16]), nonce: 42, cookie: Cookie(0) };
    let question = body(|out| probe.write(out));
    let answer = bench.hear(addr(1), PacketType::Probe, 0, &question);
    let (header, body) = Header::decode(&answer[0].payload).unwrap();
    assert!(header.has(flags::RESPONSE) && body.len() == question.len());
    assert_eq!(Probe::decode(body).unwrap(), Probe { cookie: bench.cookie(1), ..probe });
    assert_eq!(answer[0].destination, Destination::Unicast { peer: addr(1), from: None });
    assert_eq!(bench.advance(Duration::ZERO).len(), 1);
    for _ in 0..100 {
        bench.hear(addr(1), PacketType::Probe, 0, &question);
    }
    assert_eq!(bench.advance(Duration::ZERO).len(), 0, "no sooner than 10 ms after the last");
    assert_eq!(bench.advance(TIMING.heartbeat_min).len(), 1);
}

#[test]
fn status_gives_round_trip_size_and_receipts() {
    let mut bench = Bench::new();
    bench.status(1, 0);
    bench.status(2, 0);
    assert_eq!(bench.events().len(), 4);
    bench.send(1, &[5, 5]);
    bench.status(1, 2);
    bench.status(3, 2);
    assert_eq!(
        bench.sender.audience().roster().receipt(Seq(2)),
        Receipt { heard: 1, present: 2, silent: 0, absent: 1 }
    );
    bench.status(2, 1);
    assert_eq!(
        bench.sender.audience().roster().receipt(Seq(1)),
        Receipt { heard: 2, present: 2, silent: 0, absent: 1 }
    );
    let expected = SenderEvent::Delivered { member: SenderId([2; 16]), upto: Seq(1) };
    assert_eq!(bench.events().last(), Some(&expected));
    assert_eq!(bench.sender.members().next().unwrap().1.round_trip, Some(Duration::from_micros(400)));

    for _ in 0..8 {
        bench.advance(Duration::from_millis(700));
        bench.status(1, 2);
    }
    assert_eq!(bench.sender.members().count(), 1);
    assert!(bench.events().contains(&SenderEvent::MemberLost(SenderId([3; 16]))));
    bench.send(3, &[5]);
    assert_eq!(
        bench.sender.audience().roster().receipt(Seq(3)),
        Receipt { heard: 0, present: 1, silent: 0, absent: 2 }
    );
    let sent = bench.advance(TIMING.heartbeat_min);
    let told = heartbeat(&sent[0]).1;
    assert_eq!(told.group_size, 1);
    assert!(told.grtt_us < 5000, "falls from the first estimate: {}", told.grtt_us);
}

#[test]
fn another_epoch_is_not_heard() {
    let mut bench = Bench::new();
    bench.send(1, &[5]);
    let nak =
        Nak { sender: SenderId([1; 16]), cookie: bench.cookie(1), ranges: vec![NakRange::messages(Seq(1), Seq(1))] };
    let sent = bench.drain();
    assert_eq!(sent, []);
    let header = Header { epoch: Epoch(3), ..bench.sender.header(bench.now, PacketType::Nak, Pkt(1), Seq::ZERO) };
    let nak = body(|out| nak.write(out));
    bench.sender.handle_datagram(bench.now, addr(1), None, &header, &nak).unwrap();
    assert_eq!(bench.advance(TIMING.repair_gather_max), []);
}

#[test]
fn used_up_numbers_ask_for_a_new_epoch() {
    let mut bench = Bench::new();
    bench.sender.numbers = PktNumbers::with_data_left(1);
    assert_eq!(bench.send(1, &[5]).len(), 1);
    assert_eq!(bench.send(2, &[5]).len(), 0);
    assert_eq!(bench.events(), [SenderEvent::EpochExhausted]);
    assert_eq!(heartbeat(&bench.advance(TIMING.heartbeat_min)[0]).0.seq, Seq(2));
}
