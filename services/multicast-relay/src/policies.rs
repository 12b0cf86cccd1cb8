//! The policies of this relay's groups, by which it refuses banned, muted and kicked devices as soon as the registry tells of
//! them, whatever tickets they hold.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use gaung_proto::{
    DeviceId, GroupId,
    policy::{Policy, PolicyRefusal, SignedPolicy},
    signing::ticket_holder,
};
use tokio::sync::watch;

use crate::group::GroupConfig;

type CurrentPolicy = Option<Arc<SignedPolicy>>;

/// The current policy of each group. The keeper sets them, calls read them and wait for changes.
#[derive(Debug, Default)]
pub(crate) struct GroupPolicies(RwLock<HashMap<GroupId, watch::Sender<CurrentPolicy>>>);

impl GroupPolicies {
    /// Sets a group's policy and wakes whoever follows it; `None` for a group in which nobody has decided anything.
    pub(crate) fn set(&self, group: GroupId, policy: CurrentPolicy) {
        if policy.is_none() && !self.0.read().unwrap_or_else(PoisonError::into_inner).contains_key(&group) {
            return;
        }
        let mut groups = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let _before = groups.entry(group).or_default().send_replace(policy);
    }

    /// Forgets a group that was deleted.
    pub(crate) fn remove(&self, group: GroupId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&group);
    }

    /// Subscribes to a group's policy.
    pub(crate) fn watch(&self, group: GroupId) -> watch::Receiver<CurrentPolicy> {
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&group) {
            return known.subscribe();
        }
        self.0.write().unwrap_or_else(PoisonError::into_inner).entry(group).or_default().subscribe()
    }

    /// Checks that the device may publish to the group. `unix_ms`: the registry's clock.
    pub(crate) fn check_publisher(&self, group: GroupId, device: DeviceId, unix_ms: i64) -> Result<(), PolicyRefusal> {
        self.check(group, |policy| policy.check_publisher(device, unix_ms))
    }

    /// Checks that the device of a verified ticket may still read the group; a group that is not private needs no ticket.
    pub(crate) fn check_reader(&self, group: &GroupConfig, ticket: &[u8]) -> Result<(), PolicyRefusal> {
        let Some((device, version)) = ticket_holder(ticket).filter(|_| group.private) else { return Ok(()) };
        self.check(group.id, |policy| policy.check_ticket(device, version))
    }

    /// Checks that the device may hide messages of others in the group.
    pub(crate) fn check_moderator(&self, group: &GroupConfig, device: DeviceId) -> Result<(), PolicyRefusal> {
        let owner = group.owner().unwrap_or(DeviceId::NONE);
        if !owner.is_none() && device == owner {
            return Ok(());
        }
        let groups = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let current = groups.get(&group.id).and_then(|current| current.borrow().clone());
        current.ok_or(PolicyRefusal::NoRole)?.policy().check_moderator(owner, device)
    }

    fn check(
        &self,
        group: GroupId,
        rule: impl FnOnce(&Policy) -> Result<(), PolicyRefusal>,
    ) -> Result<(), PolicyRefusal> {
        let groups = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(current) = groups.get(&group) else { return Ok(()) };
        current.borrow().as_ref().map_or(Ok(()), |signed| rule(signed.policy()))
    }
}
