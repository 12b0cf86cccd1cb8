//! Creates groups, lapses their addresses, and gives lapsed groups an address again.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use gaung_proto::{DeviceId, GroupAddr, GroupId, GroupName, GroupRetention, LogId, RelayId, Scope, pb::registry as pb};
use sha2::{Digest as _, Sha256};

use crate::{
    address::{AddressRefusal, Low23},
    address_picker::{Endpoint, Exhausted},
    allocation::AddressConflict,
    clock::CommandTime,
    group::{Group, RequestId},
    limits::{self, GroupLimits},
    lookup::LookupError,
    records::{AddressClaim, Record, RequestClaim},
    store::StoreError,
    tables::{Change, Decide, Tables},
};

/// The request for a new group.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateSpec {
    /// The request's id; a retry has the same.
    pub request: RequestId,
    /// The group's name.
    pub name: GroupName,
    /// How far its datagrams go.
    pub scope: Scope,
    /// What its datagrams carry; never `Unspecified`.
    pub format: pb::Format,
    /// Whether it is joined by invite and carried by TCP alone.
    pub private: bool,
    /// The operator's own address, checked by [`crate::address::check`].
    pub address: Option<Ipv4Addr>,
    /// The port that the operator asked for, not 0.
    pub port: Option<u16>,
    /// The device that makes it; none for `everyone`.
    pub owner: DeviceId,
    /// The owner's name, for display.
    pub owner_name: String,
    /// Whether this is the reserved group `everyone`.
    pub reserved: bool,
    /// How much of its log is kept.
    pub keep: GroupRetention,
    /// The requester's address; `None` for this process.
    pub made_from: Option<IpAddr>,
}

/// Why a group was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// Another group has the name.
    #[error("the name {0} is taken; choose another, or join the group with `gaung group join {0}`")]
    NameTaken(GroupName),
    /// The name is reserved.
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
        /// The requested address.
        ip: Ipv4Addr,
        /// The address of the other group.
        taken: Ipv4Addr,
        /// The other group.
        by: GroupName,
    },
    /// The address that was asked for belonged to a group until recently.
    #[error("{ip} is taken: it belonged to a group until recently, and switches may still forward it; it is free in {} s", .left.as_secs() + 1)]
    AddressResting {
        /// The requested address.
        ip: Ipv4Addr,
        /// The rest of the quarantine.
        left: Duration,
    },
    /// The endpoint that the registry chose is not free; the caller tries another one.
    #[error("the address chosen was taken meanwhile; try again")]
    EndpointTaken,
    /// The request id was used for another group.
    #[error("the request id was used for another group; choose a new one for each group")]
    OtherRequest,
    /// The request made a group that was deleted since.
    #[error("the group that this request made was deleted; make a new one with a new request")]
    Deleted,
    /// The caller's address has made as many groups as one may have.
    #[error(
        "your address has made {made} groups, as many as one address may have here; delete some with `gaung group delete`, or raise the registry's --groups-per-address"
    )]
    TooMany {
        /// How many it has made.
        made: usize,
    },
    /// The device has made as many groups as one may have.
    #[error(
        "your device has made {made} groups, as many as one device may have here; delete some with `gaung group delete`, or raise the registry's --groups-per-device"
    )]
    TooManyOfDevice {
        /// How many it has made.
        made: usize,
    },
    /// There is no relay to bind the group to.
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

/// Command: makes a group, or returns the one that the same request made before.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateGroup {
    /// The request.
    pub spec: CreateSpec,
    /// The new group's id.
    pub group: GroupId,
    /// The new log's id.
    pub log: LogId,
    /// The relay that the group is bound to.
    pub relay: RelayId,
    /// The endpoint that the proposer chose; its port counts only if the operator asked for none.
    pub endpoint: Endpoint,
    /// Most groups that one caller may have made at a time.
    pub limits: GroupLimits,
}

impl Decide for CreateGroup {
    type Outcome = Arc<Group>;
    type Refusal = CreateError;

    fn decide(&self, tables: &Tables, now: CommandTime, changes: &mut Vec<Change>) -> Result<Arc<Group>, CreateError> {
        let spec = &self.spec;
        if let Some(group) = precheck(tables, spec, self.limits)? {
            return Ok(group);
        }
        let is_used = tables.catalogue.group(self.group).is_some() || tables.catalogue.deleted_at(self.group).is_some();
        let port_claimed = spec.port.is_none();
        if is_used || (port_claimed && tables.allocation.has_port(self.endpoint.port)) {
            return Err(CreateError::EndpointTaken);
        }
        let addr = GroupAddr::new(self.endpoint.ip, self.endpoint.port).map_err(|_| CreateError::EndpointTaken)?;
        let claim =
            tables.allocation.claim_address(self.endpoint.ip, self.group, None, now.mono).map_err(|conflict| {
                let is_own = spec.address.is_some();
                if is_own { own_address_error(tables, self.endpoint.ip, conflict) } else { CreateError::EndpointTaken }
            })?;
        let group = Group {
            id: self.group,
            name: spec.name.clone(),
            scope: spec.scope,
            format: spec.format,
            private: spec.private,
            addr,
            generation: claim.generation,
            lapsed: false,
            own_address: spec.address,
            log: self.log,
            relay: self.relay,
            owner: spec.owner,
            owner_name: spec.owner_name.clone(),
            reserved: spec.reserved,
            created_unix_ms: now.unix_ms,
            request: spec.request,
            port_claimed,
            owner_left: false,
            keep: spec.keep,
            policy: None,
            reset: Bytes::new(),
            made_from: spec.made_from,
        };
        let request = RequestClaim { group: self.group, fingerprint: fingerprint(spec) };
        changes.push(Change(Record::Request(spec.request, Some(request))));
        changes.push(Change(Record::Name(spec.name.clone(), Some(self.group))));
        claim_address(&group, claim, changes);
        Ok(Tables::replace(group, changes))
    }
}

