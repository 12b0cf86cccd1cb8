//! Ring and cursors alone: deliveries a second to writers in memory, beside the bare copies that they end in.
//!
//! `cargo bench -p broadcast-hub`; prints one line for each number of sessions and size of message. A writer copies
//! what it is given, as a socket would; the ratio is the time of fan-out over that of the same copies without it. A writer by TLS
//! encrypts it besides, for which the ratio is the time over that of fan-out in plaintext, once in memory and once over loopback, where the
//! system's share is the larger; the last line is the memory of a session by TLS that is idle.
#![allow(clippy::unwrap_used)]

use std::{
    hint::black_box,
    io::{IoSlice, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, LazyLock},
    thread,
    time::{Duration, Instant},
};

use ed25519_dalek::SigningKey;
use gaung_engine::{Fanout, FanoutLimits, HotRing, RingRead, RingTake, RunPiece};
use gaung_proto::{
    ClientId, ClientSeq, ContentType, DeviceId, Epoch, GroupId, LogId, RelayId, Seq,
    block::{Author, BlockBuilder, MessageRef, SentAt},
    run::{Run, RunHeader},
};
use gaung_site::{ExpectedSite, Role, SiteAuthority, device_proof, tls};
use rustls::{
    ClientConfig, ClientConnection, ServerConfig, ServerConnection, pki_types::UnixTime,
    time_provider::DefaultTimeProvider,
};
use service_kit::secure::ServiceCredentials;

const ROLE: Role = Role::Hub(RelayId([3; 16]));
const GROUP: GroupId = GroupId([2; 16]);
const RUNS: u64 = 64;
const MEASURED: Duration = Duration::from_millis(500);

fn main() {
    // First, while no memory was freed that the sessions could use again.
    let idle_kib = idle_kib();
    let shapes = [(10, 100, 1), (100, 100, 1), (1000, 100, 1), (100, 100, 32), (1000, 1000, 32)];
    print_head("/memcpy");
    for (sessions, payload, per_run) in shapes {
        let runs = runs(payload, per_run);
        let fanned = repeat(|| fan_out(&runs, in_memory(sessions)));
        print_row(&runs, sessions, payload, fanned, repeat(|| copy(&runs, sessions)));
    }
    println!("\nby TLS");
    print_head("/plain");
    for (sessions, payload, per_run) in shapes {
        let runs = runs(payload, per_run);
        let mut connections: Vec<TlsWriter> = (0..sessions).map(|_| TlsWriter::new()).collect();
        let encrypted = repeat(|| fan_out(&runs, connections.iter_mut()));
        print_row(&runs, sessions, payload, encrypted, repeat(|| fan_out(&runs, in_memory(sessions))));
    }
    println!("\nby TLS over loopback");
    print_head("/plain");
    for (sessions, payload, per_run) in [(100, 100, 1), (100, 100, 32), (100, 1000, 32)] {
        let runs = runs(payload, per_run);
        let mut plain: Vec<SocketWriter> = (0..sessions).map(|_| SocketWriter::new(None)).collect();
        let written = repeat(|| fan_out(&runs, plain.iter_mut()));
        let mut secure: Vec<SocketWriter> = (0..sessions).map(|_| SocketWriter::new(Some(connect()))).collect();
        let encrypted = repeat(|| fan_out(&runs, secure.iter_mut()));
        print_row(&runs, sessions, payload, encrypted, written);
    }
    println!("\n{idle_kib:.1} KiB of memory for each idle session by TLS");
}

fn print_head(ratio: &str) {
    println!(
        "{:>8} {:>8} {:>12} {:>14} {:>10} {ratio:>8}",
        "sessions", "payload", "messages/run", "deliveries/s", "GB/s"
    );
}

fn print_row(runs: &[Run], sessions: usize, payload: usize, time: Duration, reference: Duration) {
    let per_run = runs[0].last_seq().0 - runs[0].first_seq().0 + 1;
    let messages = per_run as f64 * (runs.len() * sessions) as f64;
    let bytes = runs.iter().map(|run| run.as_bytes().len()).sum::<usize>() as f64 * sessions as f64;
    let seconds = time.as_secs_f64();
    let ratio = seconds / reference.as_secs_f64();
    let (rate, volume) = (messages / seconds, bytes / seconds / 1e9);
    println!("{sessions:>8} {payload:>8} {per_run:>12} {rate:>14.0} {volume:>10.2} {ratio:>8.2}");
}

fn runs(payload: usize, per_run: u64) -> Vec<Run> {
    (0..RUNS).map(|i| run(1 + i * per_run, per_run, payload)).collect()
}

fn in_memory(sessions: usize) -> impl Iterator<Item = Vec<u8>> {
    (0..sessions).map(|_| Vec::with_capacity(64 * 1024))
}

/// What a session writes to.
trait SessionWriter {
    fn write(&mut self, fanout: &Fanout);
}

impl SessionWriter for Vec<u8> {
    fn write(&mut self, fanout: &Fanout) {
        self.clear();
        fanout.slices().for_each(|slice| self.extend_from_slice(slice));
        black_box(&self);
    }
}

/// The hub's end of a connection by TLS, with memory in place of a socket.
struct TlsWriter {
    tls: ServerConnection,
    socket: Vec<u8>,
}

