//! The description of each finding for people: the one place where the doctor speaks a language.

use gaung_terminal::sanitise::one_line;

mod filter;
pub(crate) mod peer;
mod server;
#[cfg(test)]
mod tests;

use std::net::SocketAddrV4;

use super::{
    facts::{EchoOutcome, Kind, NotLookedAt, ProbedTraffic, Unseen},
    finding::{Finding, Remedy, Severity, Trouble},
    firewall::Culprit,
};

/// A finding as it is described to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words {
    /// What was seen.
    pub(crate) seen: String,
    /// What it means for Gaung.
    pub(crate) means: String,
    /// The command that mends it, or, where none can, what to do. `None`: nothing to do.
    pub(crate) mend: Option<Mend>,
}

impl Words {
    fn new(seen: impl Into<String>, means: impl Into<String>, mend: Option<Mend>) -> Self {
        Self { seen: seen.into(), means: means.into(), mend }
    }
}

/// How a fault is mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mend {
    /// By this command line.
    Command(String),
    /// By a person, at a place that no command of this machine reaches.
    Advice(String),
}

/// Makes a command line, with control characters replaced: a command that held some mends nothing then, and harms
/// nobody.
fn command(line: impl AsRef<str>) -> Option<Mend> {
    Some(Mend::Command(one_line(line.as_ref()).into_owned()))
}

fn advice(text: impl Into<String>) -> Option<Mend> {
    Some(Mend::Advice(text.into()))
}

