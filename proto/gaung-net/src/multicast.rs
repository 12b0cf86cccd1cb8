//! Sockets that send and receive IPv4 multicast, and the unicast sockets beside them.

use std::{
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nix::errno::Errno;
use rustix::net::sockopt::set_ip_multicast_if_with_ifindex;
use socket2::{InterfaceIndexOrAddress, SockRef};
use tracing::{info, warn};

use crate::{
    interface::Link,
    socket::{self, PortSharing, SocketError},
};

/// A socket that datagrams leave from, and to which unicast comes back.
///
/// Bound to one address of one interface, so that the source address is the one that peers can answer to; or to all
/// addresses, for unicast only.
///
/// A clone is the same socket, for another thread. Datagrams that arrive go to whichever reads first: let one read.
#[derive(Debug, Clone)]
pub struct DataSocket {
    pub(crate) socket: Arc<UdpSocket>,
    local: SocketAddrV4,
    link: Option<Link>,
    health: Arc<SendHealth>,
}

impl PartialEq for DataSocket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.socket, &other.socket) && self.link == other.link
    }
}

impl Eq for DataSocket {}

impl DataSocket {
    /// Opens a socket on an interface: multicast leaves through it (TTL 1 unless a datagram says otherwise, looped back
    /// to this host's own members), unicast to its first address and port comes in. Port 0 takes a free one.
    ///
    /// # Errors
    /// [`SocketError`], such as the port being in use.
    pub fn open(link: &Link, port: u16) -> Result<Self, SocketError> {
        let socket = socket::open(SocketAddrV4::new(link.ip, port), PortSharing::Alone)?;
        Self::new(socket.into(), None)?.on(link)
    }

    /// Opens a socket on all addresses, for unicast: NAK, STATUS, PROBE and PUBLISH leave from it.
    ///
    /// # Errors
    /// [`SocketError`], such as the port being in use.
    pub fn open_unicast(port: u16) -> Result<Self, SocketError> {
        let socket = socket::open(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port), PortSharing::Alone)?;
        Self::new(socket.into(), None)
    }

    fn new(socket: UdpSocket, link: Option<Link>) -> Result<Self, SocketError> {
        let local = socket::local_addr(&socket)?;
        Ok(Self { socket: Arc::new(socket), local, link, health: Arc::default() })
    }

    /// The same socket on the interface that has its address now: one that was made anew has another number, and multicast
    /// would leave through the former one for ever.
    ///
    /// # Errors
    /// [`SocketError`] if the interface has gone already.
    pub fn on(&self, link: &Link) -> Result<Self, SocketError> {
        // By number too: another interface may have the same address.
        set_ip_multicast_if_with_ifindex(&*self.socket, &Ipv4Addr::UNSPECIFIED, &link.ip, link.index)
            .map_err(|errno| SocketError::system("choose the interface for multicast")(errno.into()))?;
        Ok(Self { link: Some(link.clone()), ..self.clone() })
    }

    /// The own address and port.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddrV4 {
        self.local
    }

    /// The interface; `None` if bound to all addresses.
    #[must_use]
    pub const fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    /// Logs when multicast begins to fail to leave here.
    pub(crate) fn note_failed(&self, errno: Errno) {
        if let Some(link) = self.link.as_ref().filter(|_| self.health.begins_to_fail(Instant::now())) {
            warn!(interface = %link, error = errno.desc(), "multicast does not leave through this interface");
        }
    }

    /// Logs when multicast leaves again.
    pub(crate) fn note_sent(&self) {
        if let Some(link) = self.link.as_ref().filter(|_| self.health.works_again()) {
            info!(interface = %link, "multicast leaves through this interface again");
        }
    }
}

/// Whether multicast leaves through a socket, as all threads that send through it found.
#[derive(Debug, Default)]
struct SendHealth {
    fails: AtomicBool,
    is_reported: AtomicBool,
    told_at: Mutex<Option<Instant>>,
}

/// Between two warnings of one socket: a filter that drops every other datagram must not fill the log.
const QUIET: Duration = Duration::from_secs(10);

impl SendHealth {
    /// True if the failure should be reported.
    fn begins_to_fail(&self, now: Instant) -> bool {
        if self.fails.swap(true, Ordering::Relaxed) {
            return false;
        }
        let mut told_at = self.told_at.lock().unwrap_or_else(PoisonError::into_inner);
        let tells = told_at.is_none_or(|at| now.saturating_duration_since(at) >= QUIET);
        if tells {
            *told_at = Some(now);
            self.is_reported.store(true, Ordering::Relaxed);
        }
        tells
    }

    /// True if the failure was reported.
    fn works_again(&self) -> bool {
        self.fails.load(Ordering::Relaxed)
            && self.fails.swap(false, Ordering::Relaxed)
            && self.is_reported.swap(false, Ordering::Relaxed)
    }
}

/// One multicast group as it is heard from the interfaces that it was joined on, and nothing else.
///
/// The kernel bounds the memberships of a socket (`net.ipv4.igmp_max_memberships`, 20 unless set otherwise), so that there
/// are as many sockets as that takes; a datagram comes to one of them. Several groups on one host each get their copy.
/// Leaving is closing.
#[derive(Debug)]
pub struct GroupSocket {
    parts: Vec<JoinedSocket>,
    group: SocketAddrV4,
    failed: Vec<(Link, SocketError)>,
}

