//! One registry with clocks handed in, and one relay.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use ed25519_dalek::SigningKey;
use gaung_proto::{
    ClientId, DeviceId, GroupId, GroupRetention, LogId, RelayId, Scope, Seq,
    pb::registry as pb,
    signing::{Method, sign_call},
};
use group_registry::{
    address::Pool,
    address_picker::{Endpoint, Pools},
    challenge::SignedCall,
    clock::Now,
    create::{CreateError, CreateSpec, RegainError},
    group::{Group, RequestId},
    invites::InviteError,
    lookup::GroupBy,
    members::{JoinError, JoinRequest},
    owner::OwnerError,
    registry::Registry,
    reports::LogReport,
    services::RegisterError,
    store::{MemoryStore, RecordStore},
};

pub(crate) const RELAY: RelayId = RelayId([7; 16]);
pub(crate) const DAY_MS: u64 = 24 * 3600 * 1000;

pub(crate) struct World {
    pub(crate) registry: Registry,
    pub(crate) store: Arc<dyn RecordStore>,
    pub(crate) now: Now,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::on(Arc::new(MemoryStore::new()))
    }

    pub(crate) fn on(store: Arc<dyn RecordStore>) -> Self {
        let now = Now { mono: Instant::now() + Duration::from_secs(1000), unix_ms: 1_800_000_000_000 };
        let world = Self { registry: open(&store, now), store, now };
        world.register(RELAY, true);
        world
    }

    pub(crate) fn restart(&mut self) {
        self.registry = open(&self.store, self.now);
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = Now { mono: self.now.mono + time, unix_ms: self.now.unix_ms + time.as_millis() as i64 };
    }

    pub(crate) fn register(&self, relay: RelayId, durable: bool) {
        self.register_from(relay, pb::ServiceKind::Relay, durable, None).unwrap();
    }

    pub(crate) fn register_from(
        &self,
        service: RelayId,
        kind: pb::ServiceKind,
        durable: bool,
        from: Option<IpAddr>,
    ) -> Result<(), RegisterError> {
        self.registry.register_service(self.now, service, service_info(service, kind, durable), from)
    }

    pub(crate) fn create(&self, spec: &CreateSpec) -> Result<Group, CreateError> {
        if let Some(group) = self.registry.precheck(self.now, spec)? {
            return Ok(group);
        }
        loop {
            let lent = match spec.address {
                Some(ip) => self.registry.pick_port(ip)?,
                None => self.registry.pick(spec.scope, self.now)?,
            };
            let made = self.registry.create(self.now, spec, Endpoint { port: spec.port.unwrap_or(lent.port), ..lent });
            self.registry.release(lent);
            if made != Err(CreateError::EndpointTaken) {
                return made;
            }
        }
    }

    /// What the service does whenever a relay registers: an address for each lapsed group, as far as there are any.
    pub(crate) fn regain(&self) -> Vec<Result<Group, RegainError>> {
        self.registry.lapsed_and_back(self.now).iter().map(|group| self.regain_one(group)).collect()
    }

    fn regain_one(&self, group: &Group) -> Result<Group, RegainError> {
        if let Some(group) = self.registry.regain_own(self.now, group.id)? {
            return Ok(group);
        }
        loop {
            let lent = self.registry.pick(group.scope, self.now)?;
            let regained = self.registry.regain(self.now, group.id, lent);
            self.registry.release(lent);
            if regained != Err(RegainError::EndpointTaken) {
                return regained;
            }
        }
    }

    /// A group as the store has it.
    pub(crate) fn stored(&self, group: &Group) -> Group {
        self.registry.group(&GroupBy::Id(group.id)).unwrap()
    }

    pub(crate) fn group_named(&self, name: &str) -> Group {
        self.registry.group(&GroupBy::Name(name.parse().unwrap())).unwrap()
    }

    pub(crate) fn group(&self, name: &str) -> Group {
        self.create(&spec(name)).unwrap()
    }

    pub(crate) fn call(&self, key: &SigningKey, method: Method, group: GroupId, subject: &str) -> SignedCall {
        let nonce = self.registry.challenge(self.now.mono);
        SignedCall {
            method,
            group,
            subject: subject.to_owned(),
            signature: sign_call(key, method, group, &nonce, subject),
            from: None,
        }
    }

    pub(crate) fn delete(&self, group: &Group) -> Result<(), OwnerError> {
        self.registry.delete_group(self.now, &self.call(&ann(), Method::Delete, group.id, ""))
    }

    pub(crate) fn join(
        &self,
        group: &Group,
        key: &SigningKey,
        client: Option<ClientId>,
    ) -> Result<bytes::Bytes, JoinError> {
        let join = JoinRequest {
            by: GroupBy::Id(group.id),
            device: device(key),
            name: None,
            client,
            lane: "tcp".to_owned(),
            from: None,
        };
        self.registry.join(self.now, &join).map(|joined| joined.ticket)
    }

    pub(crate) fn redeem(&self, key: &SigningKey, code: &str) -> Result<Group, InviteError> {
        let name = "Budi".parse().unwrap();
        self.registry.redeem_invite(self.now, &self.call(key, Method::Redeem, GroupId::NONE, code), Some(&name))
    }

    pub(crate) fn report(&self, group: &Group, log: LogId, head: u64) -> Vec<pb::GroupRefusal> {
        self.report_as(group, log, head, |_| ())
    }

    pub(crate) fn report_as(
        &self,
        group: &Group,
        log: LogId,
        head: u64,
        change: impl FnOnce(&mut LogReport),
    ) -> Vec<pb::GroupRefusal> {
        let proof = bytes::Bytes::from(format!("{log} {head}"));
        let mut report = LogReport { group: group.id, log, head: Seq(head), proof, lost: false, insists: false };
        change(&mut report);
        self.registry.report(self.now, group.relay, &[report], None).unwrap()
    }
}

pub(crate) fn open(store: &Arc<dyn RecordStore>, now: Now) -> Registry {
    let site = Pool::new("239.255.10.0/28".parse().unwrap()).unwrap();
    Registry::open(Arc::clone(store), Pools { site, organization: Pool::organization() }, now).unwrap()
}

pub(crate) fn ann() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

pub(crate) fn bob() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

pub(crate) fn device(key: &SigningKey) -> DeviceId {
    DeviceId::of_public_key(key.verifying_key().as_bytes())
}

pub(crate) fn spec(name: &str) -> CreateSpec {
    CreateSpec {
        request: RequestId(rand::random()),
        name: name.parse().unwrap(),
        scope: Scope::Site,
        format: pb::Format::Proto,
        private: false,
        address: None,
        port: None,
        owner: device(&ann()),
        owner_name: "Ann".to_owned(),
        reserved: false,
        keep: GroupRetention::default(),
        made_from: None,
    }
}

/// What a service registers.
pub(crate) fn service_info(service: RelayId, kind: pb::ServiceKind, durable: bool) -> pb::ServiceInfo {
    pb::ServiceInfo { kind: kind.into(), service_id: service.into(), grpc_port: 1, durable, ..Default::default() }
}
