//! Datagrams a second from one driver to another by multicast, and the CPU time of both, by how they are batched; as
//! ratios to one system call a datagram. At most 30 s.
//!
//! `cargo bench -p gaung-net [-- --json]`: over loopback, and as root also over a veth pair between two network
//! namespaces of its own. Medians of 5 rounds in turn. The sender's thread also pays for what the kernel does on the way
//! to the receiver's socket.
#![allow(clippy::unwrap_used, missing_docs)]

mod path;

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::mpsc::{SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_engine::{Destination, Transmit};
use gaung_net::{
    SenderAddr, SocketError,
    driver::{Batching, CommandSender, Drive, Driver, DriverHandle, DriverSockets, SocketChange, SocketId, SocketUse},
    interface::Link,
    multicast::{DataSocket, GroupSocket},
};
use nix::time::{ClockId, clock_gettime};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use path::Path;

const ROUNDS: usize = 5;
const EACH: Duration = Duration::from_millis(200);
/// Datagrams on their way at most, fewer than a socket holds; of those that go alone one.
const WINDOW: u64 = 512;
const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 250, 99), 29_017);

/// One line of the table.
#[derive(Clone, Copy)]
struct BatchingCase {
    lengths: &'static str,
    sending: Batching,
    receiving: Batching,
}

const CASES: [BatchingCase; 11] = {
    use Batching::{Messages, Segments, Single};
    const fn case(lengths: &'static str, sending: Batching, receiving: Batching) -> BatchingCase {
        BatchingCase { lengths, sending, receiving }
    }
    [
        case("equal", Single, Single),
        case("equal", Messages, Single),
        case("equal", Segments, Single),
        case("equal", Messages, Messages),
        case("equal", Segments, Segments),
        case("mixed", Single, Single),
        case("mixed", Messages, Messages),
        case("mixed", Segments, Segments),
        case("alone", Single, Single),
        case("alone", Messages, Messages),
        case("alone", Segments, Segments),
    ]
};

impl BatchingCase {
    fn window(self) -> u64 {
        if self.lengths == "alone" { 1 } else { WINDOW }
    }
}

#[derive(Clone, Copy)]
struct Measured {
    datagrams_per_second: f64,
    /// CPU seconds per million datagrams.
    sending: f64,
    receiving: f64,
}

fn main() {
    let json = std::env::args().any(|arg| arg == "--json");
    let paths: Vec<Path> = [Some(Path::loopback()), Path::veth()].into_iter().flatten().collect();
    if !json {
        println!(
            "{:>8} {:>7} {:>8} {:>8} {:>13} {:>6} {:>11} {:>6} {:>11} {:>6}",
            "over", "lengths", "sending", "reading", "datagrams/s", "ratio", "send s/M", "ratio", "read s/M", "ratio"
        );
    }
    for path in &paths {
        let mut rounds: Vec<Vec<Measured>> = vec![Vec::new(); CASES.len()];
        for _ in 0..ROUNDS {
            for (case, measured) in CASES.iter().zip(&mut rounds) {
                measured.push(measure(path, *case));
            }
        }
        let mut base = None;
        for (case, measured) in CASES.iter().zip(&rounds) {
            let line = median(measured);
            if case.sending == Batching::Single {
                base = Some(line);
            }
            print(path, case, line, base.unwrap_or(line), json);
        }
    }
}

fn median(rounds: &[Measured]) -> Measured {
    let of = |figure: fn(&Measured) -> f64| {
        let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    Measured {
        datagrams_per_second: of(|measured| measured.datagrams_per_second),
        sending: of(|measured| measured.sending),
        receiving: of(|measured| measured.receiving),
    }
}

fn print(path: &Path, case: &BatchingCase, line: Measured, base: Measured, json: bool) {
    let BatchingCase { lengths, sending, receiving } = case;
    let (sending, receiving, over) = (name(*sending), name(*receiving), path.name);
    let ratios = [
        line.datagrams_per_second / base.datagrams_per_second,
        line.sending / base.sending,
        line.receiving / base.receiving,
    ];
    if json {
        println!(
            "{{\"over\":\"{over}\",\"lengths\":\"{lengths}\",\"sending\":\"{sending}\",\"receiving\":\"{receiving}\",\
             \"datagrams_per_s\":{:.0},\"ratio\":{:.3},\"send_cpu_s_per_million\":{:.4},\"send_ratio\":{:.3},\
             \"receive_cpu_s_per_million\":{:.4},\"receive_ratio\":{:.3}}}",
            line.datagrams_per_second, ratios[0], line.sending, ratios[1], line.receiving, ratios[2]
        );
    } else {
        println!(
            "{over:>8} {lengths:>7} {sending:>8} {receiving:>8} {:>13.0} {:>6.2} {:>11.3} {:>6.2} {:>11.3} {:>6.2}",
            line.datagrams_per_second, ratios[0], line.sending, ratios[1], line.receiving, ratios[2]
        );
    }
}

const fn name(batching: Batching) -> &'static str {
    match batching {
        Batching::Single => "single",
        Batching::Messages => "messages",
        Batching::Segments => "segments",
    }
}

