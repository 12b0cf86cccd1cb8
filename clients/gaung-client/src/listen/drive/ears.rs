//! The sockets by which one group is heard: one, and a second while it may be going to another address.

use std::net::SocketAddrV4;

use gaung_engine::Hearing;
use gaung_net::{
    driver::{SocketChange, SocketId},
    interface::Link,
};

use super::Hear;

/// Of one slot.
#[derive(Debug)]
pub(super) struct Ears {
    main: SocketId,
    other: SocketId,
    /// The group of the main one.
    at: Option<SocketAddrV4>,
    /// The group of the other one, while it is open too.
    trying: Option<SocketAddrV4>,
    links: Vec<Link>,
}

/// Whose slot a socket is; not for the own socket of all.
pub(super) fn slot_of(socket: SocketId) -> Option<u32> {
    Some(socket.0.checked_sub(1)? / 2)
}

impl Ears {
    /// Deaf.
    pub(super) const fn new(slot: u32) -> Self {
        let (main, other) = (SocketId(2 * slot + 1), SocketId(2 * slot + 2));
        Self { main, other, at: None, trying: None, links: Vec::new() }
    }

    pub(super) fn is_main(&self, socket: SocketId) -> bool {
        socket == self.main
    }

    /// The group's task knows where it is.
    pub(super) fn handle_task(&mut self, hear: &Hear) -> Vec<SocketChange> {
        let change = match hear {
            Hear::AsBefore => return Vec::new(),
            Hear::At(group, links) => {
                self.links.clone_from(links);
                self.at = Some(*group);
                SocketChange::OpenGroup { id: self.main, group: *group, links: links.clone() }
            }
            Hear::Nowhere => {
                self.at = None;
                SocketChange::Close(self.main)
            }
        };
        self.handle_engine(Hearing::Stayed).into_iter().chain([change]).collect()
    }

    /// The machine's interfaces are others.
    pub(super) fn handle_links(&mut self, links: &[Link]) -> Vec<SocketChange> {
        self.links = links.to_vec();
        let open = [(self.main, self.at), (self.other, self.trying)];
        let open = open.into_iter().filter_map(|(id, group)| Some((id, group?)));
        open.map(|(id, group)| SocketChange::OpenGroup { id, group, links: links.to_vec() }).collect()
    }

    /// The engine was told where it goes.
    pub(super) fn handle_engine(&mut self, hearing: Hearing) -> Option<SocketChange> {
        match hearing {
            Hearing::Also(group) => {
                self.trying = Some(group.socket_addr());
                let links = self.links.clone();
                Some(SocketChange::OpenGroup { id: self.other, group: group.socket_addr(), links })
            }
            Hearing::Moved if self.trying.is_some() => {
                self.at = self.trying.take();
                std::mem::swap(&mut self.main, &mut self.other);
                Some(SocketChange::Close(self.other))
            }
            Hearing::Stayed if self.trying.is_some() => {
                self.trying = None;
                Some(SocketChange::Close(self.other))
            }
            Hearing::Moved | Hearing::Stayed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use gaung_proto::GroupAddr;

    use super::*;

    fn addr(last: u8) -> GroupAddr {
        GroupAddr::new(Ipv4Addr::new(239, 255, 0, last), 20_000).expect("multicast")
    }

    fn opened(changes: &[SocketChange]) -> Vec<(SocketId, SocketAddrV4)> {
        let open = |change: &SocketChange| match change {
            SocketChange::OpenGroup { id, group, .. } => Some((*id, *group)),
            SocketChange::Close(_) | SocketChange::OpenBroadcast { .. } | SocketChange::Adopt { .. } => None,
        };
        changes.iter().filter_map(open).collect()
    }

    fn closed(change: Option<SocketChange>) -> Option<SocketId> {
        match change {
            Some(SocketChange::Close(id)) => Some(id),
            Some(SocketChange::OpenGroup { .. } | SocketChange::OpenBroadcast { .. } | SocketChange::Adopt { .. })
            | None => None,
        }
    }

    #[test]
    fn two_sockets_take_turns() {
        let mut ears = Ears::new(3);
        let (first, second) = (SocketId(7), SocketId(8));
        assert_eq!((slot_of(first), slot_of(second), slot_of(SocketId(0))), (Some(3), Some(3), None));
        let changes = ears.handle_task(&Hear::At(addr(1).socket_addr(), Vec::new()));
        assert_eq!(opened(&changes), [(first, addr(1).socket_addr())]);
        for (from, to) in [(first, second), (second, first)] {
            let change = ears.handle_engine(Hearing::Also(addr(2))).expect("it listens there too");
            assert_eq!(opened(&[change]), [(to, addr(2).socket_addr())]);
            assert_eq!(closed(ears.handle_engine(Hearing::Moved)), Some(from));
            assert!(ears.is_main(to));
            assert_eq!(closed(ears.handle_engine(Hearing::Moved)), None);
        }
    }

    #[test]
    fn both_follow_the_interfaces() {
        let mut ears = Ears::new(0);
        assert!(ears.handle_links(&[Link::loopback()]).is_empty(), "deaf");
        let _ = ears.handle_task(&Hear::At(addr(1).socket_addr(), Vec::new()));
        let _ = ears.handle_engine(Hearing::Also(addr(2)));
        let changes = ears.handle_links(&[Link::loopback()]);
        let (first, second) = ((SocketId(1), addr(1).socket_addr()), (SocketId(2), addr(2).socket_addr()));
        assert_eq!(opened(&changes), [first, second]);
        let _ = ears.handle_engine(Hearing::Moved);
        assert_eq!(opened(&ears.handle_links(&[])), [second]);
    }

    #[test]
    fn what_was_tried_is_given_up() {
        let mut ears = Ears::new(0);
        let _ = ears.handle_task(&Hear::At(addr(1).socket_addr(), Vec::new()));
        let _ = ears.handle_engine(Hearing::Also(addr(2)));
        assert_eq!(closed(ears.handle_engine(Hearing::Stayed)), Some(SocketId(2)));
        let _ = ears.handle_engine(Hearing::Also(addr(2)));
        let changes = ears.handle_task(&Hear::At(addr(3).socket_addr(), Vec::new()));
        assert_eq!(changes.len(), 2, "the other is closed, this one opened: {changes:?}");
        assert_eq!(opened(&changes), [(SocketId(1), addr(3).socket_addr())]);
        assert_eq!(closed(ears.handle_engine(Hearing::Stayed)), None);
    }
}