impl SessionWriter for &mut TlsWriter {
    fn write(&mut self, fanout: &Fanout) {
        let slices: Vec<IoSlice<'_>> = fanout.slices().map(IoSlice::new).collect();
        let taken = self.tls.writer().write_vectored(&slices).unwrap();
        assert_eq!(taken, slices.iter().map(|slice| slice.len()).sum::<usize>());
        self.socket.clear();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket).unwrap();
        }
        black_box(&self.socket);
    }
}

impl TlsWriter {
    fn new() -> Self {
        Self { tls: connect(), socket: Vec::with_capacity(64 * 1024) }
    }
}

/// The hub's end of a connection over loopback, whose other end reads and drops everything.
struct SocketWriter {
    socket: TcpStream,
    tls: Option<ServerConnection>,
}

impl SocketWriter {
    fn new(tls: Option<ServerConnection>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        // Ends when the writer is dropped.
        thread::spawn(move || std::io::copy(&mut peer, &mut std::io::sink()));
        let socket = listener.accept().unwrap().0;
        socket.set_nodelay(true).unwrap();
        Self { socket, tls }
    }
}

impl SessionWriter for &mut SocketWriter {
    fn write(&mut self, fanout: &Fanout) {
        let Some(tls) = &mut self.tls else {
            return fanout.slices().for_each(|slice| self.socket.write_all(slice).unwrap());
        };
        let slices: Vec<IoSlice<'_>> = fanout.slices().map(IoSlice::new).collect();
        let taken = tls.writer().write_vectored(&slices).unwrap();
        assert_eq!(taken, slices.iter().map(|slice| slice.len()).sum::<usize>());
        while tls.wants_write() {
            tls.write_tls(&mut self.socket).unwrap();
        }
    }
}

/// Makes a connection and returns the hub's end.
fn connect() -> ServerConnection {
    static HUB: LazyLock<(Arc<ServerConfig>, Arc<ClientConfig>)> = LazyLock::new(|| {
        let site = SiteAuthority::create().unwrap();
        let credentials = ServiceCredentials::issue(&site, ROLE, &[], UnixTime::now()).unwrap();
        let device = device_proof(&SigningKey::from_bytes(&[7; 32])).unwrap();
        let client = tls::client_config(ExpectedSite::Any, Some(device), &[], Arc::new(DefaultTimeProvider)).unwrap();
        (credentials.server_config(&[]), Arc::new(client))
    });
    let mut server = ServerConnection::new(HUB.0.clone()).unwrap();
    let mut client = ClientConnection::new(HUB.1.clone(), ROLE.server_name()).unwrap();
    while server.is_handshaking() || client.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        let mut rest = &wire[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets().unwrap();
        }
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        let mut rest = &wire[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    server
}

/// KiB that the process grows by for each of many connections.
fn idle_kib() -> f64 {
    const SESSIONS: usize = 5000;
    let before = resident_kib();
    let sessions: Vec<ServerConnection> = (0..SESSIONS).map(|_| connect()).collect();
    let grown = resident_kib() - before;
    black_box(&sessions);
    grown / SESSIONS as f64
}

fn resident_kib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The shortest time of one round.
fn repeat(mut round: impl FnMut()) -> Duration {
    round();
    let begun = Instant::now();
    let mut best = Duration::MAX;
    while begun.elapsed() < MEASURED {
        let start = Instant::now();
        round();
        best = best.min(start.elapsed());
    }
    best
}

/// Every run is pushed alone and written to every session before the next comes: the least batching there can be.
fn fan_out(runs: &[Run], writers: impl Iterator<Item: SessionWriter>) {
    let mut ring = HotRing::new(8 << 20);
    let mut sessions: Vec<_> = writers
        .map(|writer| {
            let mut fanout = Fanout::new(FanoutLimits::default());
            fanout.place(GROUP, Seq::FIRST);
            (fanout, writer)
        })
        .collect();
    for run in runs {
        ring.push(run.clone());
        for (fanout, writer) in &mut sessions {
            fanout.mark(GROUP);
            let gathered = fanout.gather(|_, next, budget, found| take(&ring, next, budget, found));
            writer.write(fanout);
            fanout.wrote(gathered.bytes);
        }
    }
}

fn copy(runs: &[Run], sessions: usize) {
    let mut writers: Vec<Vec<u8>> = (0..sessions).map(|_| Vec::with_capacity(64 * 1024)).collect();
    for run in runs {
        for out in &mut writers {
            out.clear();
            out.extend_from_slice(run.as_bytes());
            black_box(&out);
        }
    }
}

fn take(ring: &HotRing, next: Seq, budget: usize, found: &mut Vec<RunPiece>) -> RingTake {
    match ring.read_from(next, budget) {
        RingRead::Runs(runs) => {
            found
                .extend(runs.iter().map(|run| RunPiece { bytes: run.as_bytes().clone(), next: run.last_seq().next() }));
            RingTake::Pieces { at_head: true }
        }
        RingRead::Trimmed { oldest } => RingTake::Behind { oldest },
        RingRead::AtHead => RingTake::AtHead,
    }
}

fn run(base: u64, count: u64, payload_len: usize) -> Run {
    let mut block = BlockBuilder::new();
    for i in 0..count {
        block.push(&MessageRef {
            author: Author { device: DeviceId::NONE, client: ClientId([1; 16]) },
            client_seq: ClientSeq(base + i),
            content_type: ContentType::Text,
            sent_at: SentAt(7),
            payload: &vec![b'x'; payload_len],
        });
    }
    Run::encode(RunHeader { group: GROUP, log: LogId(3), epoch: Epoch(1), base_seq: Seq(base) }, &block)
}
