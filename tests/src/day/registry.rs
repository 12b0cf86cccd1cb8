//! The registry: the product's rules over a store that outlives its process.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use gaung_proto::{
    ClientId, DeviceId, GroupId, GroupRetention, RelayId, Scope,
    pb::registry as pb,
    signing::{Method, sign_call},
};
use group_registry::{
    address::Pool,
    address_picker::Pools,
    challenge::SignedCall,
    clock::Now,
    create::{CreateError, CreateSpec},
    group::{Group, RequestId},
    lease::ADDRESS_LEASE,
    lookup::GroupBy,
    members::{JoinError, JoinRequest},
    registry::Registry,
    store::MemoryStore,
};
use rand::{Rng as _, rngs::SmallRng};

use super::machine::Machine;

/// Leases and presences are looked at so often.
const EXPIRE_EVERY: Duration = Duration::from_secs(5);
/// Public groups that are made and deleted beside the one of the members.
const MOST_OTHERS: usize = 12;

/// The registry's machine.
#[derive(Debug)]
pub(super) struct RegistryNode {
    pub(super) machine: Machine,
    store: Arc<MemoryStore>,
    process: Option<Registry>,
    /// Groups of the owner that are deleted some time, by name.
    others: Vec<Group>,
    /// Group ids that were ever given.
    ids: HashSet<GroupId>,
    made: u64,
    /// When the relay registered last.
    relay_heard: Duration,
    /// Addresses that groups got again after theirs had lapsed.
    pub(super) regained: u64,
}

impl RegistryNode {
    pub(super) fn new(machine: Machine) -> Self {
        Self {
            machine,
            store: Arc::new(MemoryStore::new()),
            process: None,
            others: Vec::new(),
            ids: HashSet::new(),
            made: 0,
            relay_heard: Duration::ZERO,
            regained: 0,
        }
    }

    /// A process over the store as the last one left it.
    pub(super) fn start(&mut self, at: Duration) {
        let pools = Pools { site: Pool::site(), organization: Pool::organization() };
        let opened = Registry::open(Arc::<MemoryStore>::clone(&self.store), pools, self.machine.now(at));
        self.process = Some(opened.expect("the store is good"));
    }

    pub(super) fn kill(&mut self) {
        self.process = None;
    }

    /// The registry as callers reach it, and what its clocks read.
    pub(super) fn reach(&self, at: Duration) -> Option<(&Registry, Now)> {
        let process = self.process.as_ref().filter(|_| self.machine.works())?;
        Some((process, self.machine.now(at)))
    }

    /// Lets leases run out. Gives what must not be: an address that lapsed too early.
    pub(super) fn tick(&mut self, at: Duration) -> Option<String> {
        if at.as_secs().is_multiple_of(EXPIRE_EVERY.as_secs())
            && let Some((registry, now)) = self.reach(at)
        {
            registry.expire(now).expect("the store is good");
            let (silence, lapsed) = (at.saturating_sub(self.relay_heard), registry.lapsed_count());
            if lapsed > 0 && silence < ADDRESS_LEASE {
                return Some(format!("{lapsed} groups lost their addresses {silence:?} after their relay was heard"));
            }
        }
        None
    }

    /// The private group of all `devices`, the first of which owns it.
    pub(super) fn private_group(&mut self, at: Duration, devices: &[SigningKey]) -> Group {
        let owner = device_of(&devices[0]);
        let spec = CreateSpec { private: true, keep: GroupRetention::default(), ..self.spec("class", owner) };
        let group = self.create(at, &spec).expect("a group with a relay");
        let (registry, now) = self.reach(at).expect("it was just there");
        let (code, _) = registry.create_invite(now, group.id, owner, 0, 0).expect("the owner invites");
        for key in &devices[1..] {
            let nonce = registry.challenge(now.mono);
            let signature = sign_call(key, Method::Redeem, GroupId::NONE, &nonce, &code);
            let (method, group, subject) = (Method::Redeem, GroupId::NONE, code.clone());
            let call = SignedCall { method, group, subject, signature, from: None };
            registry.redeem_invite(now, &call, None).expect("the invite is good");
        }
        group
    }

    /// A member's process is present, or renews that, and gets a ticket.
    pub(super) fn join(
        &self,
        at: Duration,
        group: GroupId,
        device: DeviceId,
        client: Option<ClientId>,
    ) -> Option<Result<Bytes, JoinError>> {
        let (registry, now) = self.reach(at)?;
        let join =
            JoinRequest { by: GroupBy::Id(group), device, name: None, client, lane: "tcp".to_owned(), from: None };
        Some(registry.join(now, &join).map(|joined| joined.ticket))
    }

