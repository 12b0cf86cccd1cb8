//! Reads the interfaces from the system: addresses and flags by getifaddrs, roles from `/sys/class/net`.

use std::{collections::BTreeMap, fs, io, net::Ipv4Addr, path::Path};

use nix::{
    ifaddrs::{InterfaceAddress, getifaddrs},
    net::if_::{InterfaceFlags, if_nametoindex},
    sys::socket::SockaddrStorage,
};

use super::{Interface, InterfaceAddr, Role};

/// All interfaces, in the order of their numbers.
///
/// # Errors
/// If the system does not list them.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let mut by_index = BTreeMap::new();
    let gateways = gateways(&fs::read_to_string("/proc/net/route").unwrap_or_default());
    for entry in getifaddrs()? {
        // One that vanished since the list was made has no number any more.
        let Ok(index) = if_nametoindex(entry.interface_name.as_str()) else { continue };
        let interface = by_index.entry(index).or_insert_with(|| describe(&entry, index));
        interface.addresses.extend(address(&entry));
    }
    for interface in by_index.values_mut() {
        let gateway = gateways.get(&interface.name);
        // The order of the others stays.
        interface.addresses.sort_by_key(|address| !gateway.is_some_and(|gateway| address.contains(*gateway)));
    }
    Ok(by_index.into_values().collect())
}

fn describe(entry: &InterfaceAddress, index: u32) -> Interface {
    let flags = entry.flags;
    let facts = SysfsFacts::read(Path::new("/sys/class/net"), &entry.interface_name);
    Interface {
        role: role(&entry.interface_name, flags, &facts),
        name: entry.interface_name.clone(),
        index,
        addresses: Vec::new(),
        up: flags.contains(InterfaceFlags::IFF_UP),
        running: flags.contains(InterfaceFlags::IFF_RUNNING),
        multicast: flags.contains(InterfaceFlags::IFF_MULTICAST),
        broadcast: flags.contains(InterfaceFlags::IFF_BROADCAST),
        mtu: facts.mtu.unwrap_or(ETHERNET_MTU),
        renewals: 0,
    }
}

/// MTU assumed where the system does not report one.
const ETHERNET_MTU: u32 = 1500;

/// The default gateway of each interface that has one, the most preferred if several, from the table of routes as
/// `/proc/net/route` shows it: addresses are hexadecimal, in the machine's own order of bytes.
pub(super) fn gateways(table: &str) -> BTreeMap<String, Ipv4Addr> {
    let mut best: BTreeMap<String, (u32, Ipv4Addr)> = BTreeMap::new();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [name, "00000000", gateway, _, _, _, metric, "00000000", ..] = fields[..] else { continue };
        let (Ok(gateway), Ok(metric)) = (u32::from_str_radix(gateway, 16), metric.parse()) else { continue };
        let gateway = Ipv4Addr::from(gateway.to_ne_bytes());
        let better = best.get(name).is_none_or(|(known, _)| metric < *known);
        if better && !gateway.is_unspecified() {
            best.insert(name.to_owned(), (metric, gateway));
        }
    }
    best.into_iter().map(|(name, (_, gateway))| (name, gateway)).collect()
}

fn address(entry: &InterfaceAddress) -> Option<InterfaceAddr> {
    let ip = |a: &Option<SockaddrStorage>| a.as_ref().and_then(|a| a.as_sockaddr_in().map(|a| a.ip()));
    Some(InterfaceAddr {
        ip: ip(&entry.address)?,
        netmask: ip(&entry.netmask).unwrap_or(Ipv4Addr::BROADCAST),
        broadcast: ip(&entry.broadcast),
    })
}

/// Properties from `/sys/class/net/NAME`; all false or unknown where it cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct SysfsFacts {
    pub(super) wireless: bool,
    pub(super) bridge: bool,
    pub(super) bridge_port: bool,
    pub(super) tunnel: bool,
    pub(super) mtu: Option<u32>,
}

impl SysfsFacts {
    pub(super) fn read(root: &Path, name: &str) -> Self {
        let dir = root.join(name);
        let has = |file: &str| dir.join(file).exists();
        let uevent = fs::read_to_string(dir.join("uevent")).unwrap_or_default();
        Self {
            wireless: has("wireless") || has("phy80211"),
            bridge: has("bridge"),
            bridge_port: has("brport"),
            tunnel: has("tun_flags") || uevent.lines().any(|line| line == "DEVTYPE=wireguard"),
            mtu: fs::read_to_string(dir.join("mtu")).ok().and_then(|text| text.trim().parse().ok()),
        }
    }
}

pub(super) fn role(name: &str, flags: InterfaceFlags, facts: &SysfsFacts) -> Role {
    let named = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if flags.contains(InterfaceFlags::IFF_LOOPBACK) {
        Role::Loopback
    } else if facts.bridge_port || named(CONTAINERS) || is_docker_network(name) {
        Role::Container
    } else if facts.tunnel || flags.contains(InterfaceFlags::IFF_POINTOPOINT) || named(&["tun", "tap", "wg", "ppp"]) {
        Role::Vpn
    } else if facts.wireless {
        Role::Wifi
    } else if facts.bridge {
        Role::Bridge
    } else {
        Role::Wired
    }
}

/// Bridges and inner ends of container and machine software, and the addresses that Kubernetes keeps on interfaces which
/// lead nowhere.
const CONTAINERS: &[&str] = &[
    "docker",
    "virbr",
    "podman",
    "cni",
    "lxcbr",
    "lxdbr",
    "flannel",
    "cali",
    "cilium",
    "kube-",
    "nodelocaldns",
    "dummy",
];

/// Docker calls its networks' bridges `br-` and the first 12 hexadecimal digits of their id; a person's bridge, such as
/// OpenWrt's `br-lan` or OpenStack's `br-ex`, may begin so too.
fn is_docker_network(name: &str) -> bool {
    let id = name.strip_prefix("br-").unwrap_or_default();
    id.len() == 12 && id.chars().all(|c| c.is_ascii_hexdigit())
}
