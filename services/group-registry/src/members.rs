//! Lasting membership: joining, leaving, and the list of a group's members.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use bytes::Bytes;
use gaung_proto::{ClientId, DeviceId, DisplayName, GroupId, pb::registry as pb, policy::PolicyRefusal};
use prost::Message as _;
use service_kit::share::{Origin, TooSoon};

use crate::{
    clock::CommandTime,
    group::Group,
    limits,
    lookup::{GroupBy, LookupError},
    membership::{NoRoom, origin_of},
    presence::Presence,
    records::{Record, StoredMember},
    store::StoreError,
    tables::{Change, Decide, Tables},
};

/// Most bytes of an answer that lists members, well below the largest gRPC message.
const MAX_TOLD_BYTES: usize = 3 * 1024 * 1024;

/// Why a join was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// See [`LookupError`].
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The group is private and the device was not invited.
    #[error("the group {0} is private; ask a member for an invite and redeem it with `gaung group join --invite CODE`")]
    Private(String),
    /// The device is banned.
    #[error(transparent)]
    Policy(#[from] PolicyRefusal),
    /// The group or the registry is full.
    #[error("the registry is full: {0}")]
    Full(&'static str),
    /// See [`TooSoon`].
    #[error(transparent)]
    TooSoon(#[from] TooSoon),
}

impl JoinError {
    /// Refuses a join with the caller's own name for the group: who knows the id need not know the name.
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

/// A validated request to join.
#[derive(Debug, Clone)]
pub struct JoinRequest {
    /// The group.
    pub by: GroupBy,
    /// The device.
    pub device: DeviceId,
    /// The member's name, for display. Without one the known name stays, or the device id's first digits.
    pub name: Option<DisplayName>,
    /// The client process that is present; `None` for a lasting membership.
    pub client: Option<ClientId>,
    /// The lane that it receives by: `multicast`, `tcp`, `broadcast` or empty.
    pub lane: String,
    /// The caller's address; `None` for this process.
    pub from: Option<IpAddr>,
}

/// What a member needs to take part.
#[derive(Debug, Clone)]
pub struct JoinGrant {
    /// The group.
    pub group: Group,
    /// The encoded `SignedTicket`.
    pub ticket: Bytes,
    /// The group's relay, if it was ever registered.
    pub relays: Vec<pb::ServiceInfo>,
    /// Hubs that are alive.
    pub hubs: Vec<pb::ServiceInfo>,
}

/// Command: makes a device a lasting member; for a member it changes at most the name.
#[derive(Debug, Clone, PartialEq)]
pub struct AddMember {
    /// The group.
    pub group: GroupId,
    /// The device.
    pub device: DeviceId,
    /// The member's name, for display. Without one the known name stays, or the device id's first digits.
    pub name: Option<DisplayName>,
    /// The caller's address; `None` for this process.
    pub from: Option<IpAddr>,
}

/// Whether a device was a member before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddedMember {
    /// The device was a member, or owns the group.
    Existing,
    /// The device is a member from now on.
    New,
}

impl Decide for AddMember {
    type Outcome = AddedMember;
    type Refusal = JoinError;

    fn decide(&self, tables: &Tables, now: CommandTime, changes: &mut Vec<Change>) -> Result<AddedMember, JoinError> {
        let Self { device, ref name, from, .. } = *self;
        let group = tables.live(self.group)?;
        if group.owner == device {
            if group.owner_left {
                Tables::replace(Group { owner_left: false, ..Group::clone(group) }, changes);
            }
            return Ok(AddedMember::Existing);
        }
        group.check_member(device)?;
        let mut set = |device, member| changes.push(Change(Record::Member(group.id, device, member)));
        let name = name.as_ref().map(ToString::to_string);
        if let Some(known) = tables.membership.member(group.id, device) {
            if let Some(name) = name.filter(|name| *name != known.name) {
                set(device, Some(StoredMember { name, ..known.clone() }));
            }
            return Ok(AddedMember::Existing);
        }
        let room = tables.membership.room_for(group.id, group.private, limits::origin(from));
        if let Some(leaves) = room.map_err(JoinError::from)? {
            set(leaves, None);
        }
        let name = name.unwrap_or_else(|| fallback_name(device));
        let joined_from = from.map(|ip| ip.to_string()).unwrap_or_default();
        set(device, Some(StoredMember { name, joined_unix_ms: now.unix_ms, joined_from }));
        Ok(AddedMember::New)
    }
}

impl From<NoRoom> for JoinError {
    fn from(no_room: NoRoom) -> Self {
        Self::Full(match no_room {
            NoRoom::Share => "your address has 1000 members in this group; let some of them leave first",
            NoRoom::Group => "the group has too many members; let others leave first",
        })
    }
}

/// Command: ends a lasting membership.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RemoveMember {
    /// The group.
    pub group: GroupId,
    /// The device.
    pub device: DeviceId,
}

impl Decide for RemoveMember {
    type Outcome = ();
    type Refusal = LookupError;

    fn decide(&self, tables: &Tables, _now: CommandTime, changes: &mut Vec<Change>) -> Result<(), LookupError> {
        let group = tables.live(self.group)?;
        if group.owner == self.device && !self.device.is_none() && !group.owner_left {
            Tables::replace(Group { owner_left: true, ..Group::clone(group) }, changes);
        }
        if tables.membership.member(group.id, self.device).is_some() {
            changes.push(Change(Record::Member(group.id, self.device, None)));
        }
        Ok(())
    }
}

/// Lists lasting members and those `present`, in order of name. If an answer cannot hold all, the first members of each
/// address come before the many of one.
pub(crate) fn list(
    tables: &Tables,
    group: &Arc<Group>,
    present: Vec<(DeviceId, Presence, Option<Origin>)>,
) -> Vec<pb::Member> {
    let mut members: HashMap<DeviceId, pb::Member> = HashMap::new();
    let mut ranks: HashMap<DeviceId, usize> = HashMap::new();
    let mut of_each: HashMap<Option<Origin>, usize> = HashMap::new();
    let mut next_rank = |origin| {
        let rank = of_each.entry(origin).or_insert(0);
        *rank += 1;
        *rank - 1
    };
    if !group.owner.is_none() && !group.owner_left {
        members.insert(group.owner, member(group.owner, &group.owner_name, group.created_unix_ms));
    }
    for (device, stored) in tables.membership.members(group.id) {
        ranks.insert(device, next_rank(origin_of(stored)));
        members.insert(device, member(device, &stored.name, stored.joined_unix_ms));
    }
    for (device, presence, origin) in present {
        let rank = next_rank(origin);
        ranks.entry(device).or_insert(rank);
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
    members
}

fn member(device: DeviceId, name: &str, joined_unix_ms: i64) -> pb::Member {
    pb::Member { device_id: device.into(), name: name.to_owned(), present: false, lane: String::new(), joined_unix_ms }
}

/// Makes a name for a device that gave none.
pub(crate) fn fallback_name(device: DeviceId) -> String {
    device.to_string().chars().take(8).collect()
}
