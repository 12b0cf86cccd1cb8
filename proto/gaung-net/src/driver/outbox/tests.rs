use std::{collections::BTreeMap, net::SocketAddrV4};

use bytes::Bytes;

use super::*;

/// Three multicast exits; unicast leaves through the one that the peer's last number names.
struct Fake {
    full: BTreeSet<u32>,
    /// Most datagrams of one call.
    takes: usize,
    /// The datagrams that fail, by their name.
    fails: BTreeMap<u8, Errno>,
    /// What left, and through which exit.
    left: Vec<(u32, u8)>,
    /// How many datagrams were offered in each call.
    offered: Vec<usize>,
}

impl Default for Fake {
    fn default() -> Self {
        let (full, fails) = Default::default();
        Self { full, takes: usize::MAX, fails, left: Vec::new(), offered: Vec::new() }
    }
}

impl ExitSockets for Fake {
    fn multicast_from(&self, first: SocketId) -> Option<SocketId> {
        (first.0 < 3).then_some(first)
    }

    fn unicast_to(&self, peer: Ipv4Addr, _from: Option<Ipv4Addr>) -> Option<SocketId> {
        Some(SocketId(peer.octets()[3].into())).filter(|id| id.0 < 3)
    }

    fn send(&mut self, id: SocketId, datagrams: &[OutgoingDatagram]) -> Result<usize, Errno> {
        self.offered.push(datagrams.len());
        if self.full.contains(&id.0) {
            return Err(Errno::EAGAIN);
        }
        let names: Vec<u8> = datagrams.iter().map(|datagram| datagram.payload[0]).take(self.takes).collect();
        if let Some(&errno) = self.fails.get(&names[0]) {
            return Err(errno);
        }
        let good = names.iter().take_while(|name| !self.fails.contains_key(name));
        let before = self.left.len();
        self.left.extend(good.map(|&name| (id.0, name)));
        Ok(self.left.len() - before)
    }
}

impl Fake {
    fn take(&mut self) -> Vec<(u32, u8)> {
        std::mem::take(&mut self.left)
    }
}

const GROUP: Destination = Destination::Multicast(SocketAddrV4::new(Ipv4Addr::new(239, 255, 0, 1), 1));

fn peer(exit: u8) -> Destination {
    Destination::Unicast { peer: SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, exit), 1), from: None }
}

fn waiting(names: &'static [u8]) -> impl FnMut() -> Option<Transmit> {
    let mut rest = names.chunks(1);
    move || rest.next().map(|name| Transmit { destination: GROUP, payload: Bytes::from_static(name), ttl: 1 })
}

fn outbox() -> (Outbox, Arc<Counters>, Instant) {
    let counters = Arc::new(Counters::default());
    (Outbox::new(Arc::clone(&counters)), counters, Instant::now())
}

fn through(exit: u32, names: &[u8]) -> Vec<(u32, u8)> {
    names.iter().map(|&name| (exit, name)).collect()
}

#[test]
fn what_waits_leaves_together_through_each_exit() {
    let (mut outbox, _, now) = outbox();
    let mut exits = Fake::default();
    outbox.send(now, &mut exits, waiting(b"abc"));
    assert_eq!(exits.take(), [through(0, b"abc"), through(1, b"abc"), through(2, b"abc")].concat());
    assert_eq!(exits.offered, [3, 3, 3]);
}

#[test]
fn partial_sends_go_on_where_they_stopped() {
    let (mut outbox, _, now) = outbox();
    let mut exits = Fake { takes: 2, ..Fake::default() };
    outbox.send(now, &mut exits, waiting(b"abcde"));
    assert_eq!(exits.take(), [through(0, b"abcde"), through(1, b"abcde"), through(2, b"abcde")].concat());
    assert_eq!(exits.offered, [5, 3, 1].repeat(3));
}

#[test]
fn order_holds_across_destinations() {
    let (mut outbox, counters, now) = outbox();
    let mut exits = Fake::default();
    let destinations = [GROUP, peer(1), peer(1), peer(2), peer(9), GROUP];
    let mut transmits = destinations.into_iter().zip(*b"abcdef").map(|(destination, name)| Transmit {
        destination,
        payload: Bytes::copy_from_slice(&[name]),
        ttl: 1,
    });
    outbox.send(now, &mut exits, || transmits.next());
    let expected =
        [&[(0, b'a'), (1, b'a'), (2, b'a'), (1, b'b'), (1, b'c'), (2, b'd')][..], &[(0, b'f'), (1, b'f'), (2, b'f')]];
    assert_eq!(exits.take(), expected.concat());
    assert_eq!(counters.send_failures(SendFailure::NoSocket), 1);
    assert_eq!(exits.offered, [1, 1, 1, 2, 1, 1, 1, 1]);
}

