//! Chooses interfaces: a pure function of the list of interfaces and what was requested.

use std::net::Ipv4Addr;

use super::{Interface, Link, Role};

/// The interfaces to use, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChosenLinks {
    /// The links to use, each once.
    pub links: Vec<Link>,
    /// Why a second choice was taken, if one was; tell the user.
    pub fallback: Option<InterfaceFallback>,
}

/// Says which second choice was taken because nothing better was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InterfaceFallback {
    /// Only bridges of containers, or tunnels.
    ContainerOrVpn,
    /// Only `lo`: nobody outside this machine hears what is sent.
    Loopback,
}

/// No interface can be used, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChooseError {
    /// What was requested does not exist.
    #[error("there is no interface {wanted:?}; those there are: {}", .available.join(", "))]
    NoSuch {
        /// The name or address that was given.
        wanted: String,
        /// The interfaces that could be used, each as `name (address)`.
        available: Vec<String>,
    },
    /// The chosen interface is down.
    #[error("interface {0} is down; bring it up with `ip link set {0} up` or choose another")]
    Down(String),
    /// The chosen interface cannot multicast.
    #[error("interface {0} cannot multicast; choose another, or use the TCP lane")]
    CannotMulticast(String),
    /// The chosen interface has no IPv4 address.
    #[error("interface {0} has no IPv4 address; give it one or choose another")]
    NoAddress(String),
    /// Not even loopback is up.
    #[error(
        "no interface is up with an IPv4 address, not even loopback; bring one up, such as with `ip link set lo up`"
    )]
    Nothing,
}

/// The interfaces that can be used now, perhaps none, for those who go on as more come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkSelection {
    /// The links to use, each once.
    pub links: Vec<Link>,
    /// Why a second choice was taken, if one was.
    pub fallback: Option<InterfaceFallback>,
    /// What was requested and cannot be used now; tell the user.
    pub missing: Vec<ChooseError>,
}

/// Chooses as [`choose`] does, for any number of requested interfaces; what is missing is reported, not refused.
#[must_use]
pub fn select(interfaces: &[Interface], wanted: &[String]) -> LinkSelection {
    let mut selection = LinkSelection::default();
    let wishes: Vec<_> = if wanted.is_empty() { vec![None] } else { wanted.iter().map(|w| Some(w.as_str())).collect() };
    for wish in wishes {
        match choose(interfaces, wish) {
            Ok(chosen) => {
                selection.fallback = selection.fallback.or(chosen.fallback);
                chosen.links.into_iter().for_each(|link| add(&mut selection.links, link));
            }
            Err(error) => selection.missing.push(error),
        }
    }
    selection
}

/// An interface that is chosen twice, such as by two of its addresses, is one link.
fn add(links: &mut Vec<Link>, link: Link) {
    let Some(known) = links.iter_mut().find(|known| known.index == link.index) else { return links.push(link) };
    for address in link.addresses() {
        if known.addresses().all(|other| other.ip != address.ip) {
            known.others.push(address);
        }
    }
}

/// Chooses where multicast and broadcast go.
///
/// `wanted`: an interface's name or one of its IPv4 addresses, used whatever its role (`lo` too). Without it, every
/// interface that is up, has a carrier and can multicast, without containers' bridges, ports of bridges and tunnels;
/// those only if nothing else is left; loopback last of all.
///
/// # Errors
/// [`ChooseError`] if what is wanted cannot be used, or if nothing can.
pub fn choose(interfaces: &[Interface], wanted: Option<&str>) -> Result<ChosenLinks, ChooseError> {
    match wanted {
        Some(wanted) => choose_wanted(interfaces, wanted),
        None => choose_by_role(interfaces),
    }
}

fn choose_wanted(interfaces: &[Interface], wanted: &str) -> Result<ChosenLinks, ChooseError> {
    let ip: Option<Ipv4Addr> = wanted.parse().ok();
    let by_ip = || interfaces.iter().find_map(|i| Some((i, *i.addresses.iter().find(|a| Some(a.ip) == ip)?)));
    let (interface, link) = match interfaces.iter().find(|i| i.name == wanted) {
        Some(interface) => (interface, interface.whole()),
        None => by_ip().map(|(i, a)| (i, Some(i.link(a)))).ok_or_else(|| no_such(interfaces, wanted))?,
    };
    let name = || interface.name.clone();
    if !interface.up {
        return Err(ChooseError::Down(name()));
    }
    let link = link.ok_or_else(|| ChooseError::NoAddress(name()))?;
    if !interface.can_multicast() {
        return Err(ChooseError::CannotMulticast(name()));
    }
    Ok(ChosenLinks { links: vec![link], fallback: None })
}

fn no_such(interfaces: &[Interface], wanted: &str) -> ChooseError {
    let describe = |i: &Interface| match i.addresses.first() {
        Some(address) => format!("{} ({})", i.name, address.ip),
        None => i.name.clone(),
    };
    ChooseError::NoSuch { wanted: wanted.to_owned(), available: interfaces.iter().map(describe).collect() }
}

fn choose_by_role(interfaces: &[Interface]) -> Result<ChosenLinks, ChooseError> {
    let usable = |rank: InterfaceRank| -> Vec<Link> {
        let fit = interfaces.iter().filter(|i| i.up && i.running && i.can_multicast() && rank_of(i.role) == rank);
        fit.filter_map(Interface::whole).collect()
    };
    let choices = [
        (InterfaceRank::First, None),
        (InterfaceRank::Second, Some(InterfaceFallback::ContainerOrVpn)),
        (InterfaceRank::Last, Some(InterfaceFallback::Loopback)),
    ];
    choices
        .into_iter()
        .map(|(rank, fallback)| ChosenLinks { links: usable(rank), fallback })
        .find(|chosen| !chosen.links.is_empty())
        .ok_or(ChooseError::Nothing)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InterfaceRank {
    First,
    Second,
    Last,
}

fn rank_of(role: Role) -> InterfaceRank {
    match role {
        Role::Wired | Role::Wifi | Role::Bridge => InterfaceRank::First,
        Role::Container | Role::Vpn => InterfaceRank::Second,
        Role::Loopback => InterfaceRank::Last,
    }
}
