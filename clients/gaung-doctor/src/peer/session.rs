//! One test with one peer.

use std::{
    net::{Ipv4Addr, SocketAddrV4, TcpStream},
    time::{Duration, Instant},
};

use gaung_net::{
    interface::Link,
    probe::exchange::{Cast, ProbeSockets},
};
use gaung_proto::ports;
use rand::Rng as _;

use super::{
    super::facts::{Passage, PeerFacts},
    burst::{self, LONGEST, Sent, Tally},
    talk::{Say, Talk, VERSION},
};

/// The role in the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Caller,
    Called,
}

/// Which interface and ports to use.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) link: Link,
    pub(super) unicast_port: u16,
    pub(super) group_port: u16,
    pub(super) broadcast_port: u16,
}

impl Sockets {
    /// Returns Gaung's own ports, so that a filter treats the test as it treats Gaung.
    pub(super) const fn of_gaung(link: Link) -> Self {
        Self { link, unicast_port: ports::RELAY_UDP, group_port: ports::FIRST_GROUP, broadcast_port: ports::BROADCAST }
    }
}

/// A burst is over when nothing was received for this long.
const QUIET: Duration = Duration::from_secs(1);
/// A burst is over after this in any case.
const LONGEST_BURST: Duration = Duration::from_secs(10);

/// Tests both ways.
///
/// # Errors
/// If the peer disconnects or violates the protocol, or the sockets cannot be opened.
pub(super) fn run(stream: TcpStream, side: Side, sockets: &Sockets, peer: Ipv4Addr) -> anyhow::Result<PeerFacts> {
    let mut session = Session::open(Talk::new(stream)?, side, sockets, peer)?;
    let (to_peer, from_peer) = match side {
        Side::Caller => {
            let to_peer = session.send_all()?;
            (to_peer, session.receive_all()?)
        }
        Side::Called => {
            let from_peer = session.receive_all()?;
            (session.send_all()?, from_peer)
        }
    };
    let same_network = sockets.link.contains(peer);
    Ok(PeerFacts { host: peer.to_string(), failed: None, same_network, to_peer, from_peer })
}

struct Session {
    talk: Talk,
    exchange: ProbeSockets,
    /// The marks of own and the peer's datagrams: two, because a group's sender receives its own.
    own_mark: u64,
    peer_mark: u64,
    peer: SocketAddrV4,
}

impl Session {
    fn open(mut talk: Talk, side: Side, sockets: &Sockets, peer: Ipv4Addr) -> anyhow::Result<Self> {
        let mut rng = rand::rng();
        let mut id: u64 = rng.random();
        let some = Ipv4Addr::new(239, 255, rng.random_range(1..=254), rng.random_range(1..=254));
        let mut group = SocketAddrV4::new(some, sockets.group_port);
        let mut port = 0;
        if side == Side::Called {
            (id, group, port) = hello(&mut talk)?;
        }
        let exchange = ProbeSockets::open(&sockets.link, group, sockets.unicast_port, sockets.broadcast_port)?;
        talk.say(&Say::Hello { version: VERSION, session: id, group, unicast_port: exchange.unicast_port() })?;
        if side == Side::Caller {
            (_, _, port) = hello(&mut talk)?;
        }
        let (own_mark, peer_mark) = if side == Side::Caller { (id, !id) } else { (!id, id) };
        Ok(Self { talk, exchange, own_mark, peer_mark, peer: SocketAddrV4::new(peer, port) })
    }

    fn send_all(&mut self) -> anyhow::Result<Vec<Passage>> {
        Cast::ALL.into_iter().map(|cast| self.send(cast)).collect()
    }

    fn receive_all(&mut self) -> anyhow::Result<Vec<Passage>> {
        Cast::ALL.into_iter().map(|cast| self.receive(cast)).collect()
    }

    fn send(&mut self, cast: Cast) -> anyhow::Result<Passage> {
        self.talk.say(&Say::Sending { cast: cast.into() })?;
        anyhow::ensure!(self.talk.hear()? == Say::Listening, UNEXPECTED);
        let burst = burst::send(self.own_mark, cast, |datagram| self.exchange.send(cast, datagram, self.peer));
        self.talk.say(&Say::Sent { sent: burst.sent, largest_bytes: burst.largest_bytes })?;
        let Say::Got { received, reordered, duplicated, largest_bytes } = self.talk.hear()? else {
            anyhow::bail!(UNEXPECTED);
        };
        // A peer cannot have received more than was sent.
        let (received, largest_bytes) = (received.min(burst.sent), largest_bytes.min(burst.largest_bytes));
        let none = Passage::none(cast.into());
        let passage = Passage { received, reordered, duplicated, largest_bytes, ..none };
        Ok(Passage { sent: burst.sent, largest_sent_bytes: burst.largest_bytes, ..passage })
    }

    fn receive(&mut self, cast: Cast) -> anyhow::Result<Passage> {
        anyhow::ensure!(self.talk.hear()? == Say::Sending { cast: cast.into() }, UNEXPECTED);
        self.talk.say(&Say::Listening)?;
        let tally = self.listen(cast);
        let Say::Sent { sent, largest_bytes } = self.talk.hear()? else { anyhow::bail!(UNEXPECTED) };
        let passage = tally.finish(Sent { sent: sent.min(burst::COUNT), largest_bytes });
        let Passage { received, reordered, duplicated, largest_bytes, .. } = passage;
        self.talk.say(&Say::Got { received, reordered, duplicated, largest_bytes })?;
        Ok(passage)
    }

    fn listen(&self, cast: Cast) -> Tally {
        let mut tally = Tally::new(self.peer_mark, cast);
        let mut buffer = [0; LONGEST + 1];
        let end = Instant::now() + LONGEST_BURST;
        while !tally.is_whole() && Instant::now() < end {
            match self.exchange.receive(*self.peer.ip(), &mut buffer, QUIET) {
                Some((by, length)) if by == cast => tally.note(&buffer[..length]),
                // What was sent one way cannot come another; strangers may send anything.
                Some(_) => {}
                None => break,
            }
        }
        tally
    }
}

const UNEXPECTED: &str = "the peer's doctor says something else than was expected";

fn hello(talk: &mut Talk) -> anyhow::Result<(u64, SocketAddrV4, u16)> {
    let Say::Hello { version, session, group, unicast_port } = talk.hear()? else { anyhow::bail!(UNEXPECTED) };
    anyhow::ensure!(version == VERSION, "the peer's doctor is of another version of gaung");
    anyhow::ensure!(group.ip().octets()[0] == 239, "the peer's doctor names no group of a local network");
    Ok((session, group, unicast_port))
}
