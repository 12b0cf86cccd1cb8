//! Joining and leaving.

use std::{collections::HashMap, net::IpAddr};

use bytes::Bytes;
use gaung_proto::{ClientId, DeviceId, DisplayName, GroupId, pb::registry as pb, signing::issue_ticket};
use prost::Message as _;
use service_kit::share::{Origin, TooSoon};

use crate::{
    limits,
    now::Now,
    presence::{PRESENCE_LEASE, Presence},
    records::{self, Fate, Group, StoredMember},
    registry::{GroupBy, LookupError, Registry},
    store::StoreError,
};

/// Bytes of one answer that lists members, below the largest gRPC message with room.
const MAX_TOLD_BYTES: usize = 3 * 1024 * 1024;
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
    Private(String),
    /// No room.
    #[error("the registry is full: {0}")]
    Full(&'static str),
    /// See [`TooSoon`].
    #[error(transparent)]
    TooSoon(#[from] TooSoon),
}

impl JoinError {
    /// Says no more of the group than the caller said: who knows the id need not know the name.
    pub(crate) fn private(by: &GroupBy) -> Self {
        match by {
            GroupBy::Name(name) => Self::Private(name.to_string()),
            GroupBy::Id(id) => Self::Private(id.to_string()),
        }
    }
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
    /// The address that it came from; `None`: this process.
    pub from: Option<IpAddr>,
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
            return Err(JoinError::private(&join.by));
        }
        match join.client {
            None => self.enrol(now, &group, join.device, join.name.as_ref(), join.from)?,
            Some(client) => {
                let name = join.name.as_ref().map_or_else(|| fallback_name(join.device), ToString::to_string);
                let presence =
                    Presence { name, lane: join.lane.clone(), since_unix_ms: now.unix_ms, renewed: now.mono };
                let key = (group.id, join.device, client);
                if !self.presences.renew(key, &presence) {
                    limits::take(&self.limits.joins, join.from, now.mono)?;
                    let begun = self.presences.begin(key, presence, limits::origin(join.from));
                    begun.map_err(|_| JoinError::Full("too many clients are present; try again in a moment"))?;
                }
            }
        }
        let lease_ms = i64::try_from(PRESENCE_LEASE.as_millis()).unwrap_or(i64::MAX);
        Ok(Joined {
            ticket: issue_ticket(&self.signing, group.id, join.device, now.unix_ms + lease_ms + TICKET_SLACK_MS),
            relays: self.services.relay(group.relay, now).into_iter().collect(),
            hubs: self.services.hubs(now),
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
            self.member_index.remove(id, device);
        }
        Ok(())
    }

    /// Lasting members and those present, in order of name. Where an answer cannot take all, each address's first ones come
    /// before anybody's many.
    ///
    /// # Errors
    /// [`LookupError`], each case.
    pub fn members(&self, now: Now, id: GroupId) -> Result<Vec<pb::Member>, LookupError> {
        let (group, _) = self.group_row(id)?;
        let mut members: HashMap<DeviceId, pb::Member> = HashMap::new();
        let mut ranks: HashMap<DeviceId, usize> = HashMap::new();
        let mut of_each: HashMap<Option<Origin>, usize> = HashMap::new();
        if !group.owner.is_none() && !group.owner_left {
            members.insert(group.owner, member(group.owner, &group.owner_name, group.created_unix_ms));
        }
        self.store.each(&records::members_prefix(id), |item| {
            let device = item.key.last_chunk().map(|id| DeviceId(*id)).ok_or_else(|| records::damaged(&item.key))?;
            let stored: StoredMember = records::decode(&item.key, &item.entry.value)?;
            let rank = of_each.entry(limits::origin(stored.joined_from.parse().ok())).or_insert(0);
            ranks.insert(device, *rank);
            *rank += 1;
            members.insert(device, member(device, &stored.name, stored.joined_unix_ms));
            Ok::<_, StoreError>(())
        })?;
        for (device, presence, origin) in self.presences.of(id, now.mono) {
            let rank = of_each.entry(origin).or_insert(0);
            ranks.entry(device).or_insert(*rank);
            *rank += 1;
            let known = members.entry(device).or_insert_with(|| member(device, &presence.name, presence.since_unix_ms));
            known.present = true;
            known.lane = presence.lane;
            known.name = presence.name;
        }
        let mut members: Vec<_> = members.into_iter().collect();
        if members.iter().map(|(_, member)| member.encoded_len() + 4).sum::<usize>() > MAX_TOLD_BYTES {
            members.sort_by_key(|(device, _)| ranks.get(device).copied().unwrap_or(0));
            let mut left = MAX_TOLD_BYTES;
            members.retain(|(_, member)| {
                let fits = left.checked_sub(member.encoded_len() + 4);
                left = fits.unwrap_or(0);
                fits.is_some()
            });
        }
        let mut members: Vec<_> = members.into_iter().map(|(_, member)| member).collect();
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
        from: Option<IpAddr>,
    ) -> Result<(), JoinError> {
        if group.owner == device {
            let (group, version) = self.group_row(group.id)?;
            return if group.owner_left { Ok(self.set_owner_left(group, version, false)?) } else { Ok(()) };
        }
        let key = records::member_key(group.id, device);
        loop {
            let Some(entry) = self.store.get(&key)? else {
                limits::take(&self.limits.joins, from, now.mono)?;
                if let Some(leaves) = self.member_index.room_for(&self.store, group, limits::origin(from))? {
                    self.leave(group.id, leaves, None)?;
                }
                let name = name.map_or_else(|| fallback_name(device), ToString::to_string);
                let joined_from = from.map(|ip| ip.to_string()).unwrap_or_default();
                let stored = StoredMember { name, joined_unix_ms: now.unix_ms, joined_from };
                match self.store.create(&key, &stored.encode_to_vec().into())? {
                    Ok(_) => {
                        self.member_index.add(group.id, device, limits::origin(from), now.unix_ms);
                        return Ok(());
                    }
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
