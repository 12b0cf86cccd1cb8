//! Which multicast addresses a group may have (RFC 1112, RFC 2365, RFC 5771).

use std::{fmt, net::Ipv4Addr};

use gaung_net::discovery::DISCOVERY_GROUP;
use ipnet::Ipv4Net;

/// The low 23 bits of a group address: all that an Ethernet address keeps of it (RFC 1112 section 6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Low23(u32);

impl Low23 {
    const MASK: u32 = (1 << 23) - 1;

    /// Returns the low 23 bits of `ip`.
    #[must_use]
    pub fn of(ip: Ipv4Addr) -> Self {
        Self(u32::from(ip) & Self::MASK)
    }

    /// Makes the value of what the store holds; `None` if there are more than 23 bits.
    #[must_use]
    pub fn from_bits(bits: u32) -> Option<Self> {
        (bits <= Self::MASK).then_some(Self(bits))
    }

    /// Returns the bits as a number.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

/// Addresses that other programs use without an assignment, and Gaung's own.
const SQUATTERS: [(Ipv4Addr, &str); 10] = [
    (DISCOVERY_GROUP, "Gaung's discovery"),
    (Ipv4Addr::new(224, 0, 0, 251), "mDNS"),
    (Ipv4Addr::new(239, 255, 255, 250), "SSDP"),
    (Ipv4Addr::new(224, 2, 127, 254), "SAP"),
    (Ipv4Addr::new(239, 255, 255, 255), "SAP"),
    (Ipv4Addr::new(239, 195, 255, 255), "SAP"),
    (Ipv4Addr::new(239, 255, 76, 67), "LCM"),
    (Ipv4Addr::new(239, 255, 64, 75), "BeeBEEP"),
    (Ipv4Addr::new(239, 255, 100, 100), "LAN Messenger"),
    (Ipv4Addr::new(239, 255, 0, 1), "DDS"),
];

/// Why a group cannot have an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressRefusal {
    /// The address lies outside 224.0.0.0/4.
    #[error("{0} is not a multicast address; use one from 239.0.0.0 to 239.255.255.255, or leave --address out")]
    NotMulticast(Ipv4Addr),
    /// The address lies in 224.0.0.0/24.
    #[error(
        "{0} is link-local (224.0.0.0/24 is kept for routing protocols); use one from 239.0.0.0/8, or leave --address out"
    )]
    LinkLocal(Ipv4Addr),
    /// The address lies in 224.0.1.0/24.
    #[error(
        "{0} is assigned to a protocol (224.0.1.0/24, internetwork control); use one from 239.0.0.0/8, or leave --address out"
    )]
    Internetwork(Ipv4Addr),
    /// The address lies in 232.0.0.0/8.
    #[error(
        "{0} is source-specific (232.0.0.0/8 cannot be joined without a source); use one from 239.0.0.0/8, or leave --address out"
    )]
    SourceSpecific(Ipv4Addr),
    /// Another program uses the address, or one that maps to the same Ethernet address.
    #[error("{ip} is used by {user}, or shares its Ethernet address; choose another, or leave --address out")]
    Squatted {
        /// The address.
        ip: Ipv4Addr,
        /// The program that uses it.
        user: &'static str,
    },
    /// The address maps to the same Ethernet address as one of 224.0.0.0/24, which every switch floods.
    #[error("{0} has the same low 23 bits as 224.0.0.{last}, so switches flood it to everyone; choose another, or leave --address out", last = .0.octets()[3])]
    AliasesLinkLocal(Ipv4Addr),
}

/// Checks that a group may have `ip`. Whether another group has it is decided by the tables.
///
/// # Errors
/// [`AddressRefusal`], the first that applies.
pub fn check(ip: Ipv4Addr) -> Result<(), AddressRefusal> {
    let [a, b, c, _] = ip.octets();
    if !ip.is_multicast() {
        return Err(AddressRefusal::NotMulticast(ip));
    }
    match (a, b, c) {
        (224, 0, 0) => return Err(AddressRefusal::LinkLocal(ip)),
        (224, 0, 1) => return Err(AddressRefusal::Internetwork(ip)),
        (232, ..) => return Err(AddressRefusal::SourceSpecific(ip)),
        _ => {}
    }
    if Low23::of(ip).bits() < 256 {
        return Err(AddressRefusal::AliasesLinkLocal(ip));
    }
    match SQUATTERS.iter().find(|(taken, _)| Low23::of(*taken) == Low23::of(ip)) {
        Some((_, user)) => Err(AddressRefusal::Squatted { ip, user }),
        None => Ok(()),
    }
}

/// A range that the registry chooses addresses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    net: Ipv4Net,
    /// Addresses from the beginning of `net` that may be used.
    len: u32,
}

/// Why a range cannot be a pool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The range does not lie within 224.0.0.0/4.
    #[error("{0} lies outside the multicast addresses; give a range such as 239.255.10.0/24")]
    NotMulticast(Ipv4Net),
    /// The range has more than 2^20 addresses.
    #[error("{0} is too large; give a range of /12 or smaller, such as 239.255.0.0/16")]
    TooLarge(Ipv4Net),
    /// Every address of the range is refused.
    #[error("no address of {0} can be used: {1}")]
    Unusable(Ipv4Net, AddressRefusal),
}