/// Checks what needs no address. Returns the group if this request made it before; `None` if one may be made.
pub(crate) fn precheck(
    tables: &Tables,
    spec: &CreateSpec,
    limits: GroupLimits,
) -> Result<Option<Arc<Group>>, CreateError> {
    if let Some(claim) = tables.allocation.request(spec.request) {
        if claim.fingerprint != fingerprint(spec) {
            return Err(CreateError::OtherRequest);
        }
        return tables.catalogue.group(claim.group).cloned().map(Some).ok_or(CreateError::Deleted);
    }
    if spec.name.as_str() == gaung_proto::name::EVERYONE && !spec.reserved {
        return Err(CreateError::NameReserved(spec.name.clone()));
    }
    if let Some(ip) = spec.address {
        crate::address::check(ip)?;
    }
    if tables.allocation.named(spec.name.as_str()).is_some() {
        return Err(CreateError::NameTaken(spec.name.clone()));
    }
    let Some(origin) = limits::origin(spec.made_from) else { return Ok(None) };
    let (mut of_address, mut of_device) = (0, 0);
    for group in tables.catalogue.groups() {
        let made_from = limits::origin(group.made_from);
        of_address += usize::from(made_from == Some(origin));
        of_device += usize::from(made_from.is_some() && group.owner == spec.owner && !spec.owner.is_none());
    }
    if limits.per_address > 0 && of_address >= limits.per_address {
        return Err(CreateError::TooMany { made: of_address });
    }
    if limits.per_device > 0 && of_device >= limits.per_device {
        return Err(CreateError::TooManyOfDevice { made: of_device });
    }
    Ok(None)
}

fn own_address_error(tables: &Tables, ip: Ipv4Addr, conflict: AddressConflict) -> CreateError {
    match conflict {
        AddressConflict::Held { taken, by } => match tables.catalogue.group(by) {
            Some(group) => CreateError::AddressTaken { ip, taken, by: group.name.clone() },
            None => CreateError::EndpointTaken,
        },
        AddressConflict::Resting { left } => CreateError::AddressResting { ip, left },
    }
}

fn claim_address(group: &Group, claim: AddressClaim, changes: &mut Vec<Change>) {
    changes.push(Change(Record::Address(Low23::of(claim.ip), claim)));
    changes.extend(group.claimed_port().map(|port| Change(Record::Port(port, Some(group.id)))));
}

/// Why a lapsed group got no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegainError {
    /// The endpoint is not free; the caller tries another one.
    #[error("the address chosen is not free")]
    EndpointTaken,
    /// The pool has no free address, or there is no free port.
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

/// Command: ends the address leases of a silent relay's groups. The addresses go into quarantine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LapseAddresses {
    /// The relay that was silent for the length of the lease.
    pub relay: RelayId,
}

impl Decide for LapseAddresses {
    /// The groups that lapsed, as they are from now on.
    type Outcome = Vec<Arc<Group>>;
    type Refusal = StoreError;

    fn decide(
        &self,
        tables: &Tables,
        _now: CommandTime,
        changes: &mut Vec<Change>,
    ) -> Result<Vec<Arc<Group>>, StoreError> {
        let leased = tables.catalogue.groups().filter(|group| group.relay == self.relay && !group.lapsed);
        let lapse = |group: &Arc<Group>| {
            tables.release_address(group, changes);
            Tables::replace(Group { lapsed: true, ..Group::clone(group) }, changes)
        };
        Ok(leased.map(lapse).collect())
    }
}

/// Command: gives a lapsed group an address again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RegainAddress {
    /// The group.
    pub group: GroupId,
    /// The endpoint that the proposer chose; its port counts only if the operator asked for none.
    pub endpoint: Endpoint,
}

impl Decide for RegainAddress {
    /// The group with its address; unchanged if it had one.
    type Outcome = Arc<Group>;
    type Refusal = RegainError;

    fn decide(&self, tables: &Tables, now: CommandTime, changes: &mut Vec<Change>) -> Result<Arc<Group>, RegainError> {
        let group = tables.live(self.group)?;
        if !group.lapsed {
            return Ok(Arc::clone(group));
        }
        let taken = RegainError::EndpointTaken;
        let port = if group.port_claimed { self.endpoint.port } else { group.addr.port() };
        if group.port_claimed && tables.allocation.has_port(port) {
            return Err(taken);
        }
        let claim = tables.allocation.claim_address(self.endpoint.ip, group.id, Some(group), now.mono);
        let (Ok(claim), Ok(addr)) = (claim, GroupAddr::new(self.endpoint.ip, port)) else { return Err(taken) };
        let back = Group { addr, generation: claim.generation, lapsed: false, ..Group::clone(group) };
        claim_address(&back, claim, changes);
        Ok(Tables::replace(back, changes))
    }
}

/// Hashes a request, to tell a retry from another request with the same id.
fn fingerprint(spec: &CreateSpec) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(spec.name.as_str());
    hash.update([0, spec.scope.ttl(), u8::from(spec.format == pb::Format::Text), u8::from(spec.private)]);
    hash.update(spec.address.map_or([0; 4], |ip| ip.octets()));
    hash.update(spec.port.unwrap_or(0).to_be_bytes());
    hash.update(spec.owner.as_bytes());
    // Hashed only if limited, so that retries of programs without this field keep their fingerprints.
    if spec.keep.is_limited() {
        hash.update(spec.keep.subject());
    }
    hash.finalize().into()
}
