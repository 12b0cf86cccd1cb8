//! Several sockets that are read as one.

use std::{
    future::poll_fn,
    io,
    net::{SocketAddr, SocketAddrV4},
    task::Poll,
};

use tokio::{io::ReadBuf, net::UdpSocket};
use tracing::{debug, warn};

use super::DISCOVERY_GROUP;
use crate::{
    interface::{Link, Role},
    multicast::GroupSocket,
    socket::SocketError,
};

/// The discovery group as it is heard on some links and on loopback.
#[derive(Debug)]
pub(super) struct GroupEars {
    port: u16,
    group: Option<GroupSocket>,
    sockets: Vec<UdpSocket>,
}

impl GroupEars {
    /// Hears the group on no link yet.
    pub(super) const fn new(port: u16) -> Self {
        Self { port, group: None, sockets: Vec::new() }
    }

    /// Hears it on these links and loopback from now on; those that cannot are told of, with a warning if `warns`.
    pub(super) fn relink(&mut self, links: &[Link], warns: bool) {
        let others = links.iter().filter(|link| link.role != Role::Loopback).cloned();
        let links: Vec<_> = others.chain([Link::loopback()]).collect();
        match &mut self.group {
            Some(group) => group.relink(&links),
            None => match GroupSocket::open(SocketAddrV4::new(DISCOVERY_GROUP, self.port), &links) {
                Ok(group) => self.group = Some(group),
                Err(error) => return tell("all", &error, warns),
            },
        }
        let Some(group) = &self.group else { return };
        for (link, error) in group.failed() {
            tell(&link.name, error, warns);
        }
        let watched = group.sockets().map(|socket| UdpSocket::from_std(socket.try_clone()?));
        match watched.collect::<io::Result<Vec<_>>>() {
            Ok(sockets) => self.sockets = sockets,
            Err(error) => tell("all", &SocketError::system("watch the discovery group")(error), warns),
        }
    }

    /// The next datagram to `first` or to the group. Cancel safe.
    pub(super) async fn receive(&self, first: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        // None is first for ever, so that a flood on one does not silence the others.
        let (count, turn) = (self.sockets.len() + 1, rand::random::<u32>() as usize);
        let at = |number: usize| self.sockets.get((number + turn) % count).unwrap_or(first);
        poll_fn(|context| {
            for number in 0..count {
                let mut received = ReadBuf::new(buffer);
                if let Poll::Ready(from) = at(number).poll_recv_from(context, &mut received) {
                    return Poll::Ready(from.map(|from| (received.filled().len(), from)));
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Broadcast still finds a service there.
fn tell(interface: &str, error: &SocketError, warns: bool) {
    if warns {
        warn!(interface, %error, "discovery by multicast is not heard here");
    } else {
        debug!(interface, %error, "discovery by multicast is not heard here");
    }
}