/// Describes a finding.
pub(crate) fn words(finding: &Finding) -> Words {
    let raw = finding.interface.as_deref().unwrap_or("this machine");
    // The name as people read it, and as a shell does.
    let (name, arg) = (&*one_line(raw), &*quoted(raw));
    match &finding.trouble {
        Trouble::CannotChoose(why) => Words::new(
            one_line(why),
            "Gaung cannot start with this choice",
            advice("choose another interface with --iface, or configure this one"),
        ),
        Trouble::OnlyLoopback { remedy } => Words::new(
            "no interface is up with an IPv4 address but loopback",
            "no other machine receives anything from it",
            match remedy {
                Remedy::Up(interface) => command(format!("ip link set {} up", quoted(interface))),
                Remedy::Address { name, mac } => command(link_local(&quoted(name), *mac)),
                Remedy::Cable => advice("connect a network card: plug in its cable, or connect to an access point"),
            },
        ),
        Trouble::OnlyContainerOrVpn(kind) => Words::new(
            format!("{name} ({}) is the only usable interface", kind_name(*kind)),
            match kind {
                Kind::Vpn => "most VPNs carry no multicast and no broadcast; only TCP works",
                Kind::Container | Kind::Wired | Kind::Wifi | Kind::Bridge | Kind::Loopback => {
                    "containers of this machine can be reached, other machines cannot"
                }
            },
            advice("connect a network card, name it with --iface, or use --lane tcp --server HOST"),
        ),
        Trouble::Down => Words::new(
            format!("{name} has an IPv4 address and is down"),
            "Gaung does not use it",
            command(format!("ip link set {arg} up")),
        ),
        Trouble::NoCarrier => Words::new(
            format!("{name} has an IPv4 address and no carrier"),
            "Gaung does not use it until there is a cable or an access point",
            advice("plug in the cable, or connect to the access point"),
        ),
        Trouble::CannotMulticast => Words::new(
            format!("{name} is up, and its multicast flag is off"),
            "Gaung does not use it, for multicast or for broadcast",
            command(format!("ip link set {arg} multicast on")),
        ),
        Trouble::NoAddress { mac } => Words::new(
            format!("{name} is up and has no IPv4 address"),
            "Gaung does not use it, because Gaung needs IPv4",
            command(link_local(arg, *mac)),
        ),
        Trouble::Wifi => Words::new(
            format!("{name} is Wi-Fi"),
            "access points send multicast slowly, drop it, or isolate clients; Gaung then switches to TCP by itself",
            advice(
                "use a cable where you can; turn \"AP isolation\" off; two machines tell with: gaung doctor --peer HOST",
            ),
        ),
        Trouble::SoftwareOnly => Words::new(
            format!("{name} is a network inside this machine, and is used beside a real card"),
            "everything is sent there too, and its address is advertised to others, who cannot reach it",
            advice("name the card: --iface, or GAUNG_IFACE in the environment"),
        ),
        Trouble::RouteElsewhere { to, kind, ours } => Words::new(
            format!("the system would send multicast through {} ({})", one_line(to), kind_name(*kind)),
            format!(
                "Gaung selects its interface, {}, and is not affected; programs that use the default, such as \
                 simple receivers, join and send there",
                one_line(ours)
            ),
            command(format!("ip route replace 224.0.0.0/4 dev {}", quoted(ours))),
        ),
        Trouble::NoRoute { ours, has_default } => Words::new(
            match has_default {
                true => "there is no route for 224.0.0.0/4, although there is a default route",
                false => "there is no route for 224.0.0.0/4, and no default route",
            },
            "Gaung selects its interface and needs none; programs that do not select one fail to join and to send",
            match has_default {
                true => advice(
                    "a route such as `blackhole`, a routing rule or IPsec blocks it: look at ip route show table all; ip rule; \
                     ip xfrm policy",
                ),
                false => command(format!("ip route add 224.0.0.0/4 dev {}", quoted(ours))),
            },
        ),
        Trouble::SmallMtu { mtu, wanted, text_only } => Words::new(
            format!("{name} has an MTU of {mtu} B; the largest datagrams need {wanted} B"),
            if *text_only {
                "long lines of text groups do not fit and are not sent; everything else fits".to_owned()
            } else {
                "datagrams are never fragmented: those that do not fit are not sent".to_owned()
            },
            command(format!("ip link set {arg} mtu 1500")),
        ),
        Trouble::WrongBroadcast { address: (ip, prefix), has, should } => Words::new(
            format!("{name} has the broadcast address {has}; the mask of {ip}/{prefix} makes it {should}"),
            format!("Gaung broadcasts to {should}; programs that ask the system use {has}; or else the mask is wrong"),
            command(format!(
                // The routes that lead through it, the default one too, go with the address.
                "routes=$(mktemp) && ip -4 route save dev {arg} >\"$routes\" && ip address del {ip}/{prefix} dev {arg} && \
                 ip address add {ip}/{prefix} broadcast + dev {arg}; ip -4 route restore <\"$routes\"; rm \"$routes\""
            )),
        ),
        Trouble::NoBroadcast { prefix } => Words::new(
            format!("{name} has a /{prefix} address"),
            "such a network has no broadcast address: discovery uses multicast alone, and broadcasts do not arrive",
            advice("give it an address with the network's mask, such as /24"),
        ),
        Trouble::ReversePath { back, network: (network, prefix), strict } => Words::new(
            format!(
                "rp_filter is {} on {name}, and the route back to its network leads {}",
                if *strict { "strict" } else { "loose" },
                back.as_ref().map_or_else(|| "nowhere".to_owned(), |other| format!("through {}", one_line(other)))
            ),
            "the system silently drops what arrives there, multicast and broadcast too",
            match back {
                // A loose filter drops what it has no way back to as well.
                None => command(format!("ip route add {network}/{prefix} dev {arg}")),
                Some(_) => command(format!(
                    "sysctl -w net.ipv4.conf.all.rp_filter=2 {}",
                    quoted(&format!("net.ipv4.conf.{}.rp_filter=2", dotted(raw)))
                )),
            },
        ),
        Trouble::MulticastGateway { gateway } => Words::new(
            format!("a route sends multicast through {name} to the gateway {gateway}"),
            "groups' datagrams go to that machine alone, and no other machine receives them",
            command(format!("ip route replace 239.0.0.0/8 dev {arg}")),
        ),
        Trouble::LanElsewhere { to, instead } => Words::new(
            format!("packets from {name} to its own network, such as to {to}, go elsewhere: {}", one_line(instead)),
            "others here cannot be reached by TCP, and repairs and answers do not arrive",
            advice(
                "another route or rule has precedence, such as a VPN's or a container network's: look at ip rule; ip route",
            ),
        ),
        Trouble::FilterUnclear { what, suspect } => filter::unclear(name, what, suspect.as_ref()),
        Trouble::GroupRefused { group, address, why } => Words::new(
            format!("the group {} at {address} cannot be received: {}", one_line(group), one_line(why)),
            "this machine receives it by TCP alone",
            advice(format!(
                "end the program that has the port (ss -ulpn sport = :{}), or give the group another one",
                address.port()
            )),
        ),
        Trouble::OldIgmp { forced } => Words::new(
            format!(
                "{name} uses IGMPv1{}",
                if *forced { ", because a setting forces it" } else { ", because a querier does" }
            ),
            "IGMPv1 has no leave message, so switches forward groups for minutes after the last member left",
            if *forced {
                command(format!(
                    "sysctl -w net.ipv4.conf.all.force_igmp_version=0 {}",
                    quoted(&format!("net.ipv4.conf.{}.force_igmp_version=0", dotted(raw)))
                ))
            } else {
                advice("set the router's or switch's querier to IGMPv2 or IGMPv3")
            },
        ),
        Trouble::NotHeard { way, to, outcome, suspect } => {
            not_heard(name, *way, to.to_string(), outcome, suspect.as_ref())
        }
        Trouble::FewMemberships { limit, needed } if limit >= needed => Words::new(
            format!("a group cannot be joined, though igmp_max_memberships is {limit} and {needed} would do"),
            "groups are not received on some interfaces, or not at all",
            command(format!("sysctl -w net.core.optmem_max={USUAL_OPTMEM}")),
        ),
        Trouble::FewMemberships { limit, needed } => Words::new(
            format!(
                "igmp_max_memberships is {limit}; a group's sockets need {needed} each, to receive it on each interface"
            ),
            "groups are not received on some interfaces, or not at all",
            command(format!("sysctl -w net.ipv4.igmp_max_memberships={}", (*needed).max(USUAL_MEMBERSHIPS))),
        ),
        Trouble::SmallBuffer { got_bytes, wanted_bytes, .. } => Words::new(
            format!(
                "a socket gets a receive buffer of {} KiB; Gaung asks for {}",
                got_bytes / 1024,
                wanted_bytes / 1024
            ),
            "at full speed, bursts are lost in the socket and must be repaired; slow traffic is not affected",
            command(format!("sysctl -w net.core.rmem_max={wanted_bytes}")),
        ),
        Trouble::ReportsEaten { culprit } => Words::new(
            format!("a group was joined on {name}, and no IGMP report left within 1.5 s"),
            "a switch that snoops never learns of this member, and sends it nothing",
            filter::igmp_mend(raw, culprit.as_ref(), "output"),
        ),
        Trouble::QueriesEaten { querier, culprit, no_way_back } => Words::new(
            format!("IGMP queries of {querier} arrive on {name}, and the system drops them"),
            "memberships are not renewed: a switch that snoops forgets this member after some minutes",
            match no_way_back {
                // rp_filter drops what it knows no way back to by this interface.
                true => command(format!("ip route add {querier}/32 dev {arg}")),
                false => filter::igmp_mend(raw, culprit.as_ref(), "input"),
            },
        ),
        Trouble::NoQuerier { bridge } => Words::new(
            format!("no IGMP query arrived on {name} within 125 s"),
            "harmless where switches do not snoop; one that snoops forgets its members after some minutes, and then \
             multicast stops",
            if *bridge {
                command(format!("ip link set {arg} type bridge mcast_querier 1"))
            } else {
                advice("turn on the IGMP querier of a switch or router, or turn IGMP snooping off")
            },
        ),
        Trouble::BridgeFloods { snooping } => Words::new(
            format!(
                "the bridge {name} {}",
                if *snooping { "snoops and knows no querier, so that it floods" } else { "does not snoop: it floods" }
            ),
            "multicast reaches every port, like broadcast; nothing is lost",
            command(format!(
                "ip link set {arg} type bridge mcast_snooping 1; ip link set {arg} type bridge mcast_querier 1"
            )),
        ),
        Trouble::PortDoesNotFlood { port, multicast, broadcast } => Words::new(
            format!("the bridge {name} does not flood {} to its port {}", many(*multicast, *broadcast), one_line(port)),
            "hosts behind that port do not receive from hosts behind another one, only from this machine",
            command(format!("bridge link set dev {} mcast_flood on bcast_flood on", quoted(port))),
        ),
        Trouble::Filtered { what, culprit } => filter::words(name, what, culprit),
        Trouble::Foreign { group, address, from, datagrams, gaung } => Words::new(
            format!(
                "{datagrams} datagrams from {from} to {address} ({}) are {}",
                one_line(group),
                if *gaung { "of another Gaung, or of a group that had this address" } else { "no datagrams of Gaung" }
            ),
            "members drop them, at a cost in bandwidth and time",
            advice(format!(
                "end the program at {}, or give the group another address (gaung group create --address)",
                from.ip()
            )),
        ),
        Trouble::CopiedFolder { servers } => Words::new(
            format!("the servers at {} have one identity", list(servers)),
            "one runs on a copy of the other's data folder: both give out the same groups, and their members receive each other's messages",
            advice("stop all but one, and give the others an empty folder (gaung up --data)"),
        ),
        Trouble::Server { address, trouble } => server::words(address, trouble),
        Trouble::Peer { host, trouble } => peer::words(host, trouble),
    }
}

