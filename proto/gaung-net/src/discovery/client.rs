//! Sends discovery requests and collects the answers.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use socket2::{SockRef, Socket};
use tokio::{
    net::UdpSocket,
    time::{Instant, sleep_until},
};
use tracing::debug;

use super::{
    DISCOVERY_GROUP, FoundService, ServiceKind,
    datagram::{DiscoveryAnswer, DiscoveryRequest, DiscoveryVersion, LENGTH},
    found::note,
    group_sockets::GroupSockets,
};
use crate::{
    interface::{Link, Role},
    socket::{self, PortSharing, SocketError},
};

/// A search for services: what to look for, where and for how long.
#[derive(Debug, Clone)]
pub struct Discovery {
    /// The port that services listen on, [`gaung_proto::ports::DISCOVERY`] unless told otherwise.
    pub port: u16,
    /// The interfaces to send requests on; loopback is always used too.
    pub links: Vec<Link>,
    /// The kind of service to find; `None`: all.
    pub wanted: Option<ServiceKind>,
    /// How long to wait for a first answer.
    pub timeout: Duration,
    /// How long to wait for others after the first.
    pub settle: Duration,
}

impl Discovery {
    /// Looks for registries: 1 s for the first answer, 200 ms more for others.
    #[must_use]
    pub fn registries(links: Vec<Link>) -> Self {
        Self {
            port: gaung_proto::ports::DISCOVERY,
            links,
            wanted: Some(ServiceKind::Registry),
            timeout: Duration::from_secs(1),
            settle: Duration::from_millis(200),
        }
    }
}

/// Interval at which requests are repeated, for they may be lost.
const REPEAT: Duration = Duration::from_millis(150);

/// Finds the services of the network; returns when the first answer has settled or the time is over; none may answer.
///
/// # Errors
/// [`SocketError`] if no socket can be opened. Interfaces that cannot send are passed over.
pub async fn discover(discovery: &Discovery) -> Result<Vec<FoundService>, SocketError> {
    let socket = open()?;
    // Answers come to the group too, because a stateful packet filter drops unicast answers to a request that went to a
    // group.
    let mut group = GroupSockets::new(discovery.port);
    group.relink(&discovery.links, false);
    let request = DiscoveryRequest {
        version: DiscoveryVersion::Two,
        nonce: rand::random(),
        wanted: discovery.wanted,
        instance: true,
        multicast: false,
    };
    let mut found = Vec::new();
    let mut buffer = [0; LENGTH + 1];
    let mut end = Instant::now() + discovery.timeout;
    let mut request_at = Instant::now();
    let mut is_repeat = false;
    loop {
        tokio::select! {
            biased;
            () = sleep_until(end) => return Ok(found),
            () = sleep_until(request_at) => {
                let by_multicast = DiscoveryRequest { multicast: is_repeat && found.is_empty(), ..request };
                for version in [DiscoveryVersion::Two, DiscoveryVersion::One] {
                    send_request(&socket, DiscoveryRequest { version, ..by_multicast }, discovery);
                }
                if is_repeat && found.is_empty() {
                    // Services without support for flags answer this one.
                    let plain = DiscoveryRequest { version: DiscoveryVersion::One, instance: false, ..request };
                    send_request(&socket, plain, discovery);
                }
                is_repeat = true;
                request_at += REPEAT;
            }
            received = group.receive(&socket, &mut buffer) => {
                // ICMP errors of earlier sends come out here and mean nothing.
                let Ok((length, SocketAddr::V4(from))) = received else { continue };
                let Some(answer) = DiscoveryAnswer::decode(&buffer[..length]).filter(|a| a.nonce == request.nonce) else { continue };
                if found.is_empty() {
                    end = end.min(Instant::now() + discovery.settle);
                }
                note(&mut found, answer, *from.ip());
            }
        }
    }
}

fn open() -> Result<UdpSocket, SocketError> {
    let socket: Socket = socket::open(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), PortSharing::Alone)?;
    socket.set_broadcast(true).map_err(SocketError::system("allow broadcast"))?;
    UdpSocket::from_std(socket.into()).map_err(SocketError::system("watch the discovery socket"))
}

fn send_request(socket: &UdpSocket, request: DiscoveryRequest, discovery: &Discovery) {
    let bytes = request.encode();
    let loopback = Link::loopback();
    let others = discovery.links.iter().filter(|link| link.role != Role::Loopback);
    for link in others.chain([&loopback]) {
        let group = SocketAddrV4::new(DISCOVERY_GROUP, discovery.port);
        let multicast = SockRef::from(socket).set_multicast_if_v4(&link.ip).and_then(|()| send(socket, &bytes, group));
        let networks = link.each_address().filter_map(|address| address.broadcast());
        let broadcast = networks.map(|ip| send(socket, &bytes, SocketAddrV4::new(ip, discovery.port)));
        for error in [multicast].into_iter().chain(broadcast).filter_map(Result::err) {
            debug!(interface = link.name, %error, "discovery request not sent");
        }
    }
}

fn send(socket: &UdpSocket, bytes: &[u8], to: SocketAddrV4) -> std::io::Result<()> {
    socket.try_send_to(bytes, to.into()).map(|_| ())
}
