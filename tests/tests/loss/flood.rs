//! NAKs by the thousand, from a member whose address is proven and from a stranger: what they draw is little, and nobody
//! else notices.

use std::{
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use gaung_proto::{
    Epoch, Pkt, SenderId, Seq,
    body::{Cookie, Heartbeat, Nak, NakRange, Probe},
    datagram::{Fragment, Header, PacketType, flags},
    limits::MAX_NAK_RANGES,
    ports,
};
use gaung_tests::{
    crowd::{self, Speaker, by_lane, check_all, gaung},
    lab::{Host, Lab},
    needs,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{BYTES, alone, is_unharmed, latency, members, setting, up};

const RATE: u32 = 200;
const NAKS_A_SECOND: u32 = 2000;
/// Datagrams that one proven address, and all others together, can draw in a second; see `sender/limits.rs` of the engine.
const REPAIRS_OF_A_MEMBER: f64 = 512.0;
const REPAIRS_OF_STRANGERS: f64 = 128.0;
/// Seconds of the relay's begin when they like, and what was asked for in the last one is sent in the next.
const MORE_SECONDS: f64 = 2.0;
const LONG: Duration = Duration::from_secs(10);

#[test]
fn a_flood_of_naks_draws_little_and_harms_nobody() {
    needs!(Namespaces, Nft);
    let _alone = alone();
    let seconds = setting("GAUNG_LOSS_FLOOD", 4);
    let data = TempDir::new().expect("a temporary folder");
    let lab = Lab::new(6);
    let relay = lab.host(0);
    let _server = up(relay, data.path());
    let _ = gaung(relay, data.path(), &["group", "create", "lobby"]).end().expect_code(0);
    let group = address_of(relay, data.path(), "lobby");
    let (attacker, honest) = (lab.host(5), &members(&lab)[..4]);
    let listeners = crowd::listen(honest, data.path(), "lobby", &["--lane", "multicast"]);
    let mut speaker = Speaker::start(relay, data.path(), "lobby", BYTES, RATE);
    let mut phases = vec![("before", 0..speaker.say_for(3))];
    for (who, limit) in [("a member", REPAIRS_OF_A_MEMBER), ("a stranger", REPAIRS_OF_STRANGERS)] {
        let from = speaker.said().len();
        let before = Drawn::of(relay);
        let sent = thread::scope(|scope| {
            let is_member = who == "a member";
            let flood = scope.spawn(move || attacker.within(|| flood(attacker, relay, group, is_member, seconds)));
            speaker.say_for(seconds);
            flood.join().expect("the attacker sends")
        });
        phases.push((who, from..speaker.said().len()));
        let drawn = Drawn::of(relay).since(&before);
        println!("{who}: {sent} NAKs of {MAX_NAK_RANGES} ranges in {seconds} s drew {drawn:?}");
        assert!(drawn.naks > f64::from(NAKS_A_SECOND) * seconds as f64 * 0.1, "the flood arrives: {drawn:?}");
        assert!(drawn.refused > 0.0, "and is more than the limit lets through: {drawn:?}");
        let most = limit * (seconds as f64 + MORE_SECONDS);
        assert!(drawn.repairs > 0.0 && drawn.repairs <= most, "{who}: more than {most} repairs: {drawn:?}");
    }
    phases.push(("after", speaker.said().len()..speaker.say_for(2)));
    let count = speaker.said().len();
    let said = speaker.end();
    for (number, member) in (1..).zip(&listeners) {
        let lines = member.stdout_lines(count);
        let heard = check_all("a listener", &lines, count);
        assert_eq!(by_lane(&heard, "multicast"), count, "each by datagram");
        let times = member.stdout_times();
        let before = latency(&said, &times, phases[0].1.clone());
        for (phase, range) in &phases {
            let (p50, p99) = latency(&said, &times, range.clone());
            println!("member {number}, {phase}: latency p50 {p50:.2} ms, p99 {p99:.2} ms");
            assert!(is_unharmed(before, (p50, p99)), "member {number}, {phase}: {before:?} before, now {p50:.2} ms");
        }
    }
}

/// What the relay's figures say of repair.
#[derive(Debug)]
struct Drawn {
    naks: f64,
    repairs: f64,
    refused: f64,
}

impl Drawn {
    fn of(relay: &Host) -> Self {
        let figures = relay.figures(ports::RELAY_METRICS);
        let sum = |names: &[&str]| -> f64 {
            let wanted = figures.iter().filter(|(name, _)| names.iter().all(|part| name.contains(part)));
            wanted.map(|(_, value)| value).sum()
        };
        let repairs = sum(&["relay_datagrams_sent", "repair"]) + sum(&["relay_datagrams_sent", "parity"]);
        Self { naks: sum(&["relay_naks_received"]), repairs, refused: sum(&["relay_repair_asks_refused"]) }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            naks: self.naks - before.naks,
            repairs: self.repairs - before.repairs,
            refused: self.refused - before.refused,
        }
    }
}

fn address_of(relay: &Host, data: &Path, group: &str) -> SocketAddrV4 {
    let shown = gaung(relay, data, &["group", "show", group, "--json"]).end().expect_code(0).stdout;
    let shown: Value = serde_json::from_str(&shown[0]).expect("one object");
    let at = format!("{}:{}", shown["address"].as_str().expect("an address"), shown["port"]);
    at.parse().expect("an address and a port")
}

/// Asks for everything that can be repaired; gives how many NAKs.
fn flood(attacker: &Host, relay: &Host, group: SocketAddrV4, is_member: bool, seconds: usize) -> u32 {
    let own = UdpSocket::bind((attacker.ip(), 0)).expect("a free port");
    own.connect((relay.ip(), ports::RELAY_UDP)).expect("an address");
    let (header, heartbeat) = hear(attacker.ip(), group);
    let cookie = if is_member { prove(&own, &header) } else { Cookie(1) };
    let (began, mut sent) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(seconds as u64) {
        let due = (began.elapsed().as_secs_f64() * f64::from(NAKS_A_SECOND)) as u32;
        while sent < due {
            sent += 1;
            let first = heartbeat.oldest_repairable.0 + u64::from(sent) % 100;
            let range = |index: u64| NakRange::messages(Seq(first + index * 50), Seq(first + index * 50 + 49));
            let ranges = (0..MAX_NAK_RANGES as u64).map(range).collect();
            let nak = Nak { sender: SenderId([0xee; 16]), cookie, ranges };
            let _ = own.send(&datagram(&header, PacketType::Nak, header.epoch, |out| nak.write(out)));
        }
        // The rate is what is being made here; there is nothing to wait for.
        thread::sleep(Duration::from_millis(1));
    }
    sent
}

fn hear(own: Ipv4Addr, group: SocketAddrV4) -> (Header, Heartbeat) {
    let socket = UdpSocket::bind(group).expect("nobody else has the port here");
    socket.join_multicast_v4(group.ip(), &own).expect("an interface");
    socket.set_read_timeout(Some(LONG)).expect("more than zero");
    let mut buffer = [0; 2048];
    loop {
        let length = socket.recv(&mut buffer).expect("a heartbeat comes");
        let (header, body) = Header::decode(&buffer[..length]).expect("the relay's");
        if header.packet_type == PacketType::Heartbeat {
            return (header, Heartbeat::decode(body).expect("the relay's"));
        }
    }
}

fn prove(own: &UdpSocket, header: &Header) -> Cookie {
    let probe = Probe { sender: SenderId([0xee; 16]), nonce: 7, cookie: Cookie(0) };
    own.set_read_timeout(Some(LONG)).expect("more than zero");
    own.send(&datagram(header, PacketType::Probe, Epoch(0), |out| probe.write(out))).expect("it is sent");
    let mut buffer = [0; 2048];
    let length = own.recv(&mut buffer).expect("the relay answers");
    let (answer, body) = Header::decode(&buffer[..length]).expect("the relay's");
    assert!(answer.has(flags::RESPONSE));
    Probe::decode(body).expect("the relay's").cookie
}

fn datagram(group: &Header, packet_type: PacketType, epoch: Epoch, write: impl FnOnce(&mut BytesMut)) -> bytes::Bytes {
    let mut body = BytesMut::new();
    write(&mut body);
    let header = Header {
        packet_type,
        flags: 0,
        tag: group.tag,
        epoch,
        pkt: Pkt(1),
        seq: Seq::ZERO,
        fragment: Fragment::WHOLE,
        ts_us: 0,
    };
    header.encode(&body)
}