fn list(servers: &[SocketAddrV4]) -> String {
    servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

fn not_heard(name: &str, way: ProbedTraffic, to: String, outcome: &EchoOutcome, suspect: Option<&Culprit>) -> Words {
    let what = way_name(way);
    let rule = suspect.map(|culprit| format!("perhaps by the {}; ", filter::rule(culprit))).unwrap_or_default();
    let (seen, mend) = match outcome {
        EchoOutcome::NotSent(why) => (
            format!("a datagram to {to} could not be sent through {name}: {why}"),
            advice(format!(
                "\"Operation not permitted\" is the packet filter ({rule}look at its output rules: sudo nft list ruleset) or \
                 IPsec (ip xfrm policy)"
            )),
        ),
        EchoOutcome::NoSocket(why) => (
            format!("{name} cannot listen to {to}: {why}"),
            advice("end the program that has the port, or raise the limit that is named: ss -ulpn shows who listens"),
        ),
        EchoOutcome::Heard | EchoOutcome::Silent | EchoOutcome::TooManyMemberships => (
            format!("a datagram to {to} through {name} did not come back to this machine"),
            advice(format!(
                "something on this machine drops it, {rule}look at the packet filter, at traffic control and at IPsec: sudo nft \
                 list ruleset; sudo iptables-legacy -S; tc filter show dev NAME ingress; ip xfrm policy"
            )),
        ),
    };
    Words::new(seen, format!("{what} does not work here"), mend)
}

/// Describes what was not examined, and how it can be.
pub(crate) fn not_looked_at(unseen: &NotLookedAt) -> String {
    let (what, how) = match unseen.what {
        Unseen::Igmp => ("IGMP queries and reports were not examined", "; as root they are: sudo gaung doctor"),
        Unseen::Firewall => {
            ("the packet filter's rules were not examined", "; as root, with nftables installed, they are")
        }
        Unseen::LegacyFirewall => {
            ("rules of the older iptables were not examined", "; see them with: sudo iptables-legacy -S")
        }
        Unseen::Groups => ("traffic on groups' addresses was not examined", "; name a server with --server"),
        Unseen::ReceiveBuffer => ("the receive buffer was not examined", ""),
        Unseen::Routes => ("the routes of this interface's own addresses were not examined", ""),
    };
    format!("{what} ({}){how}", one_line(&unseen.why))
}

/// Returns the name for people.
pub(crate) const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Wired => "wired",
        Kind::Wifi => "Wi-Fi",
        Kind::Bridge => "bridge",
        Kind::Container => "container",
        Kind::Vpn => "VPN",
        Kind::Loopback => "loopback",
    }
}

