//! Listens for foreign traffic on the addresses of groups.

use std::{collections::BTreeMap, net::SocketAddrV4, time::Duration};

use gaung_net::{discovery::DISCOVERY_GROUP, interface::Link, probe::overhear};
use gaung_proto::{GroupTag, datagram::Header, ports};

use super::super::facts::{Facts, ForeignFacts, GroupFacts, Unseen};

/// A group that a server knows.
#[derive(Debug, Clone)]
pub struct KnownGroup {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: SocketAddrV4,
    /// What its datagrams are marked with.
    pub tag: GroupTag,
}

/// How long to listen.
const TIME: Duration = Duration::from_secs(2);
/// Most senders that are recorded, so that a flood fills no memory.
const MAX_SENDERS: usize = 64;
/// Most groups listened to at a time: each takes a socket.
const MAX_GROUPS: usize = 256;

/// Listens to the groups and to discovery, and notes what belongs to neither.
pub(super) fn listen(facts: &mut Facts, links: &[Link], groups: Result<Vec<KnownGroup>, String>) {
    let mut groups = groups.unwrap_or_else(|why| {
        facts.could_not_look(Unseen::Groups, why);
        Vec::new()
    });
    if groups.len() > MAX_GROUPS {
        facts.could_not_look(Unseen::Groups, format!("{} groups; the first {MAX_GROUPS} were", groups.len()));
        groups.truncate(MAX_GROUPS);
    }
    let discovery = SocketAddrV4::new(DISCOVERY_GROUP, ports::DISCOVERY);
    let addresses: Vec<_> = groups.iter().map(|group| group.address).chain([discovery]).collect();
    facts.groups = groups.iter().map(|group| known(group, None)).collect();
    let mut senders: BTreeMap<(SocketAddrV4, SocketAddrV4), ForeignFacts> = BTreeMap::new();
    let refused = overhear(&addresses, links, TIME, |address, from, datagram| {
        let group = groups.iter().find(|group| group.address == address);
        let name = group.map_or("discovery", |group| &group.name);
        let Some(gaung) = stranger(group, datagram) else { return };
        let room = senders.len() < MAX_SENDERS;
        match senders.get_mut(&(address, from.0)) {
            Some(sender) => sender.datagrams += 1,
            None if room => {
                let sender = ForeignFacts { group: name.to_owned(), address, from: from.0, datagrams: 1, gaung };
                senders.insert((address, from.0), sender);
            }
            None => {}
        }
    });
    for (address, error) in refused {
        if let Some(group) = facts.groups.iter_mut().find(|group| group.address == address) {
            group.refused = Some(error.to_string());
        }
    }
    facts.foreign = senders.into_values().collect();
}

fn known(group: &KnownGroup, refused: Option<String>) -> GroupFacts {
    GroupFacts { name: group.name.clone(), address: group.address, refused }
}

/// Classifies a datagram: `None` if it belongs here, else whether some Gaung sent it.
fn stranger(group: Option<&KnownGroup>, datagram: &[u8]) -> Option<bool> {
    // Another doctor may be at work on this network.
    if datagram.starts_with(b"gaung doctor") {
        return None;
    }
    match group {
        None => (!datagram.starts_with(b"GD")).then_some(false),
        Some(group) => match Header::decode(datagram) {
            Ok((header, _)) => (header.tag != group.tag).then_some(true),
            Err(_) => Some(false),
        },
    }
}
