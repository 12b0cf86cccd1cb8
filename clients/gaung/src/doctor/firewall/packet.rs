//! The packets whose fate is asked for, and their fields as rules name them.

use std::net::Ipv4Addr;

use serde_json::Value;

/// A packet of this machine, the first of its flow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet<'a> {
    /// Coming in or going out.
    pub(crate) direction: Direction,
    /// By which interface.
    pub(crate) interface: &'a str,
    /// What it carries.
    pub(crate) transport: Transport,
    /// Who sends it.
    pub(crate) from: Ipv4Addr,
    /// To whom.
    pub(crate) to: Ipv4Addr,
    /// To one or to many.
    pub(crate) cast: Cast,
}

/// Which way it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To this machine.
    In,
    /// From it.
    Out,
}

/// What a packet carries, with the destination port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// A query coming in, a report going out.
    Igmp,
    /// A datagram.
    Udp(u16),
    /// A connection's first segment.
    Tcp(u16),
}

/// To one or to many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cast {
    /// To one.
    Unicast,
    /// To a group.
    Multicast,
    /// To a network.
    Broadcast,
}

/// What a rule's question has for this packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field<'a> {
    Number(u64),
    Address(Ipv4Addr),
    Protocol(u8),
    Name(&'a str),
    /// The packet has no such thing, so that no value matches, not even by `!=`.
    Absent,
    /// Not known beforehand.
    Unknown,
}

impl<'a> Packet<'a> {
    /// What stands on the left of a match.
    pub(super) fn field(&self, left: &Value) -> Field<'a> {
        if let Some(meta) = left.get("meta") {
            return self.meta(meta["key"].as_str().unwrap_or_default());
        }
        if let Some(payload) = left.get("payload") {
            let part = |name: &str| payload[name].as_str().unwrap_or_default();
            return self.payload(part("protocol"), part("field"));
        }
        if let Some(ct) = left.get("ct") {
            return match ct["key"].as_str() {
                Some("state") => Field::Name("new"),
                Some("direction") => Field::Name("original"),
                _ => Field::Unknown,
            };
        }
        if let Some(fib) = left.get("fib") {
            return self.fib(fib);
        }
        Field::Unknown
    }

    fn meta(&self, key: &str) -> Field<'a> {
        let interface = |direction| {
            if self.direction == direction { Field::Name(self.interface) } else { Field::Absent }
        };
        match key {
            "l4proto" => Field::Protocol(self.transport.protocol()),
            "nfproto" => Field::Name("ipv4"),
            "protocol" => Field::Name("ip"),
            "iif" | "iifname" => interface(Direction::In),
            "oif" | "oifname" => interface(Direction::Out),
            "pkttype" if self.direction == Direction::In => Field::Name(match self.cast {
                Cast::Unicast => "host",
                Cast::Multicast => "multicast",
                Cast::Broadcast => "broadcast",
            }),
            _ => Field::Unknown,
        }
    }

    fn payload(&self, protocol: &str, field: &str) -> Field<'a> {
        match (protocol, field) {
            ("ip", "saddr") => Field::Address(self.from),
            ("ip", "daddr") => Field::Address(self.to),
            ("ip", "protocol") => Field::Protocol(self.transport.protocol()),
            ("ip", "version") => Field::Number(4),
            ("ip", _) => Field::Unknown,
            ("ip6" | "icmp" | "icmpv6" | "arp", _) => Field::Absent,
            ("igmp", "type") if self.transport == Transport::Igmp => Field::Name(match self.direction {
                Direction::In => "membership-query",
                Direction::Out => "membership-report-v3",
            }),
            _ => self.port(protocol, field),
        }
    }

    fn port(&self, protocol: &str, field: &str) -> Field<'a> {
        let port = match (self.transport, protocol) {
            (Transport::Udp(port), "udp" | "th") | (Transport::Tcp(port), "tcp" | "th") => port,
            (Transport::Igmp, "igmp") => return Field::Unknown,
            (Transport::Udp(_) | Transport::Tcp(_) | Transport::Igmp, _) => return Field::Absent,
        };
        if field == "dport" { Field::Number(port.into()) } else { Field::Unknown }
    }

    fn fib(&self, fib: &Value) -> Field<'a> {
        let of_destination = fib["flags"].as_array().is_some_and(|flags| flags.iter().any(|flag| flag == "daddr"));
        if self.direction == Direction::Out || fib["result"] != "type" || !of_destination {
            return Field::Unknown;
        }
        Field::Name(match self.cast {
            Cast::Unicast => "local",
            Cast::Multicast => "multicast",
            Cast::Broadcast => "broadcast",
        })
    }
}

impl Transport {
    const fn protocol(self) -> u8 {
        match self {
            Self::Igmp => 2,
            Self::Tcp(_) => 6,
            Self::Udp(_) => 17,
        }
    }
}
