//! Parses `/proc/net/igmp`: this machine's memberships.

use std::net::Ipv4Addr;

/// One interface of the listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IgmpInterface {
    /// The interface's number.
    pub(super) index: u32,
    /// 1 to 3: the version spoken, that of an older querier if there is one.
    pub(super) version: u8,
    /// The groups.
    pub(super) groups: Vec<Ipv4Addr>,
}

/// Parses the listing; invalid lines are skipped.
///
/// ```text
/// Idx Device    : Count Querier   Group    Users Timer    Reporter
/// 4   eth0      :     1      V3
///                 010000E0     1 0:00000000       0
/// ```
pub(super) fn igmp(listing: &str) -> Vec<IgmpInterface> {
    let mut interfaces: Vec<IgmpInterface> = Vec::new();
    for line in listing.lines().skip(1) {
        let mut words = line.split_whitespace();
        if line.starts_with(['\t', ' ']) {
            let group = words.next().and_then(|word| u32::from_str_radix(word, 16).ok());
            // The kernel prints the address as a number of the machine's own byte order.
            let group = group.map(|bits| Ipv4Addr::from(bits.to_ne_bytes()));
            if let (Some(interface), Some(group)) = (interfaces.last_mut(), group) {
                interface.groups.push(group);
            }
        } else {
            let index = words.next().and_then(|word| word.parse().ok());
            let version = words.last().and_then(|word| word.strip_prefix('V')?.parse().ok());
            if let (Some(index), Some(version)) = (index, version) {
                interfaces.push(IgmpInterface { index, version, groups: Vec::new() });
            }
        }
    }
    interfaces
}
