//! Reads the discovery group on several links as if it were one socket.

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

/// The sockets that receive the discovery group, one for each link and one for loopback.
#[derive(Debug)]
pub(super) struct GroupSockets {
    port: u16,
    group: Option<GroupSocket>,
    sockets: Vec<UdpSocket>,
}

impl GroupSockets {
    /// Receives on no link until [`Self::relink`] is called.
    pub(super) const fn new(port: u16) -> Self {
        Self { port, group: None, sockets: Vec::new() }
    }

    /// Receives on these links and loopback from now on; logs those that cannot, as warnings if `warns`.
    pub(super) fn relink(&mut self, links: &[Link], warns: bool) {
        let others = links.iter().filter(|link| link.role != Role::Loopback).cloned();
        let links: Vec<_> = others.chain([Link::loopback()]).collect();
        match &mut self.group {
            Some(group) => group.relink(&links),
            None => match GroupSocket::open(SocketAddrV4::new(DISCOVERY_GROUP, self.port), &links) {
                Ok(group) => self.group = Some(group),
                Err(error) => return log_deaf_link("all", &error, warns),
            },
        }
        let Some(group) = &self.group else { return };
        for (link, error) in group.failed() {
            log_deaf_link(&link.name, error, warns);
        }
        let watched = group.sockets().map(|socket| UdpSocket::from_std(socket.try_clone()?));
        match watched.collect::<io::Result<Vec<_>>>() {
            Ok(sockets) => self.sockets = sockets,
            Err(error) => log_deaf_link("all", &SocketError::system("watch the discovery group")(error), warns),
        }
    }

    /// Receives the next datagram to `first` or to the group. Cancel safe.
    pub(super) async fn receive(&self, first: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        // The first socket to be read changes each time, so that a flood on one does not starve the others.
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

/// Logs a link that cannot receive; a service there is still found by broadcast.
fn log_deaf_link(interface: &str, error: &SocketError, warns: bool) {
    if warns {
        warn!(interface, %error, "discovery by multicast is not heard here");
    } else {
        debug!(interface, %error, "discovery by multicast is not heard here");
    }
}
