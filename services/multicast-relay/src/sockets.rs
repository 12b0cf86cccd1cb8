//! The relay's UDP sockets: one on each chosen interface, and one on 127.0.0.1, all on one port.

use std::{io, net::SocketAddrV4};

use anyhow::Context as _;
use gaung_net::{
    driver::{Batching, DriverSockets, SocketId, SocketUse},
    interface::{self, Chosen, Fallback, Link, Role},
    multicast::DataSocket,
};
use tracing::warn;

/// The sockets of the data plane.
#[derive(Debug)]
pub(crate) struct DataSockets {
    sockets: Vec<DataSocket>,
    /// How many of `sockets`, from the first on, multicast leaves through.
    multicast: usize,
    links: Vec<Link>,
    batching: Batching,
}

/// Tries at finding a port that is free on every interface.
const PORT_TRIES: usize = 16;

impl DataSockets {
    /// Opens the sockets. `wanted`: names or addresses of interfaces, none for all that fit; `port`: 0 for a free one.
    pub(crate) fn open(wanted: &[String], port: u16, batching: Batching) -> anyhow::Result<Self> {
        let links = choose(wanted)?;
        let mut all = links.clone();
        if !all.iter().any(|link| link.role == Role::Loopback) {
            all.push(Link::loopback());
        }
        let mut tries = 1;
        let sockets = loop {
            match open_all(&all, port) {
                Ok(sockets) => break sockets,
                Err(_) if port == 0 && tries < PORT_TRIES => tries += 1,
                Err(error) => return Err(error).context("cannot open the relay's UDP port (--udp-port, --iface)"),
            }
        };
        Ok(Self { sockets, multicast: links.len(), links, batching })
    }

    /// Interfaces that multicast leaves through and is joined on.
    pub(crate) fn links(&self) -> &[Link] {
        &self.links
    }

    /// The own addresses, one for each socket; all have one port.
    pub(crate) fn addrs(&self) -> Vec<SocketAddrV4> {
        self.sockets.iter().map(DataSocket::local_addr).collect()
    }

    /// Clones for a worker, which sends and does not receive.
    pub(crate) fn for_sending(&self) -> io::Result<DriverSockets> {
        self.shared(|at| SocketUse { receive: false, multicast: at < self.multicast })
    }

    /// Clones for the one thread that receives.
    pub(crate) fn for_receiving(&self) -> io::Result<DriverSockets> {
        self.shared(|_| SocketUse { receive: true, multicast: false })
    }

    /// The own address of a socket by its number in [`Self::for_receiving`].
    pub(crate) fn number(at: usize) -> SocketId {
        SocketId(at as u32)
    }

    fn shared(&self, usage: impl Fn(usize) -> SocketUse) -> io::Result<DriverSockets> {
        let mut shared = DriverSockets::new().batching(self.batching);
        for (at, socket) in self.sockets.iter().enumerate() {
            shared = shared.data(Self::number(at), socket.try_clone()?, usage(at));
        }
        Ok(shared)
    }
}

fn choose(wanted: &[String]) -> anyhow::Result<Vec<Link>> {
    let interfaces = interface::interfaces().context("cannot list the network interfaces")?;
    if wanted.is_empty() {
        let Chosen { links, fallback } = interface::choose(&interfaces, None)?;
        match fallback {
            None => {}
            Some(Fallback::Loopback) => warn!("only loopback is left: nobody outside this machine will hear multicast"),
            Some(Fallback::ContainerOrVpn) => warn!("only container bridges or tunnels are left for multicast"),
        }
        return Ok(links);
    }
    let mut links: Vec<Link> = Vec::new();
    for name in wanted {
        for link in interface::choose(&interfaces, Some(name)).context("--iface")?.links {
            if !links.contains(&link) {
                links.push(link);
            }
        }
    }
    Ok(links)
}

fn open_all(links: &[Link], port: u16) -> Result<Vec<DataSocket>, gaung_net::SocketError> {
    let mut port = port;
    let mut sockets = Vec::new();
    for link in links {
        let socket = DataSocket::open(link, port)?;
        port = socket.local_addr().port();
        sockets.push(socket);
    }
    Ok(sockets)
}