fn measure(path: &Path, case: BatchingCase) -> Measured {
    let sender = path.sender.run(move |link| {
        let data = DataSocket::open(link, 0).unwrap();
        let sockets = DriverSockets::new().data(SocketId(0), data, SocketUse { receive: false, multicast: true });
        Driver::spawn("talk", sockets.batching(case.sending), Talk::new(case)).unwrap()
    });
    let acks = sender.sender();
    let receiver = path.receiver.run(move |link| {
        let group = GroupSocket::open(GROUP, std::slice::from_ref(link)).unwrap();
        let sockets = DriverSockets::new().group(SocketId(0), group).batching(case.receiving);
        Driver::spawn("hear", sockets, Hear { acks, ack_after: case.window().div_ceil(4), heard: 0, acked: 0 }).unwrap()
    });
    let cpu = || [sender_cpu(&sender), receiver_cpu(&receiver)];
    let (before, started) = (cpu(), Instant::now());
    sender.send(ToTalk::Go).unwrap();
    thread::sleep(EACH);
    let (reply, sent) = sync_channel(1);
    sender.send(ToTalk::Stop(reply)).unwrap();
    let (sent, took) = (sent.recv().unwrap(), started.elapsed());
    let counters = receiver.counters();
    let deadline = Instant::now() + Duration::from_secs(2);
    while counters.received_datagrams() < sent {
        assert!(Instant::now() < deadline, "{} of {sent} datagrams arrived", counters.received_datagrams());
        thread::yield_now();
    }
    let after = cpu();
    receiver.stop().unwrap();
    sender.stop().unwrap();
    let spent = |at: usize| (after[at] - before[at]).as_secs_f64() * 1e6 / sent as f64;
    Measured { datagrams_per_second: sent as f64 / took.as_secs_f64(), sending: spent(0), receiving: spent(1) }
}

fn sender_cpu(driver: &DriverHandle<ToTalk>) -> Duration {
    let (reply, answer) = sync_channel(1);
    driver.send(ToTalk::Cpu(reply)).unwrap();
    answer.recv().unwrap()
}

fn receiver_cpu(driver: &DriverHandle<SyncSender<Duration>>) -> Duration {
    let (reply, answer) = sync_channel(1);
    driver.send(reply).unwrap();
    answer.recv().unwrap()
}

fn own_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

/// Sends numbered datagrams, as many as the window lets.
struct Talk {
    /// Of each length that is used.
    payloads: Vec<Bytes>,
    window: u64,
    going: bool,
    sent: u64,
    acked: u64,
}

#[derive(Debug)]
enum ToTalk {
    Go,
    Acked(u64),
    Stop(SyncSender<u64>),
    Cpu(SyncSender<Duration>),
}

impl Talk {
    fn new(case: BatchingCase) -> Self {
        let mut rng = SmallRng::seed_from_u64(17);
        let length = |_| if case.lengths == "mixed" { rng.random_range(200..=1392) } else { 1392 };
        let payloads = (0..WINDOW).map(length).map(|length| Bytes::from(vec![0; length])).collect();
        Self { payloads, window: case.window(), going: false, sent: 0, acked: 0 }
    }
}

impl Drive for Talk {
    type Command = ToTalk;

    fn handle_command(&mut self, _now: Instant, command: ToTalk) {
        match command {
            ToTalk::Go => self.going = true,
            ToTalk::Acked(acked) => self.acked = acked,
            ToTalk::Stop(reply) => {
                self.going = false;
                reply.send(self.sent).unwrap();
            }
            ToTalk::Cpu(reply) => reply.send(own_cpu()).unwrap(),
        }
    }

    fn handle_datagram(&mut self, _now: Instant, _socket: SocketId, _from: SenderAddr, _bytes: &[u8]) {}

    fn handle_timeout(&mut self, _now: Instant) {}

    fn handle_socket(&mut self, _now: Instant, _socket: SocketId, _outcome: Result<Vec<Link>, SocketError>) {}

    fn poll_transmit(&mut self) -> Option<Transmit> {
        if !self.going || self.sent - self.acked >= self.window {
            return None;
        }
        let payload = self.payloads[(self.sent % WINDOW) as usize].clone();
        self.sent += 1;
        Some(Transmit { destination: Destination::Multicast(GROUP), payload, ttl: 1 })
    }

    fn poll_socket_change(&mut self) -> Option<SocketChange> {
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// Counts what it hears, and says so now and then.
struct Hear {
    acks: CommandSender<ToTalk>,
    ack_after: u64,
    heard: u64,
    acked: u64,
}

impl Drive for Hear {
    type Command = SyncSender<Duration>;

    fn handle_command(&mut self, _now: Instant, reply: SyncSender<Duration>) {
        reply.send(own_cpu()).unwrap();
    }

    fn handle_datagram(&mut self, _now: Instant, _socket: SocketId, _from: SenderAddr, _bytes: &[u8]) {
        self.heard += 1;
        if self.heard - self.acked >= self.ack_after {
            self.acked = self.heard;
            let _ = self.acks.send(ToTalk::Acked(self.acked));
        }
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn handle_socket(&mut self, _now: Instant, _socket: SocketId, _outcome: Result<Vec<Link>, SocketError>) {}

    fn poll_transmit(&mut self) -> Option<Transmit> {
        None
    }

    fn poll_socket_change(&mut self) -> Option<SocketChange> {
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}
