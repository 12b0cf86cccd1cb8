//! Merges answers into services, and separates services that share an identity.

use std::net::{Ipv4Addr, SocketAddrV4};

use gaung_proto::RelayId;
use gaung_site::SiteId;

use super::{Announcement, ServiceKind, datagram::DiscoveryAnswer};

/// A service that answered, however many answers it gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundService {
    /// The kind of the service.
    pub kind: ServiceKind,
    /// The identity of the service.
    pub id: RelayId,
    /// Which process of that identity it is; `None` for one that does not tell.
    pub instance: Option<u64>,
    /// The site that it says it belongs to; not trusted. `None` for one that knows version 1 alone, or that has none.
    pub site: Option<SiteId>,
    /// The machine's name as it says; not trusted, without control characters.
    pub name: String,
    /// Where its gRPC is, each once, at least one, the first that answered first.
    pub addresses: Vec<SocketAddrV4>,
}

/// Most services and addresses of one that are kept, so that a flood of answers fills no memory.
const MAX_FOUND: usize = 64;
const MAX_ADDRESSES: usize = 8;

/// Adds an answer to what was found. One machine may answer from several addresses, and in both versions; another instance of the
/// same identity is another service, for its data folder is a copy, and so is one that claims another site.
pub(super) fn note(found: &mut Vec<FoundService>, answer: DiscoveryAnswer, from: Ipv4Addr) {
    let instance = answer.with_instance.then_some(answer.announcement.instance);
    let a = answer.announcement;
    let address = SocketAddrV4::new(a.advertised.unwrap_or(from), a.port);
    // One address is one machine: a service that was started again meanwhile has another instance.
    let at_address = found.iter().position(|f| f.kind == a.kind && f.id == a.id && f.addresses.contains(&address));
    if let Some(at) = at_address {
        found[at].instance = instance.or(found[at].instance);
        found[at].site = a.site.or(found[at].site);
        return unite(found, at);
    }
    let has_room = found.len() < MAX_FOUND;
    // A process that does not send its instance is another one, even with an identity that is known.
    let is_same = |f: &&mut FoundService| {
        f.kind == a.kind && f.id == a.id && f.instance == instance && are_compatible(f.site, a.site)
    };
    match found.iter_mut().find(is_same) {
        Some(known) => {
            known.site = known.site.or(a.site);
            add(known, address);
        }
        None if has_room => {
            let Announcement { kind, id, site, name, .. } = a;
            found.push(FoundService { kind, id, instance, site, name, addresses: vec![address] });
        }
        None => {}
    }
}

fn add(known: &mut FoundService, address: SocketAddrV4) {
    if !known.addresses.contains(&address) && known.addresses.len() < MAX_ADDRESSES {
        known.addresses.push(address);
    }
}

/// Whether two answers may be of one site: one in version 1 does not tell.
fn are_compatible(one: Option<SiteId>, other: Option<SiteId>) -> bool {
    one.is_none() || other.is_none() || one == other
}

/// Merges two entries that turn out to be one instance.
fn unite(found: &mut Vec<FoundService>, at: usize) {
    let FoundService { kind, id, instance, site, .. } = found[at];
    let is_twin = |(other, f): (usize, &FoundService)| {
        let is_instance = f.kind == kind && f.id == id && instance.is_some() && f.instance == instance;
        other != at && is_instance && are_compatible(f.site, site)
    };
    if let Some(twin) = found.iter().enumerate().position(is_twin) {
        let later = found.remove(twin.max(at));
        let first = &mut found[twin.min(at)];
        first.site = first.site.or(later.site);
        later.addresses.iter().for_each(|address| add(first, *address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::datagram::DiscoveryVersion;

    fn answer(id: u8, instance: u64) -> DiscoveryAnswer {
        let announcement = Announcement {
            kind: ServiceKind::Registry,
            port: 7400,
            id: RelayId([id; 16]),
            instance,
            advertised: None,
            site: None,
            name: "kelas-5".to_owned(),
        };
        let version = DiscoveryVersion::One;
        DiscoveryAnswer { version, nonce: 1, announcement, with_instance: instance != 0 }
    }

    fn answer_of_site(id: u8, instance: u64, site: u8) -> DiscoveryAnswer {
        let answer = answer(id, instance);
        let announcement = Announcement { site: Some(SiteId::from_bytes([site; 16])), ..answer.announcement };
        DiscoveryAnswer { version: DiscoveryVersion::Two, announcement, ..answer }
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
    fn the_site_is_told_whichever_version_is_heard_first() {
        let sites = |answers: Vec<(DiscoveryAnswer, u8)>| {
            let mut found = Vec::new();
            answers.into_iter().for_each(|(answer, last)| note(&mut found, answer, Ipv4Addr::new(10, 0, 0, last)));
            let site = |f: &FoundService| (f.site.map(|site| site.as_bytes()[0]), f.addresses.len());
            found.iter().map(site).collect::<Vec<_>>()
        };
        assert_eq!(sites(vec![(answer(1, 7), 1), (answer_of_site(1, 7, 5), 1)]), [(Some(5), 1)]);
        assert_eq!(sites(vec![(answer_of_site(1, 7, 5), 1), (answer(1, 7), 1)]), [(Some(5), 1)]);
        assert_eq!(sites(vec![(answer_of_site(1, 7, 5), 1), (answer(1, 7), 2)]), [(Some(5), 2)]);
        assert_eq!(sites(vec![(answer(1, 7), 1), (answer_of_site(1, 7, 5), 2)]), [(Some(5), 2)]);
        let claims = vec![(answer_of_site(1, 7, 5), 1), (answer_of_site(1, 7, 6), 2)];
        assert_eq!(sites(claims), [(Some(5), 1), (Some(6), 1)], "another site is another service");
    }

    #[test]
    fn a_flood_of_answers_fills_no_memory() {
        let many: Vec<_> = (0..=255).map(|n| (n, 1 + u64::from(n), n)).collect();
        assert_eq!(found(&many).len(), MAX_FOUND);
        let addresses: Vec<_> = (0..=255).map(|n| (1, 9, n)).collect();
        assert_eq!(found(&addresses)[0].2.len(), MAX_ADDRESSES);
    }
}
