//! Giving lapsed groups an address again once their relay is back.

use std::sync::Arc;

use gaung_proto::{GroupAddr, GroupId, Scope};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    address::Low23,
    book::{Exhausted, Pair},
    create::{CreateError, RESTARTS, Stop, Wanted},
    maker::Maker,
    now::Now,
    records::{self, Fate, Group},
    registry::{LookupError, Registry},
    store::StoreError,
};

/// Ports that are tried with an operator's address.
const PORTS: usize = 4;

/// Why a lapsed group got no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegainError {
    /// The pair is not free; come back with another.
    #[error("the address chosen is not free")]
    PairTaken,
    /// The pool is empty, or the ports are.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// See [`LookupError`].
    #[error(transparent)]
    Lookup(#[from] LookupError),
}

impl From<StoreError> for RegainError {
    fn from(error: StoreError) -> Self {
        Self::Lookup(error.into())
    }
}

impl From<Stop> for RegainError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Refused(CreateError::Store(error)) => error.into(),
            Stop::Fenced | Stop::Refused(_) => Self::PairTaken,
        }
    }
}

impl Registry {
    /// The lapsed groups whose relay registers at this registry again.
    #[must_use]
    pub fn lapsed_and_back(&self, now: Now) -> Vec<Arc<Group>> {
        self.view.those(|group| group.lapsed && self.leases.registers_here(group.relay, now.mono))
    }

    /// How many groups have no address.
    #[must_use]
    pub fn lapsed_count(&self) -> usize {
        self.view.those(|group| group.lapsed).len()
    }

    /// Gives a lapsed group the address that its operator asked for; `None` if there is none or it is not free.
    ///
    /// # Errors
    /// [`RegainError`]: no free port, no such group, or the store.
    pub fn regain_own(&self, now: Now, id: GroupId) -> Result<Option<Group>, RegainError> {
        let (group, _) = self.group_row(id)?;
        let Some(ip) = group.own_address else { return Ok(None) };
        if !group.port_claimed {
            return free(self.regain_at(now, id, Pair { ip, port: group.addr.port() }));
        }
        for _ in 0..PORTS {
            let pair = self.book.pick_port(ip)?;
            let outcome = free(self.regain_at(now, id, pair));
            self.book.give_back(pair);
            if !matches!(outcome, Ok(None)) {
                return outcome;
            }
        }
        Ok(None)
    }

    /// Gives a lapsed group the address of `pair`, and its port unless the operator asked for one. A group that has an
    /// address is given back as it is.
    ///
    /// # Errors
    /// [`RegainError::PairTaken`]: come back with another pair. No such group, or the store: its outcome is unknown then,
    /// and a repeat tells.
    pub fn regain(&self, now: Now, id: GroupId, pair: Pair) -> Result<Group, RegainError> {
        let (group, _) = self.group_row(id)?;
        let port = if group.port_claimed { pair.port } else { group.addr.port() };
        self.regain_at(now, id, Pair { port, ..pair })
    }

    fn regain_at(&self, now: Now, id: GroupId, pair: Pair) -> Result<Group, RegainError> {
        let key = records::group_key(id);
        let _group = self.locks.lock(key.clone());
        let _address = self.locks.lock(records::address_key(Low23::of(pair.ip)));
        let mut outcome = Err(RegainError::PairTaken);
        for _ in 0..RESTARTS {
            let (group, version) = self.group_row(id)?;
            if !group.lapsed {
                self.note_live(&group, version);
                outcome = Ok(group);
                break;
            }
            let back = match self.claim_again(now, &group, pair) {
                Ok(back) => back,
                Err(stop) => {
                    outcome = Err(stop.into());
                    break;
                }
            };
            if let Ok(version) = self.store.set(&key, version, &Fate::Live(back.clone()).encode())? {
                self.note_live(&back, version);
                info!(group = %id, address = %back.addr, generation = back.generation.0, "the group has an address again");
                return Ok(back);
            }
        }
        // What was claimed for nothing; another registry may have given the group another address.
        self.release_unused_address(now, Low23::of(pair.ip), id)?;
        self.release_unused_port(pair.port, id)?;
        outcome
    }

    /// The group as it will be, once its record says so.
    fn claim_again(&self, now: Now, group: &Group, pair: Pair) -> Result<Group, Stop> {
        let addr = GroupAddr::new(pair.ip, pair.port).map_err(|_| CreateError::PairTaken)?;
        let is_own = group.own_address == Some(pair.ip);
        let wanted = Wanted { ip: pair.ip, is_own, former: Some(group) };
        let generation = self.claim_address(now, &wanted, group.id)?;
        if group.port_claimed {
            self.claim_port(now, pair.port, group.id, Some(group))?;
        }
        Ok(Group { addr, generation, lapsed: false, ..group.clone() })
    }
}

fn free(outcome: Result<Group, RegainError>) -> Result<Option<Group>, RegainError> {
    match outcome {
        Ok(group) => Ok(Some(group)),
        Err(RegainError::PairTaken) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Gives lapsed groups an address whenever a relay registers or renews; ends with `stop`.
pub(crate) async fn keep(registry: Arc<Registry>, maker: Maker, stop: CancellationToken) -> anyhow::Result<()> {
    let mut registrations = registry.services.changes();
    let mut told = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            changed = registrations.changed() => changed?,
        }
        let failed = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            failed = regain_all(&registry, &maker) => failed,
        };
        match failed {
            None => told = false,
            Some(reason) if told => debug!(reason, "groups stay without an address"),
            Some(reason) => {
                warn!(reason, "groups stay without an address; TCP carries them, and it is tried again");
                told = true;
            }
        }
    }
}

/// One try for each group; why some of them have none still.
async fn regain_all(registry: &Registry, maker: &Maker) -> Option<String> {
    let mut failed = None;
    let mut exhausted: Vec<Scope> = Vec::new();
    for group in registry.lapsed_and_back(Now::read()) {
        match maker.regain(&group, !exhausted.contains(&group.scope)).await {
            Ok(Some(_)) => {}
            Ok(None) => failed = failed.or_else(|| Some(RegainError::PairTaken.to_string())),
            Err(error) => {
                if matches!(error, RegainError::Exhausted(_)) {
                    exhausted.push(group.scope);
                }
                failed = Some(error.to_string());
            }
        }
    }
    failed
}
