//! The datagram, both ways 128 bytes, network order:
//!
//! ```text
//!  0  magic u16 "GD" | version u8: 1 or 2 | type u8: 1 request, 2 answer
//!  4  nonce u64, the requester's, repeated in the answer
//! 12  service u8: 0 any (request only), 1 registry, 2 relay, 3 hub
//! 13  name length u8 | gRPC port u16 | advertised IPv4 address, 0.0.0.0: the answer's source
//! 20  service id, 16 bytes
//! 36  name, UTF-8, up to 64 bytes, then zeros
//!     version 1                                   version 2
//! 100 instance u64: random at each start of the   site id, 16 bytes; zeros: of no site
//!     service; 0 where it was not requested
//! 108 zeros
//! 116                                             instance u64, as above
//! 124                                             zeros
//! ```
//! An answer has the version of its request. Who knows version 1 alone drops version 2, so requests go out in both.
//!
//! In a request, byte 13 has flags (1: the answer should tell the instance, 2: it should also come by multicast) and
//! everything after is zero. Who knows no flags answers requests without flags alone.

use std::net::Ipv4Addr;

use gaung_proto::RelayId;
use gaung_site::SiteId;

use super::{Announcement, ServiceKind};

/// Longest name in an answer.
pub const MAX_NAME_BYTES: usize = 64;
pub(super) const LENGTH: usize = 128;

const MAGIC: [u8; 2] = *b"GD";
const REQUEST: u8 = 1;
const ANSWER: u8 = 2;
const NAME: usize = 36;
const AFTER_NAME: usize = NAME + MAX_NAME_BYTES;
const FLAGS: usize = 13;
const INSTANCE_FLAG: u8 = 1;
const MULTICAST_FLAG: u8 = 2;

