//! A relay's sender under a hostile script: what is first sent, what one input can draw, bounds, and timers that come
//! to rest.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use gaung_engine::{Cookies, RelaySender, RepairShares, SenderConfig};
use gaung_proto::{
    DeviceId, Generation, GroupAddr, Pkt, SenderId, Seq,
    body::{Cookie, Nak, NakRange, Probe, Status},
    datagram::{Header, PacketType, flags},
    limits::MAX_DATAGRAM,
};

use super::script::{EPOCH, GROUP, LOG, Script};

const REPAIR_BYTES: usize = 64 * 1024;
/// Above the budget by one message at most.
const MAX_REPAIR_BYTES: usize = REPAIR_BYTES + 64 * 1024;
/// Datagrams that one step may draw: a run's, or a full gathering of repairs.
const MAX_PER_STEP: usize = 16 * 1024;
const KEY: [u8; 16] = [5; 16];

/// Reads `input` as steps.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let start = Instant::now();
    let mut fuzzed =
        Fuzzed { sender: RelaySender::new(config(), start), now: start, head: Seq::ZERO, next_pkt: Pkt(1), skipped: 0 };
    while !script.is_over() {
        fuzzed.step(&mut script);
        fuzzed.take_transmits();
        fuzzed.come_to_rest();
        assert!(fuzzed.sender.repair_bytes() <= MAX_REPAIR_BYTES);
        while fuzzed.sender.poll_event().is_some() {}
    }
}

fn config() -> SenderConfig {
    SenderConfig {
        group: GROUP,
        log: LOG,
        epoch: EPOCH,
        generation: Generation(1),
        addr: GroupAddr::new(Ipv4Addr::new(239, 255, 1, 1), 20_000).expect("multicast"),
        ttl: 1,
        head: Seq::ZERO,
        oldest_logged: Seq::FIRST,
        repair_bytes: REPAIR_BYTES,
        rate: gaung_engine::Rate::from_mbit(8),
        pads: true,
        cookies: Cookies::new(KEY),
        repair_shares: RepairShares::default(),
    }
}

struct Fuzzed {
    sender: RelaySender,
    now: Instant,
    head: Seq,
    /// Of the next first-sent DATA.
    next_pkt: Pkt,
    /// As known when the last one left.
    skipped: u64,
}

impl Fuzzed {
    fn step(&mut self, script: &mut Script<'_>) {
        match script.u8() % 16 {
            0..4 => {
                let run = script.run(self.head.next());
                self.head = run.last_seq();
                self.sender.handle_run(self.now, &run);
            }
            4 => self.sender.flush(self.now),
            5 => self.now += Duration::from_micros(script.u16().into()),
            6 => self.now += Duration::from_millis(script.u16().into()),
            7 => self.sender.set_oldest_logged(script.seq(self.head)),
            8..14 => self.take_from_member(script),
            _ => {
                let header = script.header(self.sender.tag(), self.head);
                let body = script.body();
                self.take(script, &header, &body[..body.len().min(1280)]);
            }
        }
    }

    /// A NAK, STATUS or PROBE with good fields and, mostly, a good cookie.
    fn take_from_member(&mut self, script: &mut Script<'_>) {
        let from = peer(script.u8());
        let sender = SenderId([script.u8() % 16; 16]);
        let cookie = if script.u8() < 32 { Cookie(script.u64()) } else { Cookies::new(KEY).of(from) };
        let mut body = BytesMut::new();
        let packet_type = match script.u8() % 3 {
            0 => {
                let ranges = (0..script.u8() % 32 + 1).map(|_| {
                    let first = script.seq(self.head).max(Seq(1));
                    NakRange::messages(first, first.plus(script.u8().into()))
                });
                Nak { sender, cookie, ranges: ranges.collect() }.write(&mut body);
                PacketType::Nak
            }
            1 => {
                Status {
                    sender,
                    cookie,
                    device: DeviceId::NONE,
                    highest_pkt: Pkt(script.u16().into()),
                    received: script.u16().into(),
                    lost: script.u16().into(),
                    repaired: script.u16().into(),
                    echo_ts_us: script.u16().into(),
                    echo_delay_us: script.u16().into(),
                }
                .write(&mut body);
                PacketType::Status
            }
            _ => {
                Probe { sender, nonce: script.u64(), cookie }.write(&mut body);
                PacketType::Probe
            }
        };
        let header = Header {
            packet_type,
            flags: 0,
            epoch: EPOCH,
            fragment: gaung_proto::datagram::Fragment::WHOLE,
            ..script.header(self.sender.tag(), self.head)
        };
        let datagram = header.encode(&body);
        if let Ok((header, body)) = Header::decode(&datagram) {
            let _refused = self.sender.handle_datagram(self.now, from, None, &header, body);
        }
    }

    fn take(&mut self, script: &mut Script<'_>, header: &Header, body: &[u8]) {
        let datagram = header.encode(body);
        if let Ok((header, body)) = Header::decode(&datagram) {
            let _refused = self.sender.handle_datagram(self.now, peer(script.u8()), None, &header, body);
        }
    }

    /// First-sent DATA have consecutive pkts, those skipped counted; everything else counts from 2³¹.
    fn take_transmits(&mut self) {
        for sent in 0.. {
            let Some(transmit) = self.sender.poll_transmit() else { return };
            assert!(sent < MAX_PER_STEP, "one input makes no flood");
            assert!(transmit.payload.len() <= MAX_DATAGRAM);
            let (header, _) = Header::decode(&transmit.payload).expect("the relay sends what can be read");
            if header.packet_type == PacketType::Data && !header.has(flags::REPAIR) {
                let skipped = self.sender.stats().data_skipped;
                assert!(header.pkt == self.next_pkt || (header.pkt > self.next_pkt && skipped > self.skipped));
                self.skipped = skipped;
                self.next_pkt = Pkt(header.pkt.0 + 1);
            } else {
                assert!(header.pkt >= Pkt::FIRST_OTHER);
            }
        }
    }

    /// A driver that calls when it is asked to must be asked for a later time soon, or it would spin.
    fn come_to_rest(&mut self) {
        for _ in 0..8 {
            self.sender.handle_timeout(self.now);
            self.take_transmits();
            if self.sender.poll_timeout().0 > self.now {
                return;
            }
        }
        panic!("still due now after 8 calls");
    }
}

fn peer(number: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, number), 5000)
}
