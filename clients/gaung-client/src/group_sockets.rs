//! The multicast sockets of one group: one, and a second one while the group may be moving to another address.

use std::net::SocketAddrV4;

use gaung_engine::ListenChange;
use gaung_net::{
    driver::{SocketChange, SocketId},
    interface::Link,
};

/// What becomes of a group's main socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MainSocket {
    /// It stays as it is.
    Keep,
    /// It is opened for this address on these interfaces.
    Open(SocketAddrV4, Vec<Link>),
    /// It is closed: the address is no longer the group's.
    Close,
}

/// The sockets of one group, as two socket ids whose roles are exchanged when the group moves.
///
/// It opens nothing itself: each method returns the changes for the driver.
#[derive(Debug)]
pub(crate) struct GroupSockets {
    main: SocketId,
    trial: SocketId,
    /// The address of the main socket, while it is open.
    main_addr: Option<SocketAddrV4>,
    /// The address of the trial socket, while it is open.
    trial_addr: Option<SocketAddrV4>,
    links: Vec<Link>,
}

/// The slot of a group socket; `None` for the socket that all groups share.
pub(crate) fn slot_of(socket: SocketId) -> Option<u32> {
    Some(socket.0.checked_sub(1)? / 2)
}

impl GroupSockets {
    /// Makes the sockets of a slot, both closed.
    pub(crate) const fn new(slot: u32) -> Self {
        let (main, trial) = (SocketId(2 * slot + 1), SocketId(2 * slot + 2));
        Self { main, trial, main_addr: None, trial_addr: None, links: Vec::new() }
    }

    /// Makes the sockets of a slot whose main one is open already.
    pub(crate) fn opened(slot: u32, main_addr: SocketAddrV4, links: Vec<Link>) -> Self {
        Self { main_addr: Some(main_addr), links, ..Self::new(slot) }
    }

    /// The id of the main socket.
    pub(crate) const fn main(&self) -> SocketId {
        self.main
    }

    /// Whether the socket is the main one now.
    pub(crate) fn is_main(&self, socket: SocketId) -> bool {
        socket == self.main
    }

    /// Changes the main socket as the registry's data asks, and gives up the trial.
    pub(crate) fn handle_main(&mut self, main: &MainSocket) -> Vec<SocketChange> {
        let change = match main {
            MainSocket::Keep => return Vec::new(),
            MainSocket::Open(group, links) => {
                self.links.clone_from(links);
                self.main_addr = Some(*group);
                SocketChange::OpenGroup { id: self.main, group: *group, links: links.clone() }
            }
            MainSocket::Close => {
                self.main_addr = None;
                SocketChange::Close(self.main)
            }
        };
        self.handle_hearing(ListenChange::Stayed).into_iter().chain([change]).collect()
    }

    /// Opens the open sockets anew on other interfaces.
    pub(crate) fn handle_links(&mut self, links: &[Link]) -> Vec<SocketChange> {
        self.links = links.to_vec();
        let open = [(self.main, self.main_addr), (self.trial, self.trial_addr)];
        let open = open.into_iter().filter_map(|(id, group)| Some((id, group?)));
        open.map(|(id, group)| SocketChange::OpenGroup { id, group, links: links.to_vec() }).collect()
    }

    /// Starts, completes or gives up a move to another address, as the engine decides.
    pub(crate) fn handle_hearing(&mut self, hearing: ListenChange) -> Option<SocketChange> {
        match hearing {
            ListenChange::Also(group) => {
                self.trial_addr = Some(group.socket_addr());
                let links = self.links.clone();
                Some(SocketChange::OpenGroup { id: self.trial, group: group.socket_addr(), links })
            }
            ListenChange::Moved if self.trial_addr.is_some() => {
                self.main_addr = self.trial_addr.take();
                std::mem::swap(&mut self.main, &mut self.trial);
                Some(SocketChange::Close(self.trial))
            }
            ListenChange::Stayed if self.trial_addr.is_some() => {
                self.trial_addr = None;
                Some(SocketChange::Close(self.trial))
            }
            ListenChange::Moved | ListenChange::Stayed => None,
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
    fn a_move_exchanges_the_roles_of_the_sockets() {
        let mut sockets = GroupSockets::new(3);
        let (first, second) = (SocketId(7), SocketId(8));
        assert_eq!((slot_of(first), slot_of(second), slot_of(SocketId(0))), (Some(3), Some(3), None));
        let changes = sockets.handle_main(&MainSocket::Open(addr(1).socket_addr(), Vec::new()));
        assert_eq!(opened(&changes), [(first, addr(1).socket_addr())]);
        for (from, to) in [(first, second), (second, first)] {
            let change = sockets.handle_hearing(ListenChange::Also(addr(2))).expect("the trial socket is opened");
            assert_eq!(opened(&[change]), [(to, addr(2).socket_addr())]);
            assert_eq!(closed(sockets.handle_hearing(ListenChange::Moved)), Some(from));
            assert!(sockets.is_main(to));
            assert_eq!(closed(sockets.handle_hearing(ListenChange::Moved)), None);
        }
    }

    #[test]
    fn open_sockets_follow_the_interfaces() {
        let mut sockets = GroupSockets::new(0);
        assert!(sockets.handle_links(&[Link::loopback()]).is_empty(), "none is open");
        let _ = sockets.handle_main(&MainSocket::Open(addr(1).socket_addr(), Vec::new()));
        let _ = sockets.handle_hearing(ListenChange::Also(addr(2)));
        let changes = sockets.handle_links(&[Link::loopback()]);
        let (first, second) = ((SocketId(1), addr(1).socket_addr()), (SocketId(2), addr(2).socket_addr()));
        assert_eq!(opened(&changes), [first, second]);
        let _ = sockets.handle_hearing(ListenChange::Moved);
        assert_eq!(opened(&sockets.handle_links(&[])), [second]);
    }

    #[test]
    fn a_trial_is_given_up_when_the_engine_or_the_registry_says_so() {
        let mut sockets = GroupSockets::new(0);
        let _ = sockets.handle_main(&MainSocket::Open(addr(1).socket_addr(), Vec::new()));
        let _ = sockets.handle_hearing(ListenChange::Also(addr(2)));
        assert_eq!(closed(sockets.handle_hearing(ListenChange::Stayed)), Some(SocketId(2)));
        let _ = sockets.handle_hearing(ListenChange::Also(addr(2)));
        let changes = sockets.handle_main(&MainSocket::Open(addr(3).socket_addr(), Vec::new()));
        assert_eq!(changes.len(), 2, "the other is closed, this one opened: {changes:?}");
        assert_eq!(opened(&changes), [(SocketId(1), addr(3).socket_addr())]);
        assert_eq!(closed(sockets.handle_hearing(ListenChange::Stayed)), None);
    }
}
