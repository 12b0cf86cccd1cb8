//! IGMP messages (RFC 1112, RFC 2236, RFC 3376) in their IPv4 packets.

use std::net::Ipv4Addr;

/// Holds one IGMP packet with the addresses of its IP header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgmpPacket {
    /// Who sent it; 0.0.0.0 for a switch without an address.
    pub from: Ipv4Addr,
    /// The group that it was sent to.
    pub to: Ipv4Addr,
    /// The IGMP message within.
    pub message: IgmpMessage,
}

/// One IGMP message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IgmpMessage {
    /// A querier asks who is a member.
    Query {
        /// Of this group; `None`: of any.
        group: Option<Ipv4Addr>,
        /// The version that the querier speaks.
        version: IgmpVersion,
    },
    /// A host tells of its memberships, new, kept or left.
    Report {
        /// The groups it speaks of, at most as many as fit a packet.
        groups: Vec<Ipv4Addr>,
    },
    /// PIM, DVMRP and the like.
    Other,
}

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IgmpVersion {
    /// RFC 1112: nobody says that he leaves.
    V1,
    /// IGMP version 2, RFC 2236.
    V2,
    /// IGMP version 3, RFC 3376.
    V3,
}

impl IgmpPacket {
    /// Reads an IPv4 packet; `None` if it is no whole IGMP packet.
    #[must_use]
    pub fn decode(packet: &[u8]) -> Option<Self> {
        let header_len = usize::from(packet.first()? & 0xf) * 4;
        let is_igmp = packet[0] >> 4 == 4 && header_len >= 20 && *packet.get(9)? == 2;
        let body = packet.get(header_len..).filter(|_| is_igmp)?;
        Some(Self { from: ip(packet, 12)?, to: ip(packet, 16)?, message: IgmpMessage::decode(body)? })
    }
}

impl IgmpMessage {
    fn decode(body: &[u8]) -> Option<Self> {
        let group = ip(body, 4)?;
        Some(match body[0] {
            0x11 => {
                let version = match (body.len(), body[1]) {
                    (12.., _) => IgmpVersion::V3,
                    (_, 0) => IgmpVersion::V1,
                    _ => IgmpVersion::V2,
                };
                Self::Query { group: (!group.is_unspecified()).then_some(group), version }
            }
            0x12 | 0x16 | 0x17 => Self::Report { groups: vec![group] },
            0x22 => Self::Report { groups: records(body)? },
            _ => Self::Other,
        })
    }
}

/// The groups of an IGMPv3 report.
fn records(body: &[u8]) -> Option<Vec<Ipv4Addr>> {
    let count = u16::from_be_bytes([body[6], body[7]]);
    let mut rest = body.get(8..)?;
    let mut groups = Vec::new();
    for _ in 0..count {
        groups.push(ip(rest, 4)?);
        let words = 2 + usize::from(u16::from_be_bytes([rest[2], rest[3]])) + usize::from(rest[1]);
        rest = rest.get(4 * words..)?;
    }
    Some(groups)
}

fn ip(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(octets.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

    use super::*;

    /// With the router alert option, as IGMP has it.
    fn packet(to: [u8; 4], body: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x46, 0xc0, 0, 24 + body.len() as u8, 0, 0, 0x40, 0, 1, 2, 0, 0, 10, 77, 0, 1];
        packet.extend(to);
        packet.extend([0x94, 4, 0, 0]);
        packet.extend(body);
        packet
    }

    fn message(body: &[u8]) -> IgmpMessage {
        IgmpPacket::decode(&packet([224, 0, 0, 1], body)).unwrap().message
    }

    #[test]
    fn queries_tell_version_and_group() {
        let any = |version| IgmpMessage::Query { group: None, version };
        assert_eq!(message(&[0x11, 0, 0, 0, 0, 0, 0, 0]), any(IgmpVersion::V1));
        assert_eq!(message(&[0x11, 100, 0, 0, 0, 0, 0, 0]), any(IgmpVersion::V2));
        assert_eq!(message(&[0x11, 100, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0]), any(IgmpVersion::V3));
        let group = Some(Ipv4Addr::new(239, 255, 3, 7));
        assert_eq!(message(&[0x11, 10, 0, 0, 239, 255, 3, 7]), IgmpMessage::Query { group, version: IgmpVersion::V2 });
        let query = IgmpPacket::decode(&packet([224, 0, 0, 1], &[0x11, 100, 0, 0, 0, 0, 0, 0])).unwrap();
        assert_eq!((query.from, query.to), (Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(224, 0, 0, 1)));
    }

    #[test]
    fn reports_tell_their_groups() {
        let groups = |ips: &[[u8; 4]]| IgmpMessage::Report { groups: ips.iter().map(|&ip| ip.into()).collect() };
        assert_eq!(message(&[0x16, 0, 0, 0, 239, 255, 3, 7]), groups(&[[239, 255, 3, 7]]));
        let two_records = [
            &[0x22, 0, 0, 0, 0, 0, 0, 2][..],
            &[4, 1, 0, 1, 239, 255, 3, 7, 10, 0, 0, 1, 9, 9, 9, 9],
            &[3, 0, 0, 0, 239, 255, 3, 8],
        ];
        assert_eq!(message(&two_records.concat()), groups(&[[239, 255, 3, 7], [239, 255, 3, 8]]));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut rng = SmallRng::seed_from_u64(1);
        let whole = packet([224, 0, 0, 22], &[0x22, 0, 0, 0, 0, 0, 0, 9, 4, 255, 255, 255, 239, 255, 3, 7]);
        assert_eq!(IgmpPacket::decode(&whole), None, "nine records are not there");
        for cut in 0..whole.len() {
            assert_eq!(IgmpPacket::decode(&whole[..cut]), None);
        }
        for _ in 0..100_000 {
            let mut bytes = whole.clone();
            for _ in 0..3 {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }
            let _ = IgmpPacket::decode(&bytes);
        }
    }
}
