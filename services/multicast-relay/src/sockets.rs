//! The relay's UDP sockets: one on each address of the chosen interfaces and one on 127.0.0.1, all on one port. They follow
//! the interfaces as cables are plugged in, DHCP assigns other addresses, or devices are recreated.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use gaung_net::{
    SocketError,
    driver::{Batching, DriverSockets, SocketChange, SocketId, SocketUse},
    interface::{InterfaceFallback, Link, LinkSelection, LinkWatch, data_body},
    multicast::DataSocket,
};
use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};

/// Owns the sockets of the data plane and keeps them in step with the interfaces.
#[derive(Debug)]
pub(crate) struct DataSockets {
    watch: LinkWatch,
    selection: LinkSelection,
    /// 0 until the first socket has taken a free one.
    port: u16,
    open: BTreeMap<SocketId, EgressSocket>,
    /// Addresses without a socket whose failure was logged already.
    failed: BTreeSet<Ipv4Addr>,
    batching: Batching,
    plane: watch::Sender<Arc<DataPlane>>,
}

/// The sockets and links at one time, as drivers use them.
#[derive(Debug, Default)]
pub(crate) struct DataPlane {
    sockets: BTreeMap<SocketId, EgressSocket>,
    links: Vec<Link>,
}

/// A socket, and whether multicast leaves through it: only through the first address of each interface.
#[derive(Debug, Clone, PartialEq, Eq)]
struct EgressSocket {
    socket: DataSocket,
    multicast: bool,
}

/// Whether a driver sends or receives by the sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DriverRole {
    /// A worker thread: sends and does not receive.
    Send,
    /// The ingress thread: receives, and answers by unicast.
    Receive,
}

/// Most tries at finding a port that is free on every interface.
const PORT_TRIES: usize = 16;
/// Time before a socket that could not be opened is tried again: its address may still be in use by the former one.
const RETRY: Duration = Duration::from_millis(500);

impl DataSockets {
    /// Opens the sockets. `wanted`: names or addresses of interfaces, none for all that fit; `port`: 0 for a free one.
    /// Must be called within a runtime.
    ///
    /// # Errors
    /// If another program has the port. Interfaces that cannot be used are waited for.
    pub(crate) fn open(wanted: &[String], port: u16, batching: Batching) -> anyhow::Result<Self> {
        let watch = LinkWatch::begin(wanted.to_vec()).context("cannot list the network interfaces")?;
        let (selection, plane) = (watch.now(), watch::Sender::default());
        log_changes(&LinkSelection::default(), &selection);
        let mut tries = 1;
        loop {
            let mut sockets = Self {
                watch: watch.clone(),
                selection: selection.clone(),
                port,
                open: BTreeMap::new(),
                failed: BTreeSet::new(),
                batching,
                plane: plane.clone(),
            };
            match sockets.renew() {
                Err(SocketError::PortInUse(_)) if port == 0 && tries < PORT_TRIES => tries += 1,
                Err(error @ (SocketError::PortInUse(_) | SocketError::NotAllowed(_))) => {
                    return Err(error).context("cannot open the relay's UDP port (--udp-port, --iface)");
                }
                // Others are tried again.
                Ok(()) | Err(_) => return Ok(sockets),
            }
        }
    }

    /// Returns the interfaces that multicast is sent and joined on.
    pub(crate) fn links(&self) -> &[Link] {
        &self.selection.links
    }

    /// Returns the local address of each socket; all have one port.
    pub(crate) fn addrs(&self) -> Vec<SocketAddrV4> {
        self.open.values().map(|egress| egress.socket.local_addr()).collect()
    }

    /// Subscribes to the sockets.
    pub(crate) fn plane(&self) -> watch::Receiver<Arc<DataPlane>> {
        self.plane.subscribe()
    }

    /// Returns the empty set of sockets that a driver starts with before it is given [`DataPlane::changes`].
    pub(crate) fn none(&self) -> DriverSockets {
        DriverSockets::new().batching(self.batching)
    }

    /// Follows the interfaces until dropped.
    pub(crate) async fn keep(mut self) -> anyhow::Result<()> {
        loop {
            let waits = !self.failed.is_empty();
            tokio::select! {
                selection = self.watch.changed() => {
                    log_changes(&self.selection, &selection);
                    self.selection = selection;
                }
                () = sleep(RETRY), if waits => {}
            }
            // The failure was logged where it was found, and is retried.
            let _ = self.renew();
        }
    }

