//! Joining and leaving.

use std::collections::HashMap;

use bytes::Bytes;
use gaung_proto::{ClientId, DeviceId, DisplayName, GroupId, GroupName, pb::registry as pb, signing::issue_ticket};
use prost::Message as _;

use crate::{
    now::Now,
    presence::{PRESENCE_LEASE, Presence},
    records::{self, Fate, Group, StoredMember},
    registry::{GroupBy, LookupError, Registry},
    store::StoreError,
};

/// Lasting members of one group.
const MAX_MEMBERS: usize = 10_000;
/// Tickets outlast the presence by this much, since clocks within a LAN without internet differ.
const TICKET_SLACK_MS: i64 = 5 * 60 * 1000;

/// Why a device did not get in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// See [`LookupError`].
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// A private group without an invite.
    #[error("the group {0} is private; ask a member for an invite and redeem it with `gaung group join --invite CODE`")]
    Private(GroupName),
    /// No room.
    #[error("the registry is full: {0}; let others leave first")]
    Full(&'static str),
}

impl From<StoreError> for JoinError {
    fn from(error: StoreError) -> Self {
        Self::Lookup(error.into())
    }
}

/// One join, checked.
#[derive(Debug, Clone)]
pub struct Join {
    /// Which group.
    pub by: GroupBy,
    /// Who.
    pub device: DeviceId,
    /// For display; none leaves the name as it was, or the device id's first digits.
    pub name: Option<DisplayName>,
    /// The process; `None` for a lasting membership.
    pub client: Option<ClientId>,
    /// How messages reach it; `multicast`, `tcp`, `broadcast` or empty.
    pub lane: String,
}

/// What is needed to talk.
#[derive(Debug, Clone)]
pub struct Joined {
    /// The group.
    pub group: Group,
    /// An encoded `SignedTicket`.
    pub ticket: Bytes,
    /// The group's relay, if it was ever registered.
    pub relays: Vec<pb::ServiceInfo>,
    /// Hubs that are alive.
    pub hubs: Vec<pb::ServiceInfo>,
}

impl Registry {
    /// Makes the device a lasting member, or begins or renews a presence.
    ///
    /// # Errors
    /// [`JoinError`], each case.
    pub fn join(&self, now: Now, join: &Join) -> Result<Joined, JoinError> {
        let group = self.group(&join.by)?;
        if group.private && !self.is_member(&group, join.device)? {
            return Err(JoinError::Private(group.name));
        }
        match join.client {
            None => self.enrol(now, &group, join.device, join.name.as_ref())?,
            Some(client) => {
                let name = join.name.as_ref().map_or_else(|| fallback_name(join.device), ToString::to_string);
                let presence =
                    Presence { name, lane: join.lane.clone(), since_unix_ms: now.unix_ms, renewed: now.mono };
                if !self.presences.renew(group.id, join.device, client, presence) {
                    return Err(JoinError::Full("too many clients are present"));
                }
            }
        }
        let services = self.services.list(now);
        let relay = Bytes::from(group.relay);
        let (relays, hubs): (Vec<_>, Vec<_>) = services.into_iter().partition(|s| s.kind() == pb::ServiceKind::Relay);
        let lease_ms = i64::try_from(PRESENCE_LEASE.as_millis()).unwrap_or(i64::MAX);
        Ok(Joined {
            ticket: issue_ticket(&self.signing, group.id, join.device, now.unix_ms + lease_ms + TICKET_SLACK_MS),
            relays: relays.into_iter().filter(|s| s.service_id == relay).collect(),
            hubs: hubs.into_iter().filter(|s| s.alive).collect(),
            group,
        })
    }

    /// Ends a presence, or the lasting membership if `client` is `None`.
    ///
    /// # Errors
    /// [`LookupError`], each case.
    pub fn leave(&self, id: GroupId, device: DeviceId, client: Option<ClientId>) -> Result<(), LookupError> {
        let (group, version) = self.group_row(id)?;
        if let Some(client) = client {
            self.presences.end(id, device, client);
            return Ok(());
        }
        if group.owner == device && !device.is_none() && !group.owner_left {
            self.set_owner_left(group, version, true)?;
        }
        let key = records::member_key(id, device);
        if let Some(entry) = self.store.get(&key)? {
            let _changed_by_a_join = self.store.delete(&key, entry.version)?;
        }
        Ok(())
    }

