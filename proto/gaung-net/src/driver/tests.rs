#![allow(clippy::unwrap_used)]

use std::{
    collections::VecDeque,
    io::IoSliceMut,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    sync::mpsc,
    time::Duration,
};

use bytes::Bytes;
use gaung_engine::Destination;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};

use super::*;
use crate::multicast::{DataSocket, GroupSocket};

mod batches;

const LONG: Duration = Duration::from_secs(20);
const BOTH: SocketUse = SocketUse { receive: true, multicast: true };
const SEND: SocketUse = SocketUse { receive: false, multicast: true };

/// Does what it is told and reports what happens to it.
struct Puppet {
    report: mpsc::Sender<Report>,
    transmits: VecDeque<Transmit>,
    changes: VecDeque<SocketChange>,
    due: Option<Instant>,
    notes: usize,
}

#[derive(Debug)]
enum Order {
    Send(Transmit),
    Change(SocketChange),
    Timer(Instant),
    Panic,
    Block(mpsc::Receiver<()>),
    /// Report once what was ordered before is done.
    Note,
}

#[derive(Debug, PartialEq)]
enum Report {
    Datagram(SocketId, SenderAddr, Vec<u8>),
    Timeout(Instant),
    Socket(SocketId, bool),
    Noted,
}

impl Drive for Puppet {
    type Command = Order;

    fn handle_command(&mut self, _now: Instant, order: Order) {
        match order {
            Order::Send(transmit) => self.transmits.push_back(transmit),
            Order::Change(change) => self.changes.push_back(change),
            Order::Timer(due) => self.due = Some(due),
            Order::Panic => panic!("on purpose"),
            Order::Block(until) => until.recv().unwrap(),
            Order::Note => self.notes += 1,
        }
    }

    fn handle_datagram(&mut self, _now: Instant, socket: SocketId, from: SenderAddr, bytes: &[u8]) {
        let _ = self.report.send(Report::Datagram(socket, from, bytes.to_vec()));
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.due.take_if(|due| *due <= now).is_some() {
            self.report.send(Report::Timeout(now)).unwrap();
        }
    }

