//! Merges answers into services, and separates services that share an identity.

use std::net::{Ipv4Addr, SocketAddrV4};

use gaung_proto::RelayId;

use super::{ServiceKind, datagram::DiscoveryAnswer};

/// A service that answered, however many answers it gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundService {
    /// The kind of the service.
    pub kind: ServiceKind,
    /// The identity of the service.
    pub id: RelayId,
    /// Which process of that identity it is; `None` for one that does not tell.
    pub instance: Option<u64>,
    /// The machine's name as it says; not trusted, without control characters.
    pub name: String,
    /// Where its gRPC is, each once, at least one, the first that answered first.
    pub addresses: Vec<SocketAddrV4>,
}

/// Most services and addresses of one that are kept, so that a flood of answers fills no memory.
const MAX_FOUND: usize = 64;
const MAX_ADDRESSES: usize = 8;

/// Adds an answer to what was found. One machine may answer from several addresses; another instance of the same identity
/// is another service, for its data folder is a copy.
pub(super) fn note(found: &mut Vec<FoundService>, answer: DiscoveryAnswer, from: Ipv4Addr) {
    let instance = answer.with_instance.then_some(answer.announcement.instance);
    let a = answer.announcement;
    let address = SocketAddrV4::new(a.advertised.unwrap_or(from), a.port);
    // One address is one machine: a service that was started again meanwhile has another instance.
    let at_address = found.iter().position(|f| f.kind == a.kind && f.id == a.id && f.addresses.contains(&address));
    if let Some(at) = at_address {
        found[at].instance = instance.or(found[at].instance);
        return unite(found, at);
    }
    let has_room = found.len() < MAX_FOUND;
    // A process that does not send its instance is another one, even with an identity that is known.
    match found.iter_mut().find(|f| f.kind == a.kind && f.id == a.id && f.instance == instance) {
        Some(known) => add(known, address),
        None if has_room => {
            found.push(FoundService { kind: a.kind, id: a.id, instance, name: a.name, addresses: vec![address] });
        }
        None => {}
    }
}

fn add(known: &mut FoundService, address: SocketAddrV4) {
    if !known.addresses.contains(&address) && known.addresses.len() < MAX_ADDRESSES {
        known.addresses.push(address);
    }
}

/// Merges two entries that turn out to be one instance.
fn unite(found: &mut Vec<FoundService>, at: usize) {
    let FoundService { kind, id, instance, .. } = found[at];
    let is_twin = |(other, f): (usize, &FoundService)| {
        other != at && f.kind == kind && f.id == id && instance.is_some() && f.instance == instance
    };
    if let Some(twin) = found.iter().enumerate().position(is_twin) {
        let twin = found.remove(twin.max(at));
        let first = found.iter_mut().find(|f| f.kind == kind && f.id == id && f.instance == instance);
        first.into_iter().for_each(|first| twin.addresses.iter().for_each(|address| add(first, *address)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::Announcement;

    fn answer(id: u8, instance: u64) -> DiscoveryAnswer {
        let announcement = Announcement {
            kind: ServiceKind::Registry,
            port: 7400,
            id: RelayId([id; 16]),
            instance,
            advertised: None,
            name: "kelas-5".to_owned(),
        };
        DiscoveryAnswer { nonce: 1, announcement, with_instance: instance != 0 }
    }

    fn found(answers: &[(u8, u64, u8)]) -> Vec<(u8, Option<u64>, Vec<u8>)> {
        let mut found = Vec::new();
        for &(id, instance, last) in answers {
            note(&mut found, answer(id, instance), Ipv4Addr::new(10, 0, 0, last));
        }
        let lasts = |f: &FoundService| f.addresses.iter().map(|address| address.ip().octets()[3]).collect();
        found.iter().map(|f| (f.id.as_bytes()[0], f.instance, lasts(f))).collect()
    }

    #[test]
    fn one_machine_with_two_addresses_is_one_server() {
        assert_eq!(found(&[(1, 7, 1), (1, 7, 2), (1, 7, 1)]), [(1, Some(7), vec![1, 2])]);
        assert_eq!(found(&[(1, 0, 1), (1, 0, 2)]), [(1, None, vec![1, 2])], "servers that do not tell");
        assert_eq!(found(&[(1, 0, 1), (1, 7, 2), (1, 7, 1)]), [(1, Some(7), vec![1, 2])]);
        assert_eq!(found(&[(1, 7, 1), (1, 8, 1)]), [(1, Some(8), vec![1])], "it was started again");
    }

    #[test]
    fn a_copied_data_folder_is_another_server() {
        assert_eq!(found(&[(1, 7, 1), (1, 8, 2), (1, 8, 2)]), [(1, Some(7), vec![1]), (1, Some(8), vec![2])]);
        assert_eq!(found(&[(1, 7, 1), (2, 7, 2)]).len(), 2, "another identity");
        assert_eq!(found(&[(1, 7, 1), (1, 0, 2)]).len(), 2, "one that claims the identity and tells no instance");
    }

    #[test]
    fn a_flood_of_answers_fills_no_memory() {
        let many: Vec<_> = (0..=255).map(|n| (n, 1 + u64::from(n), n)).collect();
        assert_eq!(found(&many).len(), MAX_FOUND);
        let addresses: Vec<_> = (0..=255).map(|n| (1, 9, n)).collect();
        assert_eq!(found(&addresses)[0].2.len(), MAX_ADDRESSES);
    }
}