/// Returns the name for people.
pub(crate) const fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Problem => "problem",
    }
}

const fn way_name(way: ProbedTraffic) -> &'static str {
    match way {
        ProbedTraffic::Multicast => "multicast",
        ProbedTraffic::Discovery => "finding a server without --server",
        ProbedTraffic::Broadcast => "broadcast",
    }
}

const fn many(multicast: bool, broadcast: bool) -> &'static str {
    match (multicast, broadcast) {
        (true, true) => "multicast and broadcast",
        (true, false) => "multicast",
        (false, _) => "broadcast",
    }
}

/// Linux's default of `net.ipv4.igmp_max_memberships`.
const USUAL_MEMBERSHIPS: u32 = 20;
/// Linux's default of `net.core.optmem_max` since 6.7.
const USUAL_OPTMEM: u32 = 131_072;

/// Quotes an argument for a shell. Names of interfaces may hold anything but `/` and spaces.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '@' | '-' | '=' | '/');
    if !name.is_empty() && !name.starts_with('-') && name.chars().all(plain) {
        return name.to_owned();
    }
    format!("'{}'", name.replace('\'', r"'\''"))
}

/// Makes the command that gives an interface a link-local address (RFC 3927), derived from its Ethernet address so that
/// machines get different ones.
fn link_local(interface: &str, mac: Option<[u8; 6]>) -> String {
    let [.., high, low] = mac.unwrap_or([0, 0, 0, 0, 77, 1]);
    let third = 1 + high % 254;
    format!("ip address add 169.254.{third}.{low}/16 broadcast + dev {interface}")
}

/// Escapes an interface's name for a sysctl, in which dots separate the parts and a name's own dots are slashes.
fn dotted(interface: &str) -> String {
    interface.replace('.', "/")
}