    fn handle_socket(&mut self, _now: Instant, socket: SocketId, outcome: Result<Vec<Link>, SocketError>) {
        self.report.send(Report::Socket(socket, outcome.is_ok())).unwrap();
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    fn poll_socket_change(&mut self) -> Option<SocketChange> {
        let change = self.changes.pop_front();
        if change.is_none() {
            (0..std::mem::take(&mut self.notes)).for_each(|_| self.report.send(Report::Noted).unwrap());
        }
        change
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}

fn puppet(sockets: DriverSockets) -> (DriverHandle<Order>, mpsc::Receiver<Report>) {
    let (report, reports) = mpsc::channel();
    let puppet = Puppet { report, transmits: VecDeque::new(), changes: VecDeque::new(), due: None, notes: 0 };
    (Driver::spawn("puppet", sockets, puppet).unwrap(), reports)
}

fn loopback_socket() -> DataSocket {
    DataSocket::open(&Link::loopback(), 0).unwrap()
}

/// A group on a port that is free now.
fn some_group(last: u8) -> SocketAddrV4 {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    SocketAddrV4::new(Ipv4Addr::new(239, 255, 250, last), port)
}

fn multicast(group: SocketAddrV4, ttl: u8, text: &'static str) -> Order {
    Order::Send(Transmit {
        destination: Destination::Multicast(group),
        payload: Bytes::from_static(text.as_bytes()),
        ttl,
    })
}

fn unicast(peer: SocketAddr, from: Option<Ipv4Addr>, payload: Bytes) -> Order {
    let SocketAddr::V4(peer) = peer else { panic!("{peer}") };
    Order::Send(Transmit { destination: Destination::Unicast { peer, from }, payload, ttl: 1 })
}

#[test]
fn multicast_reaches_a_group_opened_while_running() {
    let group = some_group(1);
    let socket = loopback_socket();
    let from = SenderAddr(socket.local_addr());
    let (sender, sender_reports) = puppet(DriverSockets::new().data(SocketId(0), socket, BOTH));
    let (receiver, reports) = puppet(DriverSockets::new());

    let links = vec![Link::loopback()];
    receiver.send(Order::Change(SocketChange::OpenGroup { id: SocketId(7), group, links })).unwrap();
    assert_eq!(reports.recv_timeout(LONG), Ok(Report::Socket(SocketId(7), true)));
    sender.send(multicast(group, 1, "one")).unwrap();
    assert_eq!(reports.recv_timeout(LONG), Ok(Report::Datagram(SocketId(7), from, b"one".to_vec())));
    sender.send(multicast(group, 16, "far")).unwrap();
    assert_eq!(reports.recv_timeout(LONG), Ok(Report::Datagram(SocketId(7), from, b"far".to_vec())));
    sender.send(Order::Note).unwrap();
    assert_eq!(sender_reports.recv_timeout(LONG), Ok(Report::Noted));
    assert_eq!((sender.counters().sent_datagrams(), sender.counters().sent_bytes()), (2, 6));
    assert_eq!(receiver.counters().received_datagrams(), 2);

    receiver.send(Order::Change(SocketChange::Close(SocketId(7)))).unwrap();
    receiver.send(Order::Note).unwrap();
    assert_eq!(reports.recv_timeout(LONG), Ok(Report::Noted));
    sender.send(multicast(group, 1, "unheard")).unwrap();
    sender.stop().unwrap();
    receiver.stop().unwrap();
    assert!(reports.try_recv().is_err());
}

#[test]
fn the_time_to_live_travels_with_the_datagram() {
    let group = some_group(6);
    let socket = GroupSocket::open(group, &[Link::loopback()]).unwrap();
    let socket = socket.socket();
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    setsockopt(socket, sockopt::Ipv4RecvTtl, &true).unwrap();
    let (sender, _) = puppet(DriverSockets::new().data(SocketId(0), loopback_socket(), SEND));
    for ttl in [16, 1, 255, 2] {
        sender.send(multicast(group, ttl, "x")).unwrap();
        let (mut bytes, mut control) = ([0; 16], nix::cmsg_space!(i32));
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let message =
            recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::empty()).unwrap();
        assert_eq!(message.cmsgs().unwrap().next(), Some(ControlMessageOwned::Ipv4Ttl(i32::from(ttl))));
    }
}

#[test]
fn several_members_on_one_host_each_get_their_copy() {
    let group = some_group(2);
    let members: Vec<_> = (0..3)
        .map(|_| {
            let socket = GroupSocket::open(group, &[Link::loopback()]).unwrap();
            puppet(DriverSockets::new().group(SocketId(1), socket))
        })
        .collect();
    let (sender, _) = puppet(DriverSockets::new().data(SocketId(0), loopback_socket(), BOTH));
    sender.send(multicast(group, 1, "all")).unwrap();
    for (_, reports) in &members {
        assert!(matches!(reports.recv_timeout(LONG), Ok(Report::Datagram(_, _, bytes)) if bytes == b"all"));
    }
}

#[test]
fn one_driver_reads_what_several_send_from() {
    let socket = loopback_socket();
    let shared = socket.local_addr();
    let worker = |socket: &DataSocket| puppet(DriverSockets::new().data(SocketId(0), socket.clone(), SEND));
    let (first, second) = (worker(&socket), worker(&socket));
    let (_ingress, reports) = puppet(DriverSockets::new().data(SocketId(3), socket, BOTH));

    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(LONG)).unwrap();
    let to = peer.local_addr().unwrap();
    for (worker, _) in [&first, &second] {
        worker.send(unicast(to, Some(Ipv4Addr::LOCALHOST), Bytes::from_static(b"data"))).unwrap();
        let mut buffer = [0; 16];
        let (length, from) = peer.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from), (&b"data"[..], SocketAddr::V4(shared)));
        peer.send_to(b"nak", from).unwrap();
        assert!(matches!(reports.recv_timeout(LONG), Ok(Report::Datagram(SocketId(3), _, bytes)) if bytes == b"nak"));
    }
    assert!(first.1.try_recv().is_err() && second.1.try_recv().is_err());
}

#[test]
fn timers_fire_when_due_and_commands_wake_a_sleeping_driver() {
    let (driver, reports) = puppet(DriverSockets::new());
    let due = Instant::now() + Duration::from_millis(30);
    driver.send(Order::Timer(due)).unwrap();
    let Ok(Report::Timeout(at)) = reports.recv_timeout(LONG) else { panic!("no timeout") };
    assert!(at >= due);
    for _ in 0..100 {
        driver.send(Order::Note).unwrap();
        assert_eq!(reports.recv_timeout(LONG), Ok(Report::Noted));
    }
    driver.stop().unwrap();
}

