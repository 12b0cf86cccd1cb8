//! What is said of each finding: the one place where the doctor speaks a language.

mod filter;
pub(crate) mod peer;
#[cfg(test)]
mod tests;

use super::{
    facts::{EchoOutcome, Kind, NotLookedAt, Unseen, Way},
    finding::{Finding, Severity, Trouble},
};
use crate::render::sanitise::one_line;

/// A finding, said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words {
    /// What was seen.
    pub(crate) seen: String,
    /// What it means for Gaung.
    pub(crate) means: String,
    /// The command that mends it, or, where none can, what to do. `None`: nothing to do.
    pub(crate) mend: Option<Mend>,
}

/// How it is mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mend {
    /// By this command line.
    Command(String),
    /// By a person, at a place that no command of this machine reaches.
    Advice(String),
}

fn command(line: impl Into<String>) -> Option<Mend> {
    Some(Mend::Command(line.into()))
}

fn advice(text: impl Into<String>) -> Option<Mend> {
    Some(Mend::Advice(text.into()))
}

/// Says a finding.
pub(crate) fn words(finding: &Finding) -> Words {
    let (seen, means, mend) = said(finding);
    Words { seen, means, mend }
}

type Said = (String, String, Option<Mend>);

fn said(finding: &Finding) -> Said {
    let name = finding.interface.as_deref().unwrap_or("this machine");
    match &finding.trouble {
        Trouble::CannotChoose(why) => (
            one_line(why).into_owned(),
            "Gaung cannot start with this choice".to_owned(),
            advice("choose another interface with --iface, or set this one right"),
        ),
        Trouble::OnlyLoopback => (
            "no interface is up with an IPv4 address but loopback".to_owned(),
            "nobody outside this machine hears it".to_owned(),
            command("ip -brief address; ip link set INTERFACE up"),
        ),
        Trouble::OnlyContainerOrVpn(kind) => (
            format!("{name} ({}) is all that is left to use", kind_name(*kind)),
            match kind {
                Kind::Vpn => "most VPNs carry no multicast and no broadcast; only TCP works",
                Kind::Container | Kind::Wired | Kind::Wifi | Kind::Bridge | Kind::Loopback => {
                    "containers of this machine hear it, other machines do not"
                }
            }
            .to_owned(),
            advice("connect a network card, name it with --iface, or use --lane tcp --server HOST"),
        ),
        Trouble::Down => (
            format!("{name} has an IPv4 address and is down"),
            "Gaung does not use it".to_owned(),
            command(format!("ip link set {name} up")),
        ),
        Trouble::NoCarrier => (
            format!("{name} has an IPv4 address and no carrier"),
            "Gaung does not use it until there is a cable or an access point".to_owned(),
            advice("plug in the cable, or connect to the access point"),
        ),
        Trouble::CannotMulticast => (
            format!("{name} is up, and its multicast flag is off"),
            "Gaung does not use it: nothing is sent once to all through it, and broadcasts are not sent either".to_owned(),
            command(format!("ip link set {name} multicast on")),
        ),
        Trouble::NoAddress => (
            format!("{name} is up and has no IPv4 address"),
            "Gaung does not use it; it speaks IPv4 only".to_owned(),
            command(format!("ip address add 192.168.77.1/24 broadcast + dev {name}")),
        ),
        Trouble::Wifi => (
            format!("{name} is Wi-Fi"),
            "access points send multicast slowly, drop it, or keep clients apart; Gaung then goes over to TCP by itself"
                .to_owned(),
            advice("use a cable where you can; turn \"AP isolation\" off; two machines tell with: gaung doctor --peer HOST"),
        ),
        Trouble::SoftwareOnly => (
            format!("{name} is a network inside this machine, and is used beside a real card"),
            "everything is sent there too, and its address is offered to others, who cannot reach it".to_owned(),
            advice("name the card: --iface, or GAUNG_IFACE in the environment"),
        ),
        Trouble::RouteElsewhere { to, kind, ours } => (
            format!("the system would send multicast through {to} ({})", kind_name(*kind)),
            format!(
                "Gaung names its interface, {ours}, and is not misled; programs that leave it to the system, such as \
                 simple receivers, join and send there"
            ),
            command(format!("ip route replace 224.0.0.0/4 dev {ours}")),
        ),
        Trouble::NoRoute { ours } => (
            "there is no route for 224.0.0.0/4, and no default route".to_owned(),
            "Gaung names its interface and needs none; programs that do not fail to join and to send".to_owned(),
            command(format!("ip route add 224.0.0.0/4 dev {ours}")),
        ),
        Trouble::SmallMtu { mtu, wanted, text_only } => (
            format!("{name} has an MTU of {mtu} B; the largest datagrams need {wanted} B"),
            if *text_only {
                "long lines of text groups do not fit and are not sent; everything else fits".to_owned()
            } else {
                "datagrams are never fragmented: those that do not fit are not sent".to_owned()
            },
            command(format!("ip link set {name} mtu 1500")),
        ),
        Trouble::WrongBroadcast { address: (ip, prefix), has, should } => (
            format!("{name} has the broadcast address {has}; the mask of {ip}/{prefix} makes it {should}"),
            format!("Gaung broadcasts to {should}; programs that ask the system use {has}; or else the mask is wrong")
                ,
            command(format!(
                "ip address del {ip}/{prefix} dev {name}; ip address add {ip}/{prefix} broadcast + dev {name}"
            )),
        ),
        Trouble::NoBroadcast { prefix } => (
            format!("{name} has a /{prefix} address"),
            "such a network has no broadcast address: discovery goes by multicast alone, broadcasts do not arrive".to_owned(),
            advice("give it an address with the network's mask, such as /24"),
        ),
        Trouble::ReversePath { back } => (
            format!(
                "rp_filter is strict on {name}, and the way back to its network leads {}",
                back.as_ref().map_or_else(|| "nowhere".to_owned(), |other| format!("through {other}"))
            ),
            "the system drops what comes in by it without a word, multicast and broadcast too".to_owned(),
            command(format!("sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.{}.rp_filter=2", dotted(name))),
        ),
        Trouble::OldIgmp { forced } => (
            format!(
                "{name} speaks IGMPv1{}",
                if *forced { ", because a setting forces it" } else { ", because a querier does" }
            ),
            "nobody says that he leaves, so that switches send on for minutes what nobody wants".to_owned(),
            if *forced {
                command(format!(
                    "sysctl -w net.ipv4.conf.all.force_igmp_version=0 net.ipv4.conf.{}.force_igmp_version=0",
                    dotted(name)
                ))
            } else {
                advice("set the router's or switch's querier to IGMPv2 or IGMPv3")
            },
        ),
        Trouble::NotHeard { way, to, outcome } => not_heard(name, *way, to.to_string(), outcome),
        Trouble::FewMemberships { limit, needed } => (
            format!("igmp_max_memberships is {limit}; a group's socket needs {needed}, one for each interface"),
            "groups are not heard on some interfaces, or not at all".to_owned(),
            command("sysctl -w net.ipv4.igmp_max_memberships=20"),
        ),
        Trouble::SmallBuffer { got_bytes, wanted_bytes, .. } => (
            format!("a socket gets a receive buffer of {} KiB; Gaung asks for {}", got_bytes / 1024, wanted_bytes / 1024),
            "at full speed, bursts are lost in the socket and repaired from others; slow talk is not touched".to_owned(),
            command(format!("sysctl -w net.core.rmem_max={wanted_bytes}")),
        ),
        Trouble::ReportsEaten => (
            format!("a group was joined on {name}, and no IGMP report left within 1.5 s"),
            "a switch that snoops never learns of this member, and sends it nothing".to_owned(),
            command("nft insert rule inet filter output ip protocol igmp accept"),
        ),
        Trouble::QueriesEaten { querier } => (
            format!("IGMP queries of {querier} come in by {name}, and the system takes none in"),
            "memberships are not renewed: a switch that snoops forgets this member after some minutes".to_owned(),
            command("nft insert rule inet filter input ip protocol igmp accept"),
        ),
        Trouble::NoQuerier { bridge } => (
            format!("no IGMP query came in by {name} within 125 s"),
            "harmless where switches do not snoop; one that snoops forgets its members after some minutes, and then \
             multicast stops"
                .to_owned(),
            if *bridge {
                command(format!("ip link set {name} type bridge mcast_querier 1"))
            } else {
                advice("turn on the IGMP querier of a switch or router, or turn IGMP snooping off")
            },
        ),
        Trouble::BridgeFloods { snooping } => (
            format!(
                "the bridge {name} {}",
                if *snooping { "snoops and knows no querier, so that it floods" } else { "does not snoop: it floods" }
            ),
            "multicast reaches every port, like broadcast; nothing is lost".to_owned(),
            command(format!("ip link set {name} type bridge mcast_snooping 1; ip link set {name} type bridge mcast_querier 1")),
        ),
        Trouble::PortDoesNotFlood { port, multicast, broadcast } => (
            format!("the bridge {name} does not flood {} to its port {port}", many(*multicast, *broadcast)),
            "who is behind that port does not hear it".to_owned(),
            command(format!("bridge link set dev {port} mcast_flood on bcast_flood on")),
        ),
        Trouble::Filtered { what, culprit } => filter::words(name, what, culprit),
        Trouble::Foreign { group, address, from, datagrams, gaung } => (
            format!(
                "{datagrams} datagrams from {from} to {address} ({}) are {}",
                one_line(group),
                if *gaung { "of another Gaung, or of a group that had this address" } else { "no datagrams of Gaung" }
            ),
            "members drop them, and pay for it in bandwidth and time".to_owned(),
            advice(format!("end the program at {}, or give the group another address (gaung group create --address)", from.ip())),
        ),
        Trouble::Peer { host, trouble } => peer::words(host, trouble),
    }
}