    /// Closes sockets that are no longer needed and opens missing ones; returns the first failure, if any.
    fn renew(&mut self) -> Result<(), SocketError> {
        let endpoints = endpoints(&self.selection.links);
        let before = self.open.clone();
        self.open
            .retain(|_, egress| endpoints.iter().any(|endpoint| endpoint.link.ip == *egress.socket.local_addr().ip()));
        let mut failure = None;
        let mut failed = BTreeSet::new();
        for endpoint in &endpoints {
            match self.ensure_open(endpoint) {
                Ok(()) => {}
                Err(error) => {
                    if !self.failed.contains(&endpoint.link.ip) {
                        warn!(interface = %endpoint.link, %error, "no UDP socket on this address yet");
                    }
                    failed.insert(endpoint.link.ip);
                    failure = failure.or(Some(error));
                }
            }
        }
        self.failed = failed;
        if self.open != before || self.plane.borrow().links != self.selection.links {
            let plane = DataPlane { sockets: self.open.clone(), links: self.selection.links.clone() };
            self.plane.send_replace(Arc::new(plane));
        }
        failure.map_or(Ok(()), Err)
    }

    /// Opens the socket of an address, or moves it to the renewed link.
    fn ensure_open(&mut self, endpoint: &SocketEndpoint) -> Result<(), SocketError> {
        let SocketEndpoint { link, multicast } = endpoint;
        let known = self.open.iter().find(|(_, egress)| *egress.socket.local_addr().ip() == link.ip);
        let (id, socket) = match known {
            Some((_, egress)) if egress.socket.link() == Some(link) && egress.multicast == *multicast => return Ok(()),
            Some((id, egress)) => (*id, egress.socket.on(link)?),
            None => (self.free_number(), DataSocket::open(link, self.port)?),
        };
        self.port = socket.local_addr().port();
        self.open.insert(id, EgressSocket { socket, multicast: *multicast });
        Ok(())
    }

    fn free_number(&self) -> SocketId {
        let mut numbers = (0..).map(SocketId);
        numbers.find(|id| !self.open.contains_key(id)).expect("there are fewer sockets than numbers")
    }
}

impl DataPlane {
    /// Returns the interfaces that multicast is sent and joined on.
    pub(crate) fn links(&self) -> &[Link] {
        &self.links
    }

    /// Returns the longest DATA body in bytes that every link carries.
    pub(crate) fn data_body(&self) -> usize {
        data_body(&self.links)
    }

    /// Returns the local address of each socket.
    pub(crate) fn addrs(&self) -> impl Iterator<Item = (SocketId, SocketAddrV4)> {
        self.sockets.iter().map(|(id, egress)| (*id, egress.socket.local_addr()))
    }

    /// Returns the changes that bring a driver from the sockets of `before` to these.
    pub(crate) fn changes(&self, before: &Self, usage: DriverRole) -> Vec<SocketChange> {
        let gone = before.sockets.keys().filter(|id| !self.sockets.contains_key(id)).map(|id| SocketChange::Close(*id));
        let new = self.sockets.iter().filter(|(id, egress)| before.sockets.get(id) != Some(egress));
        let adopt = |(id, egress): (&SocketId, &EgressSocket)| {
            let usage = match usage {
                DriverRole::Send => SocketUse { receive: false, multicast: egress.multicast },
                DriverRole::Receive => SocketUse { receive: true, multicast: false },
            };
            SocketChange::Adopt { id: *id, socket: egress.socket.clone(), usage }
        };
        gone.chain(new.map(adopt)).collect()
    }
}

/// An address that should have a socket.
#[derive(Debug, PartialEq, Eq)]
struct SocketEndpoint {
    link: Link,
    multicast: bool,
}

/// Returns the addresses that need a socket: all of each interface, as members may send NAK and STATUS to any of them, but
/// multicast leaves through the first alone.
fn endpoints(links: &[Link]) -> Vec<SocketEndpoint> {
    let mut endpoints: Vec<SocketEndpoint> = Vec::new();
    let each =
        links.iter().flat_map(|link| link.each_address().zip([true].into_iter().chain(std::iter::repeat(false))));
    for (link, multicast) in each.chain([(Link::loopback(), false)]) {
        // Two interfaces may have the same address; a socket can be bound to it once.
        if endpoints.iter().all(|endpoint| endpoint.link.ip != link.ip) {
            endpoints.push(SocketEndpoint { link, multicast });
        }
    }
    endpoints
}