#[test]
fn failed_sends_are_counted_and_end_nothing() {
    let (driver, reports) = puppet(DriverSockets::new().data(SocketId(0), loopback_socket(), SEND));
    let here = Some(Ipv4Addr::LOCALHOST);
    driver.send(unicast("192.0.2.77:9".parse().unwrap(), None, Bytes::from_static(b"x"))).unwrap();
    driver.send(unicast("127.0.0.1:9".parse().unwrap(), here, vec![0; 65_535].into())).unwrap();
    // From 127.0.0.1 no other machine can be reached.
    driver.send(unicast("192.0.2.77:9".parse().unwrap(), here, Bytes::from_static(b"x"))).unwrap();
    driver.send(Order::Note).unwrap();
    assert_eq!(reports.recv_timeout(LONG), Ok(Report::Noted));
    let counters = driver.counters();
    assert_eq!(counters.send_failures(SendFailure::NoSocket), 1);
    assert_eq!(counters.send_failures(SendFailure::TooBig), 1);
    assert_eq!(SendFailure::ALL.iter().map(|&kind| counters.send_failures(kind)).sum::<u64>(), 3);
    let (multicast_driver, reports) = puppet(DriverSockets::new());
    multicast_driver.send(multicast(some_group(3), 1, "nowhere")).unwrap();
    multicast_driver.send(Order::Note).unwrap();
    assert_eq!(reports.recv_timeout(LONG), Ok(Report::Noted));
    assert_eq!(multicast_driver.counters().send_failures(SendFailure::NoSocket), 1);
}

#[test]
fn a_socket_that_cannot_be_opened_is_reported() {
    let (driver, reports) = puppet(DriverSockets::new());
    let (id, links) = (SocketId(4), Vec::new());
    driver.send(Order::Change(SocketChange::OpenGroup { id, group: some_group(5), links })).unwrap();
    assert_eq!(reports.recv_timeout(LONG), Ok(Report::Socket(SocketId(4), false)));
    let taken = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    driver.send(Order::Change(SocketChange::OpenBroadcast { id: SocketId(4), port })).unwrap();
    assert_eq!(reports.recv_timeout(LONG), Ok(Report::Socket(SocketId(4), false)));
    assert_eq!(driver.counters().socket_failures(), 2);
}

#[test]
fn a_full_queue_gives_the_command_back() {
    let (driver, _reports) = puppet(DriverSockets::new());
    let (go, gate) = mpsc::channel();
    driver.send(Order::Block(gate)).unwrap();
    let full = (0..=Driver::COMMAND_QUEUE + 1).find_map(|_| driver.send(Order::Note).err());
    assert!(matches!(full, Some(SendCommandError::Full(Order::Note))));
    go.send(()).unwrap();
    // Waits for a place, then for the queue before it.
    driver.sender().send_blocking(Order::Note).unwrap();
    let sender = driver.sender();
    driver.stop().unwrap();
    assert!(matches!(sender.send(Order::Note), Err(SendCommandError::Stopped(Order::Note))));
}

#[tokio::test]
async fn a_panic_ends_the_driver_and_says_so() {
    let (driver, _reports) = puppet(DriverSockets::new());
    let ended = driver.ended();
    driver.sender().send_wait(Order::Panic).await.unwrap();
    tokio::time::timeout(LONG, ended).await.unwrap();
    assert_eq!(driver.stop(), Err(DriverPanicked));
}

#[test]
fn a_burst_arrives_whole() {
    let group = some_group(4);
    let socket = GroupSocket::open(group, &[Link::loopback()]).unwrap();
    let (_receiver, reports) = puppet(DriverSockets::new().group(SocketId(1), socket));
    let (sender, _) = puppet(DriverSockets::new().data(SocketId(0), loopback_socket(), SEND));
    for _ in 0..300 {
        sender.sender().send_blocking(multicast(group, 1, "burst")).unwrap();
    }
    for n in 0..300 {
        assert!(matches!(reports.recv_timeout(LONG), Ok(Report::Datagram(..))), "datagram {n}");
    }
}