    /// Lasting members and those present, in order of name.
    ///
    /// # Errors
    /// [`LookupError`], each case.
    pub fn members(&self, now: Now, id: GroupId) -> Result<Vec<pb::Member>, LookupError> {
        let (group, _) = self.group_row(id)?;
        let mut members: HashMap<DeviceId, pb::Member> = HashMap::new();
        if !group.owner.is_none() && !group.owner_left {
            members.insert(group.owner, member(group.owner, &group.owner_name, group.created_unix_ms));
        }
        self.store.each(&records::members_prefix(id), |item| {
            let device = item.key.last_chunk().map(|id| DeviceId(*id)).ok_or_else(|| records::damaged(&item.key))?;
            let stored: StoredMember = records::decode(&item.key, &item.entry.value)?;
            members.insert(device, member(device, &stored.name, stored.joined_unix_ms));
            Ok::<_, StoreError>(())
        })?;
        for (device, presence) in self.presences.of(id, now.mono) {
            let known = members.entry(device).or_insert_with(|| member(device, &presence.name, presence.since_unix_ms));
            known.present = true;
            known.lane = presence.lane;
            known.name = presence.name;
        }
        let mut members: Vec<_> = members.into_values().collect();
        members.sort_by(|a, b| (&a.name, &a.device_id).cmp(&(&b.name, &b.device_id)));
        Ok(members)
    }

    /// True for the owner and for lasting members.
    pub(crate) fn is_member(&self, group: &Group, device: DeviceId) -> Result<bool, StoreError> {
        let is_owner = group.owner == device && !device.is_none();
        Ok(is_owner || self.store.get(&records::member_key(group.id, device))?.is_some())
    }

    /// Writes the lasting membership; a repeat changes at most the name.
    pub(crate) fn enrol(
        &self,
        now: Now,
        group: &Group,
        device: DeviceId,
        name: Option<&DisplayName>,
    ) -> Result<(), JoinError> {
        if group.owner == device {
            let (group, version) = self.group_row(group.id)?;
            return if group.owner_left { Ok(self.set_owner_left(group, version, false)?) } else { Ok(()) };
        }
        let key = records::member_key(group.id, device);
        loop {
            let Some(entry) = self.store.get(&key)? else {
                if self.store.page(&records::members_prefix(group.id), None, MAX_MEMBERS)?.len() >= MAX_MEMBERS {
                    return Err(JoinError::Full("the group has too many members"));
                }
                let name = name.map_or_else(|| fallback_name(device), ToString::to_string);
                let stored = StoredMember { name, joined_unix_ms: now.unix_ms };
                match self.store.create(&key, &stored.encode_to_vec().into())? {
                    Ok(_) => return Ok(()),
                    Err(_) => continue,
                }
            };
            let stored: StoredMember = records::decode(&key, &entry.value)?;
            let Some(name) = name.map(ToString::to_string).filter(|name| *name != stored.name) else { return Ok(()) };
            let renamed = StoredMember { name, ..stored };
            if self.store.set(&key, entry.version, &renamed.encode_to_vec().into())?.is_ok() {
                return Ok(());
            }
        }
    }

    fn set_owner_left(&self, group: Group, version: gaung_log::kv::Version, left: bool) -> Result<(), LookupError> {
        let (mut group, mut version) = (group, version);
        loop {
            let id = group.id;
            let changed = Group { owner_left: left, ..group };
            let key = records::group_key(id);
            if let Ok(version) = self.store.set(&key, version, &Fate::Live(changed.clone()).encode())? {
                self.view.apply(id, version, Some(changed));
                return Ok(());
            }
            (group, version) = self.group_row(id)?;
        }
    }
}

fn member(device: DeviceId, name: &str, joined_unix_ms: i64) -> pb::Member {
    pb::Member { device_id: device.into(), name: name.to_owned(), present: false, lane: String::new(), joined_unix_ms }
}

/// A name for a device that gave none.
fn fallback_name(device: DeviceId) -> String {
    device.to_string().chars().take(8).collect()
}
