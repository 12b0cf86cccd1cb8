//! Making a group out of single-key changes.
//!
//! The order is: claim the request id, the name, the address and the port, each with the new group's random id; then
//! create the group's record. That last key is the one moment at which the group begins to exist. Claims whose group
//! has no record belong to a create that is under way or was cut short, and nobody can tell which; so whoever needs
//! what is claimed first creates the record as *aborted*. Either that fails because the group exists after all, or the
//! slow creator's own creation of the record fails, and it starts again. Thus a stop at any moment leaves claims only,
//! which can be taken back at any time, and no clock is needed to be right.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use bytes::Bytes;
use gaung_log::kv::{Entry, Version};
use gaung_proto::{
    DeviceId, Generation, GroupAddr, GroupId, GroupName, GroupRetention, LogId, RelayId, Scope, pb::registry as pb,
};
use sha2::{Digest as _, Sha256};
use tracing::debug;

use crate::{
    address::{AddressRefusal, Low23},
    book::{Exhausted, Pair},
    limits,
    now::Now,
    records::{self, AddressClaim, Fate, Group, Holder, RequestClaim, RequestId},
    registry::Registry,
    store::{Exists, StoreError},
};

/// How often a create whose claims were taken back starts again.
pub(crate) const RESTARTS: usize = 16;
/// How often one key is tried that others keep changing.
const TRIES: usize = 16;

/// A group that is wished for.
#[derive(Debug, Clone)]
pub struct CreateSpec {
    /// Chosen once for one wish.
    pub request: RequestId,
    /// The group's name.
    pub name: GroupName,
    /// How far it reaches.
    pub scope: Scope,
    /// Never `Unspecified`.
    pub format: pb::Format,
    /// TCP only, by invite.
    pub private: bool,
    /// The operator's own address, checked by [`crate::address::check`].
    pub address: Option<Ipv4Addr>,
    /// The operator's own port, not 0.
    pub port: Option<u16>,
    /// Who makes it; none for `everyone`.
    pub owner: DeviceId,
    /// For display.
    pub owner_name: String,
    /// `everyone`.
    pub reserved: bool,
    /// How much of its log is kept.
    pub keep: GroupRetention,
    /// The address that the request came from; `None`: this process.
    pub made_from: Option<IpAddr>,
}

/// Why a group was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// Another group has the name.
    #[error("the name {0} is taken; choose another, or join the group with `gaung group join {0}`")]
    NameTaken(GroupName),
    /// The name is kept.
    #[error("the name {0} is reserved; choose another")]
    NameReserved(GroupName),
    /// A group cannot have the address that was asked for.
    #[error(transparent)]
    Address(#[from] AddressRefusal),
    /// Another group has the address that was asked for, or one with the same low 23 bits.
    #[error(
        "{ip} is taken: {taken} is in use by the group {by}, and the low 23 bits are all that Ethernet tells apart; choose another, or leave --address out"
    )]
    AddressTaken {
        /// What was asked for.
        ip: Ipv4Addr,
        /// What the other group has.
        taken: Ipv4Addr,
        /// The other group.
        by: GroupName,
    },
    /// The address that was asked for belonged to a group until recently.
    #[error("{ip} is taken: it belonged to a group until recently, and switches may still forward it; it is free in {} s", .left.as_secs() + 1)]
    AddressResting {
        /// What was asked for.
        ip: Ipv4Addr,
        /// Until it is free.
        left: Duration,
    },
    /// The pair that the registry chose is not free after all; come back with another.
    #[error("the address chosen was taken meanwhile; try again")]
    PairTaken,
    /// Another create holds the name or address and is not decided yet.
    #[error("another create of the same name or address is under way; try again in a moment")]
    Busy,
    /// The request id was used for another wish.
    #[error("the request id was used for another group; choose a new one for every wish")]
    OtherRequest,
    /// The request made a group that was deleted since.
    #[error("the group that this request made was deleted; make a new one with a new request")]
    Deleted,
    /// The address made as many as one may have.
    #[error(
        "your address has made {made} groups, as many as one address may have here; delete some with `gaung group delete`, or raise the registry's --groups-per-address"
    )]
    TooMany {
        /// How many.
        made: usize,
    },
    /// There is no relay to bind it to.
    #[error(
        "no relay that answers is registered, so the group would have nobody to order its messages; start multicast-relay with this registry's address and try again"
    )]
    NoRelay,
    /// See [`Exhausted`].
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why one attempt ended.
pub(crate) enum Stop {
    /// Others took the claims back: start again with a new id.
    Fenced,
    Refused(CreateError),
}