fn not_heard(name: &str, way: Way, to: String, outcome: &EchoOutcome) -> Said {
    let what = way_name(way);
    let (seen, mend) = match outcome {
        EchoOutcome::NotSent(why) => (
            format!("a datagram to {to} could not be sent through {name}: {why}"),
            advice(
                "\"Operation not permitted\" is the packet filter: look at its output rules (sudo nft list ruleset)",
            ),
        ),
        EchoOutcome::NoSocket(why) => (format!("{name} cannot listen to {to}: {why}"), None),
        EchoOutcome::Heard | EchoOutcome::Silent | EchoOutcome::TooManyMemberships => (
            format!("a datagram to {to} through {name} did not come back to this machine"),
            advice(
                "the packet filter eats it: look at its input rules (sudo nft list ruleset; sudo iptables-legacy -S)",
            ),
        ),
    };
    (seen, format!("{what} does not work here"), mend)
}

/// What stayed unseen, and how it is seen.
pub(crate) fn not_looked_at(unseen: &NotLookedAt) -> String {
    let (what, how) = match unseen.what {
        Unseen::Igmp => ("IGMP queries and reports were not looked at", "; as root they are: sudo gaung doctor"),
        Unseen::Firewall => {
            ("the packet filter's rules were not looked at", "; as root, with nftables installed, they are")
        }
        Unseen::LegacyFirewall => {
            ("rules of the older iptables were not looked at", "; see them with: sudo iptables-legacy -S")
        }
        Unseen::Groups => ("traffic on groups' addresses was not looked at", "; name a server with --server"),
        Unseen::ReceiveBuffer => ("the receive buffer was not looked at", ""),
    };
    format!("{what} ({}){how}", one_line(&unseen.why))
}

/// As people say it.
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

/// As people say it.
pub(crate) const fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Problem => "problem",
    }
}

const fn way_name(way: Way) -> &'static str {
    match way {
        Way::Multicast => "multicast",
        Way::Discovery => "finding a server without --server",
        Way::Broadcast => "broadcast",
    }
}

const fn many(multicast: bool, broadcast: bool) -> &'static str {
    match (multicast, broadcast) {
        (true, true) => "multicast and broadcast",
        (true, false) => "multicast",
        (false, _) => "broadcast",
    }
}

/// Between the parts of a setting's name stand dots, and an interface's own dots are slashes.
fn dotted(interface: &str) -> String {
    interface.replace('.', "/")
}