#[test]
fn more_than_a_batch_leaves_in_batches() {
    let (mut outbox, _, now) = outbox();
    let mut exits = Fake::default();
    let mut rest = 2 * Outbox::BATCH + 1;
    outbox.send(now, &mut exits, || {
        rest = rest.checked_sub(1)?;
        Some(Transmit { destination: peer(0), payload: Bytes::copy_from_slice(&[rest as u8]), ttl: 1 })
    });
    assert_eq!(exits.offered, [Outbox::BATCH, Outbox::BATCH, 1]);
    let names: Vec<u8> = exits.take().into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, (0..=128).rev().collect::<Vec<u8>>());
}

#[test]
fn a_failed_datagram_is_counted_and_the_others_leave() {
    let (mut outbox, counters, now) = outbox();
    let mut exits = Fake { fails: [(b'a', Errno::EMSGSIZE), (b'c', Errno::ENETUNREACH)].into(), ..Fake::default() };
    outbox.send(now, &mut exits, waiting(b"abcd"));
    assert_eq!(exits.take(), [through(0, b"bd"), through(1, b"bd"), through(2, b"bd")].concat());
    assert_eq!(counters.send_failures(SendFailure::TooBig), 3);
    assert_eq!(counters.send_failures(SendFailure::Unreachable), 3);
}

#[test]
fn a_full_socket_holds_the_batch_and_loses_nothing() {
    let (mut outbox, counters, now) = outbox();
    let mut exits = Fake { takes: 1, ..Fake::default() };
    let mut next = waiting(b"ab");
    exits.full.insert(1);
    outbox.send(now, &mut exits, &mut next);
    assert_eq!((outbox.blocked_on(), exits.take()), (Some(SocketId(1)), through(0, b"ab")));
    outbox.send(now, &mut exits, &mut next);
    assert_eq!((outbox.blocked_on(), exits.take()), (Some(SocketId(1)), vec![]));
    exits.full.clear();
    outbox.send(now, &mut exits, waiting(b"c"));
    assert_eq!(outbox.blocked_on(), None);
    let expected = [through(1, b"ab"), through(2, b"ab"), through(0, b"c"), through(1, b"c"), through(2, b"c")];
    assert_eq!(exits.take(), expected.concat(), "each once, in order");
    assert_eq!(counters.send_failures(SendFailure::Expired), 0);
    assert_eq!(counters.sends_blocked(), 2);
}

#[test]
fn a_dead_socket_delays_the_others_once() {
    let (mut outbox, counters, start) = outbox();
    let mut exits = Fake::default();
    let mut next = waiting(b"ab");
    exits.full.insert(1);
    outbox.send(start, &mut exits, &mut next);
    assert_eq!(outbox.expires(), Some(start + HOLD));
    exits.take();
    outbox.send(start + HOLD, &mut exits, waiting(b"c"));
    assert_eq!((outbox.blocked_on(), outbox.expires()), (None, None));
    assert_eq!(exits.take(), [(2, b'a'), (2, b'b'), (0, b'c'), (2, b'c')]);
    assert_eq!(counters.send_failures(SendFailure::Expired), 3);

    // Alive again, it is waited for again.
    exits.full.clear();
    outbox.send(start + HOLD, &mut exits, waiting(b"d"));
    assert_eq!(exits.take().len(), 3);
    exits.full.insert(1);
    outbox.send(start + HOLD, &mut exits, waiting(b"e"));
    assert_eq!(outbox.blocked_on(), Some(SocketId(1)));
}

#[test]
fn a_socket_that_takes_some_is_waited_for_anew() {
    let (mut outbox, counters, start) = outbox();
    let mut exits = Slow { takes: 0, left: Vec::new() };
    let mut next = waiting(b"abc");
    outbox.send(start, &mut exits, &mut next);
    for step in 1..=3_u32 {
        exits.takes = 1;
        let now = start + HOLD * step / 2;
        outbox.send(now, &mut exits, &mut next);
        assert_eq!(exits.left.len(), step as usize);
        assert_eq!(outbox.expires(), (step < 3).then_some(now + HOLD));
    }
    assert_eq!((exits.left, counters.send_failures(SendFailure::Expired)), (b"abc".to_vec(), 0));
}

/// One exit that is full again soon.
struct Slow {
    takes: usize,
    left: Vec<u8>,
}

impl ExitSockets for Slow {
    fn multicast_from(&self, first: SocketId) -> Option<SocketId> {
        (first.0 == 0).then_some(first)
    }

    fn unicast_to(&self, _peer: Ipv4Addr, _from: Option<Ipv4Addr>) -> Option<SocketId> {
        None
    }

    fn send(&mut self, _id: SocketId, datagrams: &[OutgoingDatagram]) -> Result<usize, Errno> {
        let taken = self.takes.min(datagrams.len());
        self.takes -= taken;
        self.left.extend(datagrams.iter().take(taken).map(|datagram| datagram.payload[0]));
        if taken == 0 { Err(Errno::EAGAIN) } else { Ok(taken) }
    }
}