impl Pool {
    /// Returns the pool of site scope: 239.255.0.0/16 without its top /24 (RFC 2365 assigns relative offsets there).
    #[must_use]
    pub fn site() -> Self {
        Self::without_top(Ipv4Addr::new(239, 255, 0, 0), 16)
    }

    /// Returns the pool of organization scope: 239.192.0.0/14 without its top /24.
    #[must_use]
    pub fn organization() -> Self {
        Self::without_top(Ipv4Addr::new(239, 192, 0, 0), 14)
    }

    fn without_top(first: Ipv4Addr, prefix: u8) -> Self {
        let net = Ipv4Net::new_assert(first, prefix);
        Self { net, len: (1 << (32 - u32::from(prefix))) - 256 }
    }

    /// Makes a pool of all of `net`.
    ///
    /// # Errors
    /// [`PoolError`], each case.
    pub fn new(net: Ipv4Net) -> Result<Self, PoolError> {
        let net = net.trunc();
        if !net.network().is_multicast() || net.prefix_len() < 4 {
            return Err(PoolError::NotMulticast(net));
        }
        if net.prefix_len() < 12 {
            return Err(PoolError::TooLarge(net));
        }
        let pool = Self { net, len: 1 << (32 - u32::from(net.prefix_len())) };
        match check(net.network()) {
            Err(refusal) if pool.usable().next().is_none() => Err(PoolError::Unusable(net, refusal)),
            Ok(()) | Err(_) => Ok(pool),
        }
    }

    /// Returns how many addresses the pool spans, refused ones included.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Returns false: a pool always has an address that can be used.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Returns the address at `index` if it lies in the pool and a group may have it.
    #[must_use]
    pub fn nth(&self, index: u32) -> Option<Ipv4Addr> {
        let ip = Ipv4Addr::from(u32::from(self.net.network()) + index);
        (index < self.len && check(ip).is_ok()).then_some(ip)
    }

    /// Iterates over every address that a group may have, in order.
    pub fn usable(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        (0..self.len).filter_map(|index| self.nth(index))
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.net.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn refusal(ip: &str) -> AddressRefusal {
        check(ip.parse().unwrap()).unwrap_err()
    }

    #[test]
    fn each_refused_address_has_its_own_reason() {
        assert!(matches!(refusal("192.168.1.1"), AddressRefusal::NotMulticast(_)));
        assert!(matches!(refusal("240.0.0.1"), AddressRefusal::NotMulticast(_)));
        assert!(matches!(refusal("224.0.0.5"), AddressRefusal::LinkLocal(_)));
        assert!(matches!(refusal("224.0.0.251"), AddressRefusal::LinkLocal(_)));
        assert!(matches!(refusal("224.0.1.1"), AddressRefusal::Internetwork(_)));
        assert!(matches!(refusal("232.1.2.3"), AddressRefusal::SourceSpecific(_)));
        assert!(matches!(refusal("239.255.76.67"), AddressRefusal::Squatted { user: "LCM", .. }));
        assert!(matches!(refusal("239.127.76.67"), AddressRefusal::Squatted { user: "LCM", .. }));
        assert!(matches!(refusal("225.0.0.9"), AddressRefusal::AliasesLinkLocal(_)));
        assert!(matches!(refusal("239.128.0.9"), AddressRefusal::AliasesLinkLocal(_)));
        let texts: Vec<String> = ["1.1.1.1", "224.0.0.5", "224.0.1.1", "232.1.1.1", "239.255.76.67", "239.128.0.9"]
            .map(|ip| refusal(ip).to_string())
            .to_vec();
        assert!(texts.iter().all(|text| text.contains("--address")), "{texts:?}");
    }

    #[test]
    fn the_handouts_address_works() {
        check("224.1.1.1".parse().unwrap()).unwrap();
    }

    #[test]
    fn scope_ranges_leave_out_the_top_and_the_squatters() {
        let site: Vec<_> = Pool::site().usable().collect();
        assert_eq!(site.len(), 65536 - 256 - 5, "without DDS, BeeBEEP, LCM, LAN Messenger and discovery");
        assert_eq!(site.last().unwrap().to_string(), "239.255.254.255");
        assert_eq!(Pool::organization().usable().last().unwrap().to_string(), "239.195.254.255");
    }

    #[test]
    fn own_ranges() {
        let pool = |net: &str| Pool::new(net.parse().unwrap());
        assert_eq!(pool("239.255.10.0/28").unwrap().usable().count(), 16);
        assert_eq!(pool("239.255.10.7/32").unwrap().usable().count(), 1);
        assert!(matches!(pool("10.0.0.0/24"), Err(PoolError::NotMulticast(_))));
        assert!(matches!(pool("0.0.0.0/0"), Err(PoolError::NotMulticast(_))));
        assert!(matches!(pool("239.0.0.0/8"), Err(PoolError::TooLarge(_))));
        assert!(matches!(pool("224.0.0.0/24"), Err(PoolError::Unusable(..))));
    }
}