/// An address for a group.
pub(crate) struct Wanted<'a> {
    pub(crate) ip: Ipv4Addr,
    /// The operator's, so that errors say what is the matter with it.
    pub(crate) is_own: bool,
    /// The group, if it exists already and its lease has lapsed.
    pub(crate) former: Option<&'a Group>,
}

impl Wanted<'_> {
    /// The one that rests was this group's and nobody's since: what switches still forward is for its own members.
    fn was_last(&self, claim: &AddressClaim) -> bool {
        claim.ip == self.ip && self.former.is_some_and(|g| g.addr.ip() == claim.ip && g.generation == claim.generation)
    }
}

impl<E: Into<CreateError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

impl Registry {
    /// What can be said without choosing an address: the group that this request made before, or a refusal.
    ///
    /// # Errors
    /// [`CreateError`]: reserved or taken name, refused address, reused request, no relay.
    pub fn precheck(&self, now: Now, spec: &CreateSpec) -> Result<Option<Group>, CreateError> {
        if let Some((claim, _)) = self.request_claim(spec)? {
            match self.fate(claim.group)? {
                Some((_, Fate::Live(group))) => return Ok(Some(group)),
                Some((_, Fate::Deleted { .. })) => return Err(CreateError::Deleted),
                Some((_, Fate::Aborted)) | None => {}
            }
        }
        if spec.name.as_str() == gaung_proto::name::EVERYONE && !spec.reserved {
            return Err(CreateError::NameReserved(spec.name.clone()));
        }
        if let Some(ip) = spec.address {
            crate::address::check(ip)?;
        }
        match self.group(&crate::registry::GroupBy::Name(spec.name.clone())) {
            Ok(_) => return Err(CreateError::NameTaken(spec.name.clone())),
            Err(crate::registry::LookupError::NotFound(_)) => {}
            Err(crate::registry::LookupError::Store(e)) => return Err(e.into()),
        }
        self.check_share(spec)?;
        self.relay_for_new_group(now)?;
        Ok(None)
    }

    fn check_share(&self, spec: &CreateSpec) -> Result<(), CreateError> {
        let Some(origin) = limits::origin(spec.made_from) else { return Ok(()) };
        let made = self.view.count(|group| limits::origin(group.made_from) == Some(origin));
        if made < self.limits.groups_per_address { Ok(()) } else { Err(CreateError::TooMany { made }) }
    }

    /// Makes the group at `pair`, or gives the one that the same request made before.
    ///
    /// After [`CreateError::PairTaken`] come back with another pair.
    ///
    /// # Errors
    /// [`CreateError`], each case. After [`CreateError::Store`] the group may exist or not; a repeat tells.
    pub fn create(&self, now: Now, spec: &CreateSpec, pair: Pair) -> Result<Group, CreateError> {
        let _request = self.locks.lock(records::request_key(spec.request));
        let _name = self.locks.lock(records::name_key(&spec.name));
        let _address = self.locks.lock(records::address_key(Low23::of(pair.ip)));
        for _ in 0..RESTARTS {
            if let Some(group) = self.precheck(now, spec)? {
                return Ok(group);
            }
            let id = self.claim_request(spec)?;
            match self.make(now, spec, pair, id) {
                Ok(group) => return Ok(group),
                Err(Stop::Fenced) => {
                    debug!(group = %id, "create was fenced and starts again");
                    self.release_unborn(now, id, spec, pair)?;
                }
                Err(Stop::Refused(CreateError::Store(error))) => return Err(error.into()),
                Err(Stop::Refused(error)) => match self.abort(id)? {
                    Fate::Live(group) => return Ok(group),
                    Fate::Deleted { .. } | Fate::Aborted => {
                        self.release_unborn(now, id, spec, pair)?;
                        return Err(error);
                    }
                },
            }
        }
        Err(CreateError::Busy)
    }

