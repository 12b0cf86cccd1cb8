//! Looks groups up at the registry for sessions.

use std::sync::Arc;

use bytes::Bytes;
use gaung_proto::pb::registry::{GetGroupRequest, get_group_request::By};
use service_kit::share::{Origin, PoolFull, SharePool};
use tokio::runtime::Handle;
use tonic::{Code, Status};

use crate::{
    config::Limits,
    directory::{Directory, GroupInfo},
    failure::Failure,
    inbox::{AnswerBody, FoundGroup, Inboxes, SessionAnswer},
    session_core::GroupKey,
};

use super::{RegistryClient, ticket_viewer, within_limit};

/// Looks up groups that the directory does not have. Their number at a time is limited, and shared between addresses.
pub(crate) struct GroupLookups {
    registry: RegistryClient,
    directory: Arc<Directory>,
    inboxes: Inboxes,
    shares: SharePool<Origin>,
    /// Runs the lookups, which are started from shards' threads.
    runtime: Handle,
}

/// The session that gets a lookup's answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LookupRoute {
    pub(crate) shard: usize,
    pub(crate) session: u64,
    /// The number that the session gave the lookup.
    pub(crate) number: u64,
}

impl GroupLookups {
    /// Makes lookups run on the current runtime.
    pub(crate) fn new(registry: RegistryClient, directory: Arc<Directory>, inboxes: Inboxes, limits: &Limits) -> Self {
        let shares = SharePool::new(limits.lookups as u64, limits.lookups_per_address as u64);
        Self { registry, directory, inboxes, shares, runtime: Handle::current() }
    }

    /// Starts a lookup for a session of `origin`, which is answered through its shard's inbox. `ticket` is what the session
    /// showed; without one private groups are not found.
    ///
    /// # Errors
    /// If the address looks too many groups up. Counted by address, because sessions cost an address little.
    pub(crate) fn look_up(
        &self,
        key: GroupKey,
        ticket: Bytes,
        origin: Origin,
        route: LookupRoute,
    ) -> Result<(), PoolFull> {
        let share = self.shares.take(origin, 1)?;
        let (mut registry, directory, inboxes) = (self.registry.clone(), self.directory.clone(), self.inboxes.clone());
        self.runtime.spawn(async move {
            let request = GetGroupRequest { by: Some(request_key(&key)), viewer: ticket_viewer(ticket) };
            let answer = tokio::select! {
                answer = within_limit(registry.get_group(request)) => answer,
                () = share.evicted() => Err(Status::unavailable("evicted for an address with fewer lookups")),
            };
            let outcome = match answer {
                Ok(found) => found
                    .group
                    .as_ref()
                    .and_then(GroupInfo::from_pb)
                    .map(|info| directory.looked_up(info))
                    .ok_or_else(|| Failure::new(Code::Internal, "the registry's answer has no group")),
                Err(status) => Err(failure(&key, &status)),
            };
            let LookupRoute { shard, session, number } = route;
            let body = AnswerBody::Found(FoundGroup { number, outcome });
            inboxes.of(shard).answer(SessionAnswer { session, body });
        });
        Ok(())
    }
}

fn request_key(key: &GroupKey) -> By {
    match key {
        GroupKey::Name(name) => By::Name(name.clone()),
        GroupKey::Id(id) => By::Id((*id).into()),
        GroupKey::Known(info) => By::Id(info.id.into()),
    }
}

/// Words the registry's refusal for the session. It names the group only as the session did.
fn failure(key: &GroupKey, status: &Status) -> Failure {
    let name = match key {
        GroupKey::Name(name) => name.clone(),
        GroupKey::Id(id) => id.to_string(),
        GroupKey::Known(info) => info.id.to_string(),
    };
    let code = status.code();
    if code == Code::NotFound {
        let message = match key {
            GroupKey::Name(name) => format!("there is no group {name:?}; make it with `gaung group create`"),
            GroupKey::Id(_) | GroupKey::Known(_) => format!("there is no group {name}"),
        };
        return Failure::new(code, message);
    }
    if code == Code::PermissionDenied {
        let message = format!("{name} is private; use `gaung chat` with an invite, or join it and send the ticket");
        return Failure::new(code, message);
    }
    if code == Code::InvalidArgument {
        return Failure::new(code, status.message());
    }
    Failure::new(Code::Unavailable, "the registry cannot be reached; try again")
}
