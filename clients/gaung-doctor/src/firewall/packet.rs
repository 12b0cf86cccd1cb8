//! The packets that rules are evaluated for, and their fields as rules name them.

use std::net::Ipv4Addr;

use serde_json::Value;

/// A packet of this machine, the first of its flow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet<'a> {
    /// Whether it is received or sent.
    pub(crate) direction: Direction,
    /// The interface.
    pub(crate) interface: &'a str,
    /// What it carries.
    pub(crate) transport: Transport,
    /// The source address.
    pub(crate) from: Ipv4Addr,
    /// The destination address.
    pub(crate) to: Ipv4Addr,
    /// To one or to many.
    pub(crate) cast: Cast,
    /// The source port, where Gaung always uses the same.
    pub(crate) from_port: Option<u16>,
    /// The state of connection tracking.
    pub(crate) tracking: Tracking,
    /// Whether it is the looped-back copy of an own packet, which has no Ethernet header and stays in the connection that it
    /// was sent in, so that no rule on its way in makes it untracked.
    pub(crate) looped: bool,
}

/// What connection tracking knows of the first packet of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tracking {
    /// A new connection.
    New,
    /// A rule makes it untracked.
    Untracked,
    /// A rule that may or may not match makes it untracked.
    Unknown,
}

/// The direction of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To this machine.
    In,
    /// From it.
    Out,
}

/// The transport of a packet, with the destination port.
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
    /// To one host.
    Unicast,
    /// To a group.
    Multicast,
    /// To a network.
    Broadcast,
}

/// The value of a field that a rule names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field<'a> {
    Number(u64),
    Address(Ipv4Addr),
    Protocol(u8),
    Name(&'a str),
    /// The packet has no such field, so that no value matches, not even by `!=`.
    Absent,
    /// Not known beforehand.
    Unknown,
}

impl<'a> Packet<'a> {
    /// Returns the field on the left side of a match.
    pub(super) fn field(&self, left: &Value) -> Field<'a> {
        if let Some(meta) = left.get("meta") {
            return self.meta(meta["key"].as_str().unwrap_or_default());
        }
        if let Some(payload) = left.get("payload") {
            let part = |name: &str| payload[name].as_str().unwrap_or_default();
            return self.payload(part("protocol"), part("field"));
        }
        if let Some(ct) = left.get("ct") {
            return self.connection(ct["key"].as_str().unwrap_or_default());
        }
        if let Some(masked) = left.get("&") {
            return self.tcp_flags(masked);
        }
        if let Some(fib) = left.get("fib") {
            return self.fib(fib);
        }
        Field::Unknown
    }

    fn connection(&self, key: &str) -> Field<'a> {
        match (key, self.tracking) {
            (_, Tracking::Unknown) => Field::Unknown,
            ("state", Tracking::New) => Field::Name("new"),
            ("state", Tracking::Untracked) => Field::Name("untracked"),
            (_, Tracking::Untracked) => Field::Absent,
            ("direction", Tracking::New) => Field::Name("original"),
            // What is translated to another destination does not come to Gaung, whatever lets it pass.
            ("status", Tracking::New) => Field::Name("confirmed"),
            (_, Tracking::New) => Field::Unknown,
        }
    }

    /// `tcp flags & (fin | syn | rst | ack)`, as for a connection's first segment.
    fn tcp_flags(&self, masked: &Value) -> Field<'a> {
        let payload = &masked[0]["payload"];
        if payload["protocol"] != "tcp" || payload["field"] != "flags" {
            return Field::Unknown;
        }
        match self.transport {
            Transport::Igmp | Transport::Udp(_) => Field::Absent,
            Transport::Tcp(_) => Field::Name("syn"),
        }
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
            ("ether", _) if self.looped => Field::Absent,
            ("ether", "type") if self.direction == Direction::In => Field::Name("ip"),
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
            (_, "udp" | "tcp" | "th" | "igmp" | "sctp" | "dccp" | "udplite" | "esp" | "ah" | "comp") => {
                return Field::Absent;
            }
            // Ethernet addresses, raw bytes, and whatever later versions of nft have.
            (Transport::Udp(_) | Transport::Tcp(_) | Transport::Igmp, _) => return Field::Unknown,
        };
        match field {
            "dport" => Field::Number(port.into()),
            "sport" => self.from_port.map_or(Field::Unknown, |port| Field::Number(port.into())),
            _ => Field::Unknown,
        }
    }

    fn fib(&self, fib: &Value) -> Field<'a> {
        let has = |name: &str| fib["flags"].as_array().is_some_and(|flags| flags.iter().any(|flag| flag == name));
        if self.direction == Direction::Out || fib["result"] != "type" {
            return Field::Unknown;
        }
        if has("saddr") {
            return Field::Name(if self.looped { "local" } else { "unicast" });
        }
        if !has("daddr") {
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