    fn make(&self, now: Now, spec: &CreateSpec, pair: Pair, id: GroupId) -> Result<Group, Stop> {
        let relay = self.relay_for_new_group(now)?;
        self.claim_name(now, spec, id)?;
        let wanted = Wanted { ip: pair.ip, is_own: spec.address.is_some(), former: None };
        let generation = self.claim_address(now, &wanted, id)?;
        let port_claimed = spec.port.is_none();
        if port_claimed {
            self.claim_port(now, pair.port, id, None)?;
        }
        let group = Group {
            id,
            name: spec.name.clone(),
            scope: spec.scope,
            format: spec.format,
            private: spec.private,
            addr: GroupAddr::new(pair.ip, pair.port).expect("address and port were checked"),
            generation,
            lapsed: false,
            own_address: spec.address,
            log: LogId(rand::random()),
            relay,
            owner: spec.owner,
            owner_name: spec.owner_name.clone(),
            reserved: spec.reserved,
            created_unix_ms: now.unix_ms,
            request: spec.request,
            port_claimed,
            owner_left: false,
            keep: spec.keep,
            reset: Bytes::new(),
            made_from: spec.made_from,
        };
        let key = records::group_key(id);
        match self.store.create(&key, &Fate::Live(group.clone()).encode())? {
            Ok(version) => {
                self.note_live(&group, version);
                Ok(group)
            }
            Err(Exists(entry)) => match Fate::decode(&key, &entry.value)? {
                // The same request at another registry was faster, perhaps with another address.
                Fate::Live(other) => {
                    self.release_unused_address(now, Low23::of(pair.ip), id)?;
                    self.release_unused_port(pair.port, id)?;
                    self.note_live(&other, entry.version);
                    Ok(other)
                }
                Fate::Deleted { .. } => Err(CreateError::Deleted.into()),
                Fate::Aborted => Err(Stop::Fenced),
            },
        }
    }

    pub(crate) fn note_live(&self, group: &Group, version: Version) {
        self.book.note_held(group.address());
        self.book.note_port(group.addr.port());
        self.view.apply(group.id, version, Some(group.clone()));
    }

    fn request_claim(&self, spec: &CreateSpec) -> Result<Option<(RequestClaim, Version)>, CreateError> {
        let key = records::request_key(spec.request);
        let Some(entry) = self.store.get(&key)? else { return Ok(None) };
        let claim = RequestClaim::decode(&key, &entry.value)?;
        if claim.fingerprint != fingerprint(spec) {
            return Err(CreateError::OtherRequest);
        }
        Ok(Some((claim, entry.version)))
    }

    /// The id that this request's group has or will have.
    fn claim_request(&self, spec: &CreateSpec) -> Result<GroupId, CreateError> {
        let key = records::request_key(spec.request);
        for _ in 0..TRIES {
            let fresh = RequestClaim { group: new_group_id(), fingerprint: fingerprint(spec) };
            match self.request_claim(spec)? {
                None => {
                    if self.store.create(&key, &fresh.encode())?.is_ok() {
                        return Ok(fresh.group);
                    }
                }
                Some((claim, version)) => match self.fate(claim.group)? {
                    None | Some((_, Fate::Live(_) | Fate::Deleted { .. })) => return Ok(claim.group),
                    Some((_, Fate::Aborted)) => {
                        if self.store.set(&key, version, &fresh.encode())?.is_ok() {
                            return Ok(fresh.group);
                        }
                    }
                },
            }
        }
        Err(CreateError::Busy)
    }

    fn claim_name(&self, now: Now, spec: &CreateSpec, id: GroupId) -> Result<(), Stop> {
        let key = records::name_key(&spec.name);
        let value = Bytes::from(id);
        for _ in 0..TRIES {
            let Err(Exists(entry)) = self.store.create(&key, &value)? else { return Ok(()) };
            let other = records::claimant(&key, &entry.value)?;
            match self.settled(now, other)? {
                Some(Fate::Live(group)) if group.name == spec.name => {
                    return Err(CreateError::NameTaken(group.name).into());
                }
                Some(Fate::Live(_) | Fate::Deleted { .. } | Fate::Aborted) => {
                    let _changed_is_tried_again = self.store.delete(&key, entry.version)?;
                }
                None => return Err(CreateError::Busy.into()),
            }
        }
        Err(CreateError::Busy.into())
    }