/// Logs how the choice of interfaces changed.
fn log_changes(before: &LinkSelection, after: &LinkSelection) {
    for missing in after.missing.iter().filter(|missing| !before.missing.contains(missing)) {
        warn!("{missing}; it is waited for, and TCP and this machine are served meanwhile");
    }
    if before.links == after.links {
        return;
    }
    match after.fallback {
        None if after.links.is_empty() => warn!("multicast leaves through no interface for now"),
        None => {}
        Some(InterfaceFallback::Loopback) => {
            warn!("only loopback is left: nobody outside this machine will hear multicast")
        }
        Some(InterfaceFallback::ContainerOrVpn) => warn!("only container bridges or tunnels are left for multicast"),
    }
    let list = |links: &[Link]| links.iter().map(Link::to_string).collect::<Vec<_>>().join(", ");
    info!(interfaces = list(&after.links), "multicast leaves here");
    let (long, now) = (data_body(&[]), data_body(&after.links));
    if now < long && now != data_body(&before.links) {
        let narrow = after.links.iter().min_by_key(|link| link.mtu).map(|link| (link.to_string(), link.mtu));
        warn!(
            ?narrow,
            bytes = now,
            "an interface's MTU is low, so that datagrams hold less; large messages take more of them"
        );
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use gaung_net::interface::InterfaceAddr;

    use super::*;

    fn link(last: u8) -> Link {
        Link { ip: Ipv4Addr::new(127, 0, 7, last), ..Link::loopback() }
    }

    fn sockets(links: Vec<Link>) -> DataSockets {
        DataSockets {
            watch: LinkWatch::fixed(Vec::new()),
            selection: LinkSelection { links, ..LinkSelection::default() },
            port: 0,
            open: BTreeMap::new(),
            failed: BTreeSet::new(),
            batching: Batching::Single,
            plane: watch::Sender::default(),
        }
    }

    fn kinds(changes: &[SocketChange]) -> Vec<(&'static str, u32)> {
        let kind = |change: &SocketChange| match change {
            SocketChange::Close(id) => ("close", id.0),
            SocketChange::Adopt { id, .. } => ("adopt", id.0),
            SocketChange::OpenGroup { id, .. } | SocketChange::OpenBroadcast { id, .. } => ("other", id.0),
        };
        changes.iter().map(kind).collect()
    }

    #[test]
    fn every_address_is_heard_and_multicast_leaves_once() {
        let address = |last| InterfaceAddr { ip: link(last).ip, netmask: Ipv4Addr::BROADCAST, broadcast: None };
        let eth0 = Link { others: vec![address(2), address(3)], ..link(1) };
        let endpoints = endpoints(&[eth0, link(3)]);
        let ips: Vec<_> = endpoints.iter().map(|p| (p.link.ip.octets()[3], p.multicast)).collect();
        assert_eq!(ips, [(1, true), (2, false), (3, false), (1, false)], "the last one is 127.0.0.1");
    }

    #[test]
    fn sockets_come_go_and_move_to_a_card_that_was_made_anew() {
        let mut sockets = sockets(vec![link(1), link(2)]);
        let mut before = sockets.plane();
        sockets.renew().unwrap();
        let first = Arc::clone(&before.borrow_and_update());
        let port = sockets.port;
        assert!(port != 0 && sockets.addrs().iter().all(|addr| addr.port() == port), "{:?}", sockets.addrs());
        assert_eq!(first.changes(&DataPlane::default(), DriverRole::Send).len(), 3);
        sockets.renew().unwrap();
        assert!(!before.has_changed().unwrap(), "nothing is told of that did not change");

        // The second address goes, the first one's card was made anew, and a third address comes.
        sockets.selection.links = vec![Link { renewals: 1, ..link(1) }, link(3)];
        sockets.renew().unwrap();
        let second = Arc::clone(&before.borrow_and_update());
        assert_eq!(
            kinds(&second.changes(&first, DriverRole::Receive)),
            [("adopt", 0), ("adopt", 1)],
            "in place of the former"
        );
        let kept = |plane: &DataPlane| plane.sockets[&SocketId(0)].socket.local_addr();
        assert_eq!(kept(&first), kept(&second));
        sockets.selection.links.pop();
        sockets.renew().unwrap();
        let third = Arc::clone(&before.borrow_and_update());
        assert_eq!(kinds(&third.changes(&second, DriverRole::Send)), [("close", 1)]);
    }

    #[test]
    fn an_address_that_is_not_here_yet_is_tried_again() {
        let foreign = Link { ip: Ipv4Addr::new(192, 0, 2, 77), ..Link::loopback() };
        let mut sockets = sockets(vec![foreign, link(4)]);
        assert!(matches!(sockets.renew(), Err(SocketError::NoSuchAddress(_))));
        assert_eq!((sockets.failed.len(), sockets.open.len()), (1, 2), "the others are served");
        sockets.selection.links.remove(0);
        sockets.renew().unwrap();
        assert!(sockets.failed.is_empty());
    }
}
