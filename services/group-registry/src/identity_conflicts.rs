//! Finds other registries with this one's identity: their data folder is a copy of this one's, such as a cloned memory
//! card. They give out the same groups at the same addresses, and their members hear each other's relays.

use std::{
    collections::BTreeSet,
    net::SocketAddrV4,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use gaung_net::{
    discovery::{Discovery, FoundService, ServiceKind, discover},
    interface::LinkWatch,
};
use gaung_proto::RelayId;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

/// Time between two searches. A forged answer costs no more than a line in the log.
const SEARCH_EVERY: Duration = Duration::from_secs(20);
/// Time before the first search, which is short because a copy is most likely started while the other one runs.
const FIRST_SEARCH: Duration = Duration::from_secs(1);
/// A copy is gone after so many searches without an answer; one question or answer may be lost.
const MISSED: u32 = 3;

/// The copies that answer discovery.
#[derive(Debug, Default)]
pub(crate) struct IdentityConflicts {
    state: Mutex<ConflictState>,
}

#[derive(Debug, Default)]
struct ConflictState {
    at: BTreeSet<SocketAddrV4>,
    missed: u32,
}

/// What one search changed.
#[derive(Debug, PartialEq, Eq)]
enum ConflictChange {
    None,
    /// These copies are new.
    Found(Vec<SocketAddrV4>),
    /// No copy answers any more.
    Gone,
}

impl IdentityConflicts {
    /// Returns the addresses of the copies; none in a sound network.
    pub(crate) fn list(&self) -> Vec<SocketAddrV4> {
        self.state().at.iter().copied().collect()
    }

    /// Takes the addresses that one search found, without this process's own.
    fn handle_search(&self, now: BTreeSet<SocketAddrV4>) -> ConflictChange {
        let mut state = self.state();
        if now.is_empty() {
            state.missed += 1;
            if state.at.is_empty() || state.missed < MISSED {
                return ConflictChange::None;
            }
            state.at.clear();
            return ConflictChange::Gone;
        }
        state.missed = 0;
        let new: Vec<_> = now.difference(&state.at).copied().collect();
        state.at = now;
        if new.is_empty() { ConflictChange::None } else { ConflictChange::Found(new) }
    }

    fn state(&self) -> MutexGuard<'_, ConflictState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Searches for copies until `stop`, and logs what changes.
pub(crate) async fn keep(
    conflicts: &IdentityConflicts,
    (id, instance): (RelayId, u64),
    port: u16,
    watch: LinkWatch,
    stop: CancellationToken,
) {
    let mut wait = FIRST_SEARCH;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(wait) => {}
        }
        wait = SEARCH_EVERY;
        let question = Discovery { port, ..Discovery::registries(watch.now().links) };
        let found = match discover(&question).await {
            Ok(found) => found,
            Err(error) => {
                debug!(%error, "not looking for copies of the data folder");
                continue;
            }
        };
        match conflicts.handle_search(others(&found, id, instance)) {
            ConflictChange::None => {}
            ConflictChange::Found(at) => error!(
                ?at,
                "another server has this one's identity: one of them runs on a copy of the other's data folder, and their \
                 members hear each other. Stop one, and give it an empty folder"
            ),
            ConflictChange::Gone => info!("no other server with this one's identity is heard any more"),
        }
    }
}

/// Returns the addresses of other processes with this identity.
fn others(found: &[FoundService], id: RelayId, instance: u64) -> BTreeSet<SocketAddrV4> {
    let is_copy = |f: &&FoundService| {
        f.kind == ServiceKind::Registry && f.id == id && f.instance.is_some_and(|theirs| theirs != instance)
    };
    found.iter().filter(is_copy).flat_map(|f| f.addresses.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(last: u8) -> SocketAddrV4 {
        SocketAddrV4::new([10, 0, 0, last].into(), 7400)
    }

    fn found(id: u8, instance: Option<u64>, last: u8) -> FoundService {
        let (kind, id) = (ServiceKind::Registry, RelayId([id; 16]));
        FoundService { kind, id, instance, site: None, name: String::new(), addresses: vec![at(last)] }
    }

    #[test]
    fn a_copy_is_told_once_and_when_it_is_gone() {
        let conflicts = IdentityConflicts::default();
        let search = |lasts: &[u8]| conflicts.handle_search(lasts.iter().map(|last| at(*last)).collect());
        assert_eq!(search(&[]), ConflictChange::None);
        assert_eq!(search(&[2]), ConflictChange::Found(vec![at(2)]));
        assert_eq!(
            (search(&[2]), search(&[]), conflicts.list()),
            (ConflictChange::None, ConflictChange::None, vec![at(2)])
        );
        assert_eq!(search(&[2, 3]), ConflictChange::Found(vec![at(3)]));
        assert_eq!(
            (search(&[]), search(&[]), search(&[])),
            (ConflictChange::None, ConflictChange::None, ConflictChange::Gone)
        );
        assert!(conflicts.list().is_empty());
    }

    #[test]
    fn neither_oneself_nor_other_servers_are_copies() {
        let answers = [found(1, Some(7), 1), found(2, Some(9), 2), found(1, None, 3), found(1, Some(8), 4)];
        assert_eq!(others(&answers, RelayId([1; 16]), 7), BTreeSet::from([at(4)]));
    }
}