    /// A relay or hub says that it is there. Gives the key that tickets are signed with, and the registry's clock.
    pub(super) fn register(
        &mut self,
        at: Duration,
        service: RelayId,
        kind: pb::ServiceKind,
    ) -> Option<([u8; 32], i64)> {
        let (registry, now) = self.reach(at)?;
        let info = pb::ServiceInfo {
            kind: kind.into(),
            service_id: service.into(),
            grpc_port: 1,
            durable: true,
            ..Default::default()
        };
        registry.register_service(now, service, info, None).expect("a service of this machine");
        let lapsed = registry.lapsed_and_back(now);
        lapsed.iter().for_each(|group| regain(registry, now, group));
        let answer = (registry.public_key(), now.unix_ms);
        self.regained += lapsed.len() as u64;
        if kind == pb::ServiceKind::Relay {
            self.relay_heard = at;
        }
        Some(answer)
    }

    /// Makes or deletes some public group. Gives what must not be: a name for two, an id or address twice.
    pub(super) fn churn(&mut self, at: Duration, owner: &SigningKey, rng: &mut SmallRng) -> Option<String> {
        if self.others.len() < MOST_OTHERS && (self.others.is_empty() || rng.random_bool(0.6)) {
            self.made += 1;
            let spec = self.spec(&format!("other-{}", self.made), device_of(owner));
            match self.create(at, &spec) {
                Ok(group) if !self.ids.insert(group.id) => return Some(format!("the id {} was given twice", group.id)),
                Ok(group) => self.others.push(group),
                // Its relay is away.
                Err(CreateError::NoRelay) => {}
                Err(error) => return Some(format!("a group could not be made: {error}")),
            }
        } else {
            let gone = self.others.swap_remove(rng.random_range(0..self.others.len()));
            let (registry, now) = self.reach(at)?;
            let nonce = registry.challenge(now.mono);
            let signature = sign_call(owner, Method::Delete, gone.id, &nonce, "");
            let (method, group, subject) = (Method::Delete, gone.id, String::new());
            let call = SignedCall { method, group, subject, signature, from: None };
            if let Err(error) = registry.delete_group(now, &call) {
                return Some(format!("its owner could not delete a group: {error}"));
            }
        }
        self.twice(at)
    }

    /// Whether two groups have one address.
    fn twice(&self, at: Duration) -> Option<String> {
        let (registry, _) = self.reach(at)?;
        let (groups, _) = registry.groups(None, 1000);
        let mut addresses = HashMap::new();
        for group in &groups {
            let low23 = u32::from(group.addr.ip()) & 0x7f_ffff;
            if let Some(other) = addresses.insert(low23, group.name.to_string()).filter(|_| !group.lapsed) {
                return Some(format!("{} and {other} have the address {}", group.name, group.addr));
            }
        }
        None
    }

    fn spec(&self, name: &str, owner: DeviceId) -> CreateSpec {
        CreateSpec {
            request: RequestId(rand::random()),
            name: name.parse().expect("a good name"),
            scope: Scope::Site,
            format: pb::Format::Proto,
            private: false,
            address: None,
            port: None,
            owner,
            owner_name: "Ann".to_owned(),
            reserved: false,
            keep: GroupRetention::default(),
            made_from: None,
        }
    }

    fn create(&self, at: Duration, spec: &CreateSpec) -> Result<Group, CreateError> {
        let (registry, now) = self.reach(at).ok_or(CreateError::NoRelay)?;
        registry.precheck(now, spec)?;
        loop {
            let endpoint = registry.pick(spec.scope, now)?;
            let made = registry.create(now, spec, endpoint);
            registry.release(endpoint);
            if made != Err(CreateError::EndpointTaken) {
                return made;
            }
        }
    }
}

/// The device of a key.
pub(super) fn device_of(key: &SigningKey) -> DeviceId {
    DeviceId::of_public_key(key.verifying_key().as_bytes())
}

fn regain(registry: &Registry, now: Now, lapsed: &Group) {
    for _ in 0..16 {
        let endpoint = registry.pick(lapsed.scope, now).expect("the pool is large");
        let regained = registry.regain(now, lapsed.id, endpoint);
        registry.release(endpoint);
        if regained.is_ok() {
            return;
        }
    }
}
