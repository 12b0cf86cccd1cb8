//! The names and addresses of this machine that a site may certify, so that browsers can open a page there.

use std::fs;

use gaung_site::LocalName;

use crate::interface::{Interface, interfaces};

/// Most names of one certificate: far fewer than fit into the 4096 bytes that a client reads.
const MAX_NAMES: usize = 64;

/// Returns this machine's private IPv4 addresses, `localhost`, and its host name in the domain `.local` and as it is, if that lies in
/// a local domain; 64 names at most, those of interfaces that are up.
#[must_use]
pub fn local_names() -> Vec<LocalName> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    names_of(&interfaces().unwrap_or_default(), host.trim())
}

fn names_of(interfaces: &[Interface], host: &str) -> Vec<LocalName> {
    let label = host.split('.').next().unwrap_or_default();
    let hosts = ["localhost", &format!("{label}.local"), host].map(LocalName::host);
    let up = interfaces.iter().filter(|interface| interface.up);
    let addresses = up.flat_map(|interface| &interface.addresses).map(|address| LocalName::address(address.ip));
    let mut names: Vec<LocalName> = Vec::new();
    for name in hosts.into_iter().chain(addresses).flatten() {
        if !names.contains(&name) && names.len() < MAX_NAMES {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::interface::{InterfaceAddr, Role};

    fn interface(up: bool, addresses: &[[u8; 4]]) -> Interface {
        let address = |ip: &[u8; 4]| InterfaceAddr {
            ip: Ipv4Addr::from(*ip),
            netmask: Ipv4Addr::new(255, 255, 255, 0),
            broadcast: None,
        };
        Interface {
            name: "eth0".to_owned(),
            index: 2,
            addresses: addresses.iter().map(address).collect(),
            up,
            running: true,
            multicast: true,
            broadcast: true,
            role: Role::Wired,
            mtu: 1500,
            renewals: 0,
        }
    }

    fn addresses(names: &[LocalName]) -> Vec<[u8; 4]> {
        let address = |name: &LocalName| match name {
            LocalName::Address(ip) => Some(ip.octets()),
            LocalName::Host(_) => None,
        };
        names.iter().filter_map(address).collect()
    }

    #[test]
    fn private_addresses_of_interfaces_that_are_up_are_certified_each_once() {
        let up = interface(true, &[[192, 168, 1, 10], [8, 8, 8, 8], [10, 0, 0, 1]]);
        let names = names_of(&[up.clone(), interface(false, &[[10, 0, 0, 2]]), up], "");
        assert_eq!(addresses(&names), [[192, 168, 1, 10], [10, 0, 0, 1]]);
    }

    #[test]
    fn the_host_is_named_in_local_domains_alone() {
        let hosts = |host| {
            let names = names_of(&[], host);
            let has = |name: &str| LocalName::host(name).is_some_and(|name| names.contains(&name));
            (names.len(), has("localhost"), has("kelas-5.local"), has("kelas-5.lan"))
        };
        assert_eq!(hosts("kelas-5"), (2, true, true, false));
        assert_eq!(hosts("kelas-5.lan"), (3, true, true, true));
        assert_eq!(hosts("kelas-5.example.com"), (2, true, true, false));
        assert_eq!(hosts("kelas-5.local"), (2, true, true, false));
        assert_eq!(hosts(""), (1, true, false, false), "no label is no name");
    }

    #[test]
    fn a_machine_with_many_addresses_gets_as_many_names_as_fit() {
        let many: Vec<[u8; 4]> = (0..=255).map(|last| [10, 0, 0, last]).collect();
        assert_eq!(names_of(&[interface(true, &many)], "kelas-5").len(), MAX_NAMES);
    }
}