    /// The generation under which `id` has the address from now on, once its record says so.
    pub(crate) fn claim_address(&self, now: Now, wanted: &Wanted<'_>, id: GroupId) -> Result<Generation, Stop> {
        let &Wanted { ip, is_own, former } = wanted;
        let address = Low23::of(ip);
        let key = records::address_key(address);
        let or_pair = |error: CreateError| if is_own { error } else { CreateError::PairTaken };
        let above = former.map_or(0, |group| group.generation.0);
        let next = |known: Generation| Generation(known.0.max(above).saturating_add(1));
        let first = AddressClaim { ip, generation: next(Generation(0)), holder: Holder::Group(id) };
        for _ in 0..TRIES {
            let entry = match self.claimed_before(&key, former)? {
                Some(entry) => entry,
                None => match self.store.create(&key, &first.encode())? {
                    Ok(_) => return Ok(first.generation),
                    Err(Exists(entry)) => entry,
                },
            };
            let claim = AddressClaim::decode(&key, &entry.value)?;
            self.note_address(address, claim.holder, now);
            let generation = match claim.holder {
                Holder::Group(holder) if holder == id && claim.ip == ip => match former {
                    None => return Ok(claim.generation),
                    Some(group) if claim.generation > group.generation => claim.generation,
                    Some(_) => next(claim.generation),
                },
                Holder::Group(holder) if holder == id => {
                    self.release_unused_address(now, address, id)?;
                    continue;
                }
                Holder::Group(holder) => match self.settled(now, holder)? {
                    Some(Fate::Live(group)) if group.holds(claim.ip) => {
                        let taken = CreateError::AddressTaken { ip, taken: claim.ip, by: group.name };
                        return Err(or_pair(taken).into());
                    }
                    Some(Fate::Deleted { group, .. }) if group.addr.ip() == claim.ip => {
                        self.rest_address(now, &group)?;
                        continue;
                    }
                    Some(Fate::Live(_) | Fate::Deleted { .. } | Fate::Aborted) => {
                        self.release_unused_address(now, address, holder)?;
                        continue;
                    }
                    None => return Err(or_pair(CreateError::Busy).into()),
                },
                Holder::Resting | Holder::Nobody => {
                    let resting = claim.holder == Holder::Resting && !wanted.was_last(&claim);
                    if resting && let Some(left) = self.book.quarantine_left(address, now.mono) {
                        return Err(or_pair(CreateError::AddressResting { ip, left }).into());
                    }
                    next(claim.generation)
                }
            };
            if self.store.set(&key, entry.version, &AddressClaim { generation, ..first }.encode())?.is_ok() {
                return Ok(generation);
            }
        }
        Err(or_pair(CreateError::Busy).into())
    }

    pub(crate) fn claim_port(&self, now: Now, port: u16, id: GroupId, former: Option<&Group>) -> Result<(), Stop> {
        let key = records::port_key(port);
        let value = Bytes::from(id);
        for _ in 0..TRIES {
            let entry = match self.claimed_before(&key, former)? {
                Some(entry) => entry,
                None => match self.store.create(&key, &value)? {
                    Ok(_) => return Ok(()),
                    Err(Exists(entry)) => entry,
                },
            };
            self.book.note_port(port);
            let holder = records::claimant(&key, &entry.value)?;
            if former.is_some() && holder == id {
                if self.store.set(&key, entry.version, &value)?.is_ok() {
                    return Ok(());
                }
                continue;
            }
            match self.settled(now, holder)? {
                Some(Fate::Live(group)) if group.holds_port(port) => return Err(CreateError::PairTaken.into()),
                Some(Fate::Live(_) | Fate::Deleted { .. } | Fate::Aborted) => self.release_unused_port(port, holder)?,
                None => return Err(CreateError::PairTaken.into()),
            }
        }
        Err(CreateError::PairTaken.into())
    }

    /// What stands at a key that a group which exists already wants. Its own claim of an earlier attempt has to be
    /// written again (see `claims.rs`), and a creation would take that for done.
    fn claimed_before(&self, key: &[u8], former: Option<&Group>) -> Result<Option<Entry>, StoreError> {
        if former.is_some() { self.store.get(key) } else { Ok(None) }
    }

    fn relay_for_new_group(&self, now: Now) -> Result<RelayId, CreateError> {
        self.services.least_loaded_relay(now, &self.view.load()).ok_or(CreateError::NoRelay)
    }
}

fn new_group_id() -> GroupId {
    GroupId(uuid::Uuid::now_v7().into_bytes())
}

/// Tells a repeat from another wish.
fn fingerprint(spec: &CreateSpec) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(spec.name.as_str());
    hash.update([0, spec.scope.ttl(), u8::from(spec.format == pb::Format::Text), u8::from(spec.private)]);
    hash.update(spec.address.map_or([0; 4], |ip| ip.octets()));
    hash.update(spec.port.unwrap_or(0).to_be_bytes());
    hash.update(spec.owner.as_bytes());
    // Only where it is said, so that requests of programs that do not know of it keep their fingerprints.
    if spec.keep.is_limited() {
        hash.update(spec.keep.subject());
    }
    hash.finalize().into()
}
