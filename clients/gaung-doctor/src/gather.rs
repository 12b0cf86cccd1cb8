//! Examines this machine and records [`Facts`]. Nothing here judges, and what cannot be examined is no error.

mod bridge;
mod filter;
mod foreign;
mod probes;
mod proc;
mod routes;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddrV4},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use gaung_net::{
    discovery::DISCOVERY_GROUP,
    interface::{Interface, InterfaceAddr, interfaces},
    probe,
};
use gaung_proto::ports;

pub use foreign::KnownGroup;

use super::facts::{AddressFacts, BufferFacts, DiscoveryFacts, Facts, InterfaceFacts, NotLookedAt, Unseen};

/// An address that nobody has (RFC 5737): only a default route leads there.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// Options of the examination.
pub(super) struct Look<'a> {
    /// The requested interface.
    pub(super) wanted: Option<String>,
    /// Whether not to wait a query interval for a querier.
    pub(super) quick: bool,
    /// The groups of a server, or why they are not known.
    pub(super) groups: Result<Vec<KnownGroup>, String>,
    /// The result of a search for servers.
    pub(super) discovery: Option<DiscoveryFacts>,
    /// See [`Facts::copies`].
    pub(super) copies: Vec<Vec<SocketAddrV4>>,
    /// Returns whether the person has stopped the examination.
    pub(super) stopped: &'a dyn Fn() -> bool,
}

/// Examines this machine for a few seconds, or for a query interval where no querier answers.
///
/// # Errors
/// If the system does not list its interfaces.
pub(super) fn gather(look: Look<'_>) -> anyhow::Result<Facts> {
    let system = System::default();
    let mut facts = Facts {
        wanted: look.wanted,
        interfaces: system.interfaces().context("cannot list this machine's interfaces")?,
        multicast_source: probe::source_towards(SocketAddrV4::new(DISCOVERY_GROUP, ports::DISCOVERY)).ok(),
        receive_buffer: None,
        max_memberships: system.setting("igmp_max_memberships"),
        default_source: probe::source_towards(SocketAddrV4::new(ELSEWHERE, ports::REGISTRY)).ok(),
        groups: Vec::new(),
        discovery: look.discovery,
        copies: look.copies,
        server: None,
        firewall: None,
        foreign: Vec::new(),
        peer: None,
        not_looked_at: Vec::new(),
    };
    match probe::receive_buffer() {
        Ok(buffer) => {
            facts.receive_buffer = Some(BufferFacts { wanted_bytes: buffer.wanted_bytes, got_bytes: buffer.got_bytes });
        }
        Err(error) => facts.could_not_look(Unseen::ReceiveBuffer, error),
    }
    filter::read(&mut facts);
    // Without an interface there is nothing to try; the rules report that.
    if let Ok(chosen) = facts.chosen() {
        probes::try_out(&mut facts, &chosen.links, look.quick, look.stopped);
        if !(look.stopped)() {
            foreign::listen(&mut facts, &chosen.links, look.groups);
        }
    }
    Ok(facts)
}

impl Facts {
    fn could_not_look(&mut self, what: Unseen, why: impl ToString) {
        self.not_looked_at.push(NotLookedAt { what, why: why.to_string() });
    }
}

/// The places from which the system's state is read.
#[derive(Debug)]
struct System {
    sys_class_net: PathBuf,
    proc_net_igmp: PathBuf,
    proc_sys_ipv4: PathBuf,
}

impl Default for System {
    fn default() -> Self {
        Self {
            sys_class_net: "/sys/class/net".into(),
            proc_net_igmp: "/proc/net/igmp".into(),
            proc_sys_ipv4: "/proc/sys/net/ipv4".into(),
        }
    }
}

impl System {
    fn interfaces(&self) -> io::Result<Vec<InterfaceFacts>> {
        let igmp = proc::igmp(&fs::read_to_string(&self.proc_net_igmp).unwrap_or_default());
        Ok(interfaces()?.into_iter().map(|interface| self.describe(interface, &igmp)).collect())
    }

    fn describe(&self, interface: Interface, igmp: &[proc::IgmpInterface]) -> InterfaceFacts {
        let Interface { name, index, addresses, up, running, multicast, broadcast, role, .. } = interface;
        let folder = self.sys_class_net.join(&name);
        let igmp = igmp.iter().find(|igmp| igmp.index == index);
        let master = fs::read_link(folder.join("master")).ok();
        InterfaceFacts {
            kind: role.into(),
            up,
            running,
            multicast,
            can_broadcast: broadcast,
            hardware: folder.join("device").exists(),
            part_of: master.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())),
            mtu: number(&folder.join("mtu")),
            addresses: addresses.into_iter().map(AddressFacts::from).collect(),
            igmp_version: igmp.map(|igmp| igmp.version),
            forced_igmp_version: self.of_interface(&name, "force_igmp_version").map(|version| version as u8),
            memberships: igmp.map(|igmp| igmp.groups.clone()).unwrap_or_default(),
            rp_filter: self.of_interface(&name, "rp_filter").map(|filter| filter as u8),
            mac: mac(&folder.join("address")),
            bridge: bridge::read(&folder),
            probe: None,
            name,
            index,
        }
    }

    fn setting(&self, name: &str) -> Option<u32> {
        number(&self.proc_sys_ipv4.join(name))
    }

    /// Reads a setting that is the greater of the interface's own and that of all.
    fn of_interface(&self, interface: &str, name: &str) -> Option<u32> {
        let of = |whose: &str| self.setting(&format!("conf/{whose}/{name}"));
        Some(of(interface)?.max(of("all").unwrap_or(0)))
    }
}

impl From<InterfaceAddr> for AddressFacts {
    fn from(address: InterfaceAddr) -> Self {
        Self { ip: address.ip, netmask: address.netmask, broadcast: address.broadcast }
    }
}

fn number(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Reads an Ethernet address, `AA:BB:CC:DD:EE:FF`; `None` if the interface has none.
fn mac(path: &Path) -> Option<[u8; 6]> {
    let text = fs::read_to_string(path).ok()?;
    let bytes: Vec<_> =
        text.trim().split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>().ok()?;
    <[u8; 6]>::try_from(bytes).ok()
}

/// Parts of the own network, of each of which one address stands for the neighbours.
const PARTS: u32 = 8;

/// Returns addresses that neighbours on the same network may have, spread over it and never one's own: no single one
/// stands for all, because a rule or route may be about it alone.
pub(super) fn neighbours(ip: Ipv4Addr, netmask: Ipv4Addr) -> Vec<Ipv4Addr> {
    let (network, hosts) = (ip.to_bits() & netmask.to_bits(), !netmask.to_bits());
    // The network's own address and its broadcast address are nobody's; /31 and /32 have neither.
    if hosts < 3 {
        return Vec::new();
    }
    let spread = (1..PARTS).map(|part| u32::try_from(u64::from(hosts) * u64::from(part) / u64::from(PARTS)));
    let offsets = [1, 2, hosts - 1].into_iter().chain(spread.flatten().filter(|offset| *offset > 0));
    let mut all: Vec<_> =
        offsets.map(|offset| Ipv4Addr::from_bits(network | offset)).filter(|other| *other != ip).collect();
    all.sort_unstable();
    all.dedup();
    all
}