/// One socket and what was joined with it.
#[derive(Debug)]
struct JoinedSocket {
    socket: Arc<UdpSocket>,
    joined: Vec<Link>,
}

impl GroupSocket {
    /// Most sockets for one group: enough for 1280 networks.
    pub const MAX_PARTS: usize = 64;

    /// Joins `group` on each of `links`. One that joined on some of them is good: [`Self::failed`] tells the others.
    ///
    /// # Errors
    /// [`SocketError`] if the port belongs to a program that does not share it, or no interface could join.
    pub fn open(group: SocketAddrV4, links: &[Link]) -> Result<Self, SocketError> {
        if links.is_empty() {
            return Err(SocketError::NoInterface);
        }
        let mut opened = Self { parts: vec![JoinedSocket::open(group)?], group, failed: Vec::new() };
        opened.relink(links);
        if opened.failed.len() == links.len() {
            return Err(opened.failed.swap_remove(0).1);
        }
        Ok(opened)
    }

    /// Joins on what is new in `links` and leaves what is not in it any more; what waits to be read stays.
    pub fn relink(&mut self, links: &[Link]) {
        for part in &mut self.parts {
            part.joined.retain(|old| {
                let stays = links.iter().any(|new| same_membership(old, new));
                if !stays {
                    // Fails where the interface is gone for good, and the membership with it.
                    let by = InterfaceIndexOrAddress::Index(old.index);
                    let _ = SockRef::from(&*part.socket).leave_multicast_v4_n(self.group.ip(), &by);
                }
                stays
            });
        }
        // The first one stays open, to be joined anew later.
        let mut first = true;
        self.parts.retain(|part| std::mem::take(&mut first) || !part.joined.is_empty());
        self.failed.clear();
        for link in links {
            let is_joined = self.parts.iter().any(|part| part.joined.iter().any(|old| same_membership(old, link)));
            if !is_joined && let Err(error) = self.join(link) {
                self.failed.push((link.clone(), error));
            }
        }
    }

    fn join(&mut self, link: &Link) -> Result<(), SocketError> {
        let mut outcome = Err(SocketError::TooManyMemberships { group: *self.group.ip() });
        for part in &mut self.parts {
            outcome = part.join(*self.group.ip(), link);
            // Another socket has room for more.
            if !matches!(outcome, Err(SocketError::TooManyMemberships { .. })) {
                return outcome;
            }
        }
        if self.parts.len() < Self::MAX_PARTS {
            let mut part = JoinedSocket::open(self.group)?;
            outcome = part.join(*self.group.ip(), link);
            if outcome.is_ok() {
                self.parts.push(part);
            }
        }
        outcome
    }

    /// The group's address and port.
    #[must_use]
    pub const fn group(&self) -> SocketAddrV4 {
        self.group
    }

    /// The first of its sockets; the only one where it was joined on one link.
    pub(crate) fn socket(&self) -> &UdpSocket {
        &self.parts[0].socket
    }

    /// The sockets to read from, at least one; each datagram comes to one of them.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = &Arc<UdpSocket>> {
        self.parts.iter().map(|part| &part.socket)
    }

    /// True if a datagram has arrived that nobody has read.
    #[must_use]
    pub fn has_datagram(&self) -> bool {
        self.sockets().any(|socket| socket.peek(&mut [0]).is_ok())
    }

    /// The interfaces on which the group could not be joined, and why.
    #[must_use]
    pub fn failed(&self) -> &[(Link, SocketError)] {
        &self.failed
    }
}

impl JoinedSocket {
    fn open(group: SocketAddrV4) -> Result<Self, SocketError> {
        // Bound to the group's address, the socket hears no unicast and no other group on the same port.
        Ok(Self { socket: Arc::new(socket::open(group, PortSharing::Shared)?.into()), joined: Vec::new() })
    }

    fn join(&mut self, group: Ipv4Addr, link: &Link) -> Result<(), SocketError> {
        let by = InterfaceIndexOrAddress::Index(link.index);
        let joined = SockRef::from(&*self.socket).join_multicast_v4_n(&group, &by);
        joined.map_err(|error| SocketError::joining(group, &link.name, error))?;
        self.joined.push(link.clone());
        Ok(())
    }
}

/// Whether what was joined on `old` is heard on `new`; an interface's name does not matter, nor which addresses it has.
fn same_membership(old: &Link, new: &Link) -> bool {
    old.index == new.index && old.renewals == new.renewals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_fails_now_and_then_is_told_of_seldom() {
        let (health, start) = (SendHealth::default(), Instant::now());
        assert!(!health.works_again(), "it never failed");
        assert!(health.begins_to_fail(start));
        assert!(!health.begins_to_fail(start), "it is known already");
        assert!(health.works_again() && !health.works_again());
        for _ in 0..100 {
            assert!(!health.begins_to_fail(start + QUIET / 2));
            assert!(!health.works_again(), "who was not told of the failure need not hear of its end");
        }
        assert!(health.begins_to_fail(start + QUIET) && health.works_again());
    }
}
