//! What leaves a host's interface, seen by a packet socket. Needs root.

use std::{
    io::{self, Read as _},
    net::{Ipv4Addr, SocketAddrV4},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use gaung_proto::datagram::Header;
use socket2::{Domain, Protocol, Socket, Type};

use crate::lab::Host;

/// A running capture of the multicast and broadcast datagrams that a host sends.
#[derive(Debug)]
pub struct Capture {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sent>>,
}

/// One UDP datagram that left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Where it went.
    pub to: SocketAddrV4,
    /// What it said.
    pub payload: Vec<u8>,
}

impl Sent {
    /// Its header.
    ///
    /// # Panics
    /// If it is no datagram of ours.
    #[must_use]
    pub fn header(&self) -> Header {
        Header::decode(&self.payload).unwrap_or_else(|error| panic!("a datagram to {} {error}", self.to)).0
    }
}

impl Capture {
    /// Begins; everything that is sent after this returns is seen.
    ///
    /// # Panics
    /// Without root.
    #[must_use]
    pub fn start(host: &Host) -> Self {
        let (entrance, from) = (host.entrance(), host.ip());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (ready, is_ready) = mpsc::channel();
        let thread = thread::spawn(move || {
            entrance.pass();
            let socket = open().expect("root may open a packet socket");
            ready.send(()).expect("the starter waits");
            collect(socket, from, &stopped).expect("a packet socket does not fail")
        });
        is_ready.recv().expect("the capture has started");
        Self { stop, thread }
    }

    /// Ends, and gives all that was sent until now, in order.
    ///
    /// # Panics
    /// If the capture failed.
    #[must_use]
    pub fn finish(self) -> Vec<Sent> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().expect("the capture did not fail")
    }
}

/// `ETH_P_ALL` in network order: only sockets for all protocols see what is sent.
const ALL_PROTOCOLS: u16 = 3_u16.to_be();
/// Between looks at the stop flag.
const LOOK: Duration = Duration::from_millis(20);
/// A GSO send passes as one packet with all its segments.
const LARGEST: usize = 1 << 17;

fn open() -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(i32::from(ALL_PROTOCOLS))))?;
    socket.set_recv_buffer_size(8 << 20)?;
    socket.set_read_timeout(Some(LOOK))?;
    Ok(socket)
}

fn collect(mut socket: Socket, from: Ipv4Addr, stop: &AtomicBool) -> io::Result<Vec<Sent>> {
    let mut sent = Vec::new();
    let mut packet = vec![0; LARGEST];
    loop {
        // What was sent before the flag was raised already waits in the socket.
        let last_look = stop.load(Ordering::Acquire);
        match socket.read(&mut packet) {
            Ok(len) => sent.extend(udp_to_many(&packet[..len], from)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                if last_look {
                    return Ok(sent);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The datagrams of an IPv4 packet, if it is UDP from `from` to a group or a broadcast address.
fn udp_to_many(packet: &[u8], from: Ipv4Addr) -> Vec<Sent> {
    let field = |at: usize| packet.get(at..at + 4).map(|ip| Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3]));
    let (Some(source), Some(to)) = (field(12), field(16)) else { return Vec::new() };
    let is_udp = packet[0] >> 4 == 4 && packet[9] == 17;
    if !is_udp || source != from || !(to.is_multicast() || to.octets()[3] == 255) {
        return Vec::new();
    }
    let udp = &packet[usize::from(packet[0] & 0xf) * 4..];
    let to = SocketAddrV4::new(to, u16::from_be_bytes([udp[2], udp[3]]));
    segments(&udp[8..]).map(|payload| Sent { to, payload: payload.to_vec() }).collect()
}

/// Splits what a GSO send holds: each of our datagrams tells its own length, and what follows of zeros pads it.
fn segments(mut payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let ours = payload.starts_with(b"GA") && payload.len() >= 40;
        let own = if ours { 40 + usize::from(u16::from_be_bytes([payload[6], payload[7]])) } else { payload.len() };
        let len = own + payload.get(own..)?.iter().take_while(|byte| **byte == 0).count();
        let (first, rest) = payload.split_at_checked(len)?;
        payload = rest;
        (!first.is_empty()).then_some(first)
    })
}
