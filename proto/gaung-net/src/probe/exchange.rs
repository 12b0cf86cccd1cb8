//! Datagrams to one peer by unicast, multicast and broadcast, and those that come from it: the sockets of a test of two
//! machines.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{
    SocketError,
    broadcast::{BroadcastSender, open_listener},
    interface::Link,
    multicast::{DataSocket, GroupSocket},
};

/// How a datagram is addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cast {
    /// The datagram goes to the peer alone.
    Unicast,
    /// The datagram goes to a multicast group.
    Multicast,
    /// The datagram goes to the whole network.
    Broadcast,
}

impl Cast {
    /// All ways of sending, each once.
    pub const ALL: [Self; 3] = [Self::Unicast, Self::Multicast, Self::Broadcast];
}

/// The sockets of one side.
#[derive(Debug)]
pub struct ProbeSockets {
    unicast: DataSocket,
    group: GroupSocket,
    broadcast: UdpSocket,
    broadcaster: BroadcastSender,
}

impl ProbeSockets {
    /// Opens them on `link`: joins `group`, and broadcasts and hears broadcasts on `broadcast_port`. Unicast goes from and
    /// to `unicast_port`, or a free one if that is taken.
    ///
    /// # Errors
    /// [`SocketError`], such as when the group cannot be joined.
    pub fn open(link: &Link, group: SocketAddrV4, unicast_port: u16, broadcast_port: u16) -> Result<Self, SocketError> {
        let unicast = DataSocket::open(link, unicast_port).or_else(|_| DataSocket::open(link, 0))?;
        let links = std::slice::from_ref(link);
        Ok(Self {
            unicast,
            group: GroupSocket::open(group, links)?,
            broadcast: open_listener(broadcast_port)?,
            broadcaster: BroadcastSender::open(links, broadcast_port)?,
        })
    }

    /// Where the peer's unicast comes in.
    #[must_use]
    pub const fn unicast_port(&self) -> u16 {
        self.unicast.local_addr().port()
    }

    /// Sends one datagram; `peer` is where unicast goes.
    ///
    /// # Errors
    /// What the system says; for broadcast [`io::ErrorKind::AddrNotAvailable`] where the network has no such address.
    pub fn send(&self, cast: Cast, payload: &[u8], peer: SocketAddrV4) -> io::Result<()> {
        match cast {
            Cast::Unicast => self.unicast.socket.send_to(payload, peer).map(|_| ()),
            Cast::Multicast => self.unicast.socket.send_to(payload, self.group.group()).map(|_| ()),
            Cast::Broadcast => {
                let mut outcome = Ok(());
                let sent = self.broadcaster.send(payload, |_, error| outcome = Err(error));
                if sent == 0 && outcome.is_ok() {
                    return Err(io::ErrorKind::AddrNotAvailable.into());
                }
                outcome
            }
        }
    }

    /// The next datagram from `peer`, by whichever way, into `buffer`; `None` if none came within `wait`.
    pub fn receive(&self, peer: Ipv4Addr, buffer: &mut [u8], wait: Duration) -> Option<(Cast, usize)> {
        let deadline = Instant::now() + wait;
        let sockets = [&*self.unicast.socket, self.group.socket(), &self.broadcast];
        loop {
            for (socket, cast) in sockets.into_iter().zip(Cast::ALL) {
                while let Ok((length, SocketAddr::V4(from))) = socket.recv_from(buffer) {
                    if *from.ip() == peer {
                        return Some((cast, length));
                    }
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let mut waiting = sockets.map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN));
            let _ = poll(&mut waiting, PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX));
        }
    }
}