/// The version of a datagram, which says what comes after the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DiscoveryVersion {
    /// Without the site.
    One,
    /// With the site.
    Two,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DiscoveryRequest {
    pub(super) version: DiscoveryVersion,
    pub(super) nonce: u64,
    /// `None`: every service should answer.
    pub(super) wanted: Option<ServiceKind>,
    /// The answer should tell which process answers.
    pub(super) instance: bool,
    /// The answer should also go to the discovery group, where a packet filter lets it in that drops unicast.
    pub(super) multicast: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DiscoveryAnswer {
    /// The request's.
    pub(super) version: DiscoveryVersion,
    pub(super) nonce: u64,
    /// What the service announces; its site is sent in version 2 alone.
    pub(super) announcement: Announcement,
    /// Whether the instance is included.
    pub(super) with_instance: bool,
}

impl DiscoveryVersion {
    const fn byte(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }

    /// Returns where the instance is in an answer.
    const fn instance_at(self) -> usize {
        match self {
            Self::One => AFTER_NAME,
            Self::Two => AFTER_NAME + 16,
        }
    }
}

impl DiscoveryRequest {
    pub(super) fn encode(self) -> [u8; LENGTH] {
        let mut bytes = head(self.version, REQUEST, self.nonce);
        bytes[12] = self.wanted.map_or(0, code);
        bytes[FLAGS] = u8::from(self.instance) * INSTANCE_FLAG + u8::from(self.multicast) * MULTICAST_FLAG;
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (bytes, version, nonce) = check_head(bytes, REQUEST)?;
        let wanted = if bytes[12] == 0 { None } else { Some(kind(bytes[12])?) };
        let flags = bytes[FLAGS];
        let known = flags & !(INSTANCE_FLAG | MULTICAST_FLAG) == 0 && bytes[FLAGS + 1..].iter().all(|&b| b == 0);
        let (instance, multicast) = (flags & INSTANCE_FLAG != 0, flags & MULTICAST_FLAG != 0);
        known.then_some(Self { version, nonce, wanted, instance, multicast })
    }
}

impl DiscoveryAnswer {
    pub(super) fn encode(&self) -> [u8; LENGTH] {
        let Announcement { kind, port, id, advertised, name, instance, site } = &self.announcement;
        let name = sendable(name);
        let mut bytes = head(self.version, ANSWER, self.nonce);
        bytes[12] = code(*kind);
        bytes[13] = name.len() as u8;
        bytes[14..16].copy_from_slice(&port.to_be_bytes());
        bytes[16..20].copy_from_slice(&advertised.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
        bytes[20..36].copy_from_slice(id.as_bytes());
        bytes[NAME..NAME + name.len()].copy_from_slice(name.as_bytes());
        if let (DiscoveryVersion::Two, Some(site)) = (self.version, site) {
            bytes[AFTER_NAME..AFTER_NAME + 16].copy_from_slice(site.as_bytes());
        }
        if self.with_instance {
            let at = self.version.instance_at();
            bytes[at..at + 8].copy_from_slice(&instance.to_be_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (bytes, version, nonce) = check_head(bytes, ANSWER)?;
        let port = u16::from_be_bytes([bytes[14], bytes[15]]);
        let advertised = Ipv4Addr::new(bytes[16], bytes[17], bytes[18], bytes[19]);
        let usable = !(advertised.is_multicast() || advertised.is_broadcast());
        let id = RelayId::try_from(&bytes[20..36]).ok()?;
        let name_end = NAME + usize::from(bytes[13]).min(MAX_NAME_BYTES + 1);
        let (name, padding) = (&bytes[NAME..name_end], &bytes[name_end..AFTER_NAME.max(name_end)]);
        let (site, rest) = bytes[AFTER_NAME..].split_at(version.instance_at() - AFTER_NAME);
        let site: Option<[u8; 16]> = site.try_into().ok().filter(|site| *site != [0; 16]);
        let (instance, rest) = rest.split_first_chunk()?;
        let instance = u64::from_be_bytes(*instance);
        let name = std::str::from_utf8(name).ok()?;
        let zeros = padding.iter().chain(rest).all(|&b| b == 0);
        let clean = name.len() <= MAX_NAME_BYTES && sendable(name) == name && zeros;
        let announcement = Announcement {
            kind: kind(bytes[12])?,
            port,
            id,
            advertised: (!advertised.is_unspecified()).then_some(advertised),
            name: name.to_owned(),
            instance,
            site: site.map(SiteId::from_bytes),
        };
        (clean && usable && port != 0).then_some(Self { version, nonce, announcement, with_instance: instance != 0 })
    }
}

fn head(version: DiscoveryVersion, kind: u8, nonce: u64) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[..2].copy_from_slice(&MAGIC);
    bytes[2] = version.byte();
    bytes[3] = kind;
    bytes[4..12].copy_from_slice(&nonce.to_be_bytes());
    bytes
}

fn check_head(bytes: &[u8], expected: u8) -> Option<(&[u8; LENGTH], DiscoveryVersion, u64)> {
    let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
    let version = [DiscoveryVersion::One, DiscoveryVersion::Two].into_iter().find(|v| v.byte() == bytes[2])?;
    let nonce = u64::from_be_bytes(bytes[4..12].try_into().ok()?);
    (bytes[..2] == MAGIC && bytes[3] == expected).then_some((bytes, version, nonce))
}

fn code(kind: ServiceKind) -> u8 {
    match kind {
        ServiceKind::Registry => 1,
        ServiceKind::Relay => 2,
        ServiceKind::Hub => 3,
    }
}

fn kind(code: u8) -> Option<ServiceKind> {
    [ServiceKind::Registry, ServiceKind::Relay, ServiceKind::Hub].into_iter().find(|&k| self::code(k) == code)
}

/// Without control characters, cut at a character's end.
fn sendable(name: &str) -> String {
    let mut kept = String::new();
    for c in name.chars().filter(|c| !c.is_control()) {
        if kept.len() + c.len_utf8() > MAX_NAME_BYTES {
            break;
        }
        kept.push(c);
    }
    kept
}
