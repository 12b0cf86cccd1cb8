//! One registry after another over one disk, and what its callers ask for.

use std::{
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use ed25519_dalek::SigningKey;
use gaung_proto::{
    DeviceId, GroupId, GroupRetention, LogId, RelayId, Scope, Seq,
    pb::registry as pb,
    policy::{PolicyChange, Role, SignedPolicy},
    signing::{Method, sign_call},
};
use group_registry::{
    QUARANTINE,
    address::Pool,
    address_picker::{Endpoint, Pools},
    challenge::SignedCall,
    clock::{CommandTime, Now},
    create::{CreateError, CreateSpec},
    group::{Group, RequestId},
    lease::ADDRESS_LEASE,
    lookup::GroupBy,
    members::JoinRequest,
    registry::Registry,
    reports::LogReport,
    store::{MemoryStore, RecordStore},
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use crate::{
    crashing_store::{CrashingStore, Sabotage},
    judge::{Judge, Pending, Watcher, see},
};

const STEPS: usize = 150;
const RELAYS: [RelayId; 2] = [RelayId([1; 16]), RelayId([2; 16])];
const DEVICES: u8 = 4;
/// Few, so that groups meet.
const NAMES: u32 = 10;
const ADDRESSES: u8 = 8;
const PORTS: u16 = 12;

/// How often things happened in one run.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) made: u64,
    pub(crate) deleted: u64,
    pub(crate) regained: u64,
    pub(crate) refused: u64,
    pub(crate) crashes: u64,
    pub(crate) watched: u64,
}

pub(crate) struct World {
    rng: SmallRng,
    disk: Arc<MemoryStore>,
    store: Arc<CrashingStore>,
    sabotage: Sabotage,
    registry: Registry,
    began: Instant,
    at: Duration,
    judge: Judge,
    watcher: Watcher,
    /// Every request to make a group, and the group that was acknowledged.
    requests: Vec<(CreateSpec, Option<GroupId>)>,
    invites: Vec<(GroupId, String)>,
    counts: Counts,
}

/// Runs one seed; what did not hold.
pub(crate) fn run(seed: u64, sabotage: Sabotage) -> Result<Counts, String> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let disk = Arc::new(MemoryStore::new());
    let (began, at) = (Instant::now(), Duration::ZERO);
    let (store, registry) = open(&disk, sabotage, now(began, at), &mut rng);
    let (judge, watcher, counts) = (Judge::default(), Watcher::default(), Counts::default());
    let (requests, invites) = (Vec::new(), Vec::new());
    let mut world =
        World { rng, disk, store, sabotage, registry, began, at, judge, watcher, requests, invites, counts };
    for step in 0..STEPS {
        world.step().map_err(|what| format!("step {step}: {what}"))?;
    }
    Ok(Counts { watched: world.watcher.changes, ..world.counts })
}

fn now(began: Instant, at: Duration) -> Now {
    Now { mono: began + at, unix_ms: 1_800_000_000_000 + at.as_millis() as i64 }
}

/// A process; one that dies while it starts is started again.
fn open(disk: &Arc<MemoryStore>, sabotage: Sabotage, now: Now, rng: &mut SmallRng) -> (Arc<CrashingStore>, Registry) {
    let site = Pool::new("239.255.10.0/28".parse().unwrap()).unwrap();
    let pools = Pools { site, organization: Pool::organization() };
    loop {
        let began = CommandTime { mono: Duration::ZERO, unix_ms: now.unix_ms };
        let store = CrashingStore::new(Arc::clone(disk), sabotage, rng.random(), began);
        let opened = Registry::open(Arc::clone(&store) as Arc<dyn RecordStore>, pools, now);
        if let Ok(registry) =
            opened.inspect_err(|error| assert!(store.is_dead() || error.to_string().contains("space")))
        {
            return (store, registry);
        }
    }
}

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn device(n: u8) -> DeviceId {
    DeviceId::of_public_key(key(n).verifying_key().as_bytes())
}

impl World {
    fn step(&mut self) -> Result<(), String> {
        let (pending, outcome) = self.command();
        if let Some(divergence) = self.store.divergence() {
            return Err(divergence);
        }
        let is_refused = outcome.is_err();
        self.counts.refused += u64::from(is_refused);
        if !self.store.is_dead() {
            self.look(pending, is_refused)?;
            if !self.rng.random_ratio(1, 40) {
                return Ok(());
            }
        }
        self.counts.crashes += 1;
        let now = self.now();
        // Whoever was not answered does not know what happened. Whoever was answered has been looked at above.
        let pending = if self.store.is_dead() { pending } else { Pending::Nothing };
        (self.store, self.registry) = open(&self.disk, self.sabotage, now, &mut self.rng);
        self.watcher.begin_anew();
        self.look(pending, false)
    }

    fn look(&mut self, pending: Pending, is_refused: bool) -> Result<(), String> {
        self.judge.step(see(&self.registry, self.now()), pending, is_refused, self.at)?;
        self.judge.check_lookup(&self.registry)?;
        for (spec, made) in &self.requests {
            let Some(id) = made.filter(|id| self.judge.seen.contains_key(id)) else { continue };
            let again = self.registry.create(self.now(), spec, Endpoint { ip: Ipv4Addr::UNSPECIFIED, port: 1 });
            if again.as_ref().ok().map(|group| group.id) != Some(id) {
                return Err(format!("a repeat of the request that made {id} gives {again:?}"));
            }
        }
        if self.rng.random_bool(0.5) { self.watcher.read(&self.registry, &self.judge.seen) } else { Ok(()) }
    }

    /// Runs one command. `Err`: it was refused, so that nothing may have changed.
    fn command(&mut self) -> (Pending, Result<(), ()>) {
        match self.rng.random_range(0..22) {
            0 if self.rng.random_bool(0.5) => self.pass(1..=10),
            0 => self.pass(1..=QUARANTINE.as_secs()),
            1 if self.rng.random_bool(0.5) => self.pass(ADDRESS_LEASE.as_secs()..=ADDRESS_LEASE.as_secs()),
            1 | 2 => (Pending::Expire, self.expire()),
            3..7 => (Pending::Nothing, self.register()),
            7..12 => self.create(),
            12..16 => self.regain(),
            _ => self.change(),
        }
    }

    /// Several commands, of which some may have been carried out before one was refused.
    fn expire(&self) -> Result<(), ()> {
        self.registry.expire(self.now()).or(Ok(()))
    }

    fn pass(&mut self, seconds: std::ops::RangeInclusive<u64>) -> (Pending, Result<(), ()>) {
        self.at += Duration::from_secs(self.rng.random_range(seconds));
        (Pending::Nothing, Ok(()))
    }

    fn register(&mut self) -> Result<(), ()> {
        let relay = RELAYS[self.rng.random_range(0..RELAYS.len())];
        let kind = pb::ServiceKind::Relay.into();
        let info = pb::ServiceInfo { kind, service_id: relay.into(), durable: true, ..Default::default() };
        self.registry.register_service(self.now(), relay, info, None).map_err(drop)
    }

    /// An endpoint as a proposer would choose it who knows little: any of a few.
    fn endpoint(&mut self) -> Endpoint {
        let ip = Ipv4Addr::new(239, 255, 10, self.rng.random_range(0..ADDRESSES));
        Endpoint { ip, port: 20000 + self.rng.random_range(0..PORTS) }
    }

    fn create(&mut self) -> (Pending, Result<(), ()>) {
        let index = if !self.requests.is_empty() && self.rng.random_bool(0.3) {
            self.rng.random_range(0..self.requests.len())
        } else {
            let spec = self.spec();
            self.requests.push((spec, None));
            self.requests.len() - 1
        };
        let spec = self.requests[index].0.clone();
        let drawn = self.endpoint();
        let endpoint = Endpoint { ip: spec.address.unwrap_or(drawn.ip), ..drawn };
        let made = self.registry.create(self.now(), &spec, endpoint);
        if let Ok(group) = &made {
            self.requests[index].1 = Some(group.id);
            self.counts.made += 1;
        }
        // One that was refused for another reason than the store has not reached it.
        let is_undecided = matches!(made, Ok(_) | Err(CreateError::Store(_)));
        (if is_undecided { Pending::Create(spec.request) } else { Pending::Nothing }, made.map(drop).map_err(drop))
    }

    fn spec(&mut self) -> CreateSpec {
        let own = self.rng.random_bool(0.2).then_some(Ipv4Addr::new(239, 255, 10, 3));
        CreateSpec {
            request: RequestId(self.rng.random()),
            name: format!("g{}", self.rng.random_range(0..NAMES)).parse().unwrap(),
            scope: Scope::Site,
            format: pb::Format::Proto,
            private: self.rng.random_bool(0.2),
            address: own,
            port: None,
            owner: device(1),
            owner_name: "Ann".to_owned(),
            reserved: false,
            keep: GroupRetention::default(),
            made_from: None,
        }
    }

    fn regain(&mut self) -> (Pending, Result<(), ()>) {
        let lapsed = self.registry.lapsed_and_back(self.now());
        let Some(group) = lapsed.first() else { return (Pending::Nothing, Ok(())) };
        let endpoint = self.endpoint();
        let regained = self.registry.regain(self.now(), group.id, endpoint);
        self.counts.regained += u64::from(regained.is_ok());
        (Pending::Change(group.id), regained.map(drop).map_err(drop))
    }

    /// Something of one group.
    fn change(&mut self) -> (Pending, Result<(), ()>) {
        let count = self.judge.seen.len();
        if count == 0 {
            return (Pending::Nothing, Ok(()));
        }
        let index = self.rng.random_range(0..count);
        let group = self.judge.seen.values().nth(index).expect("the index is in range").0.clone();
        let (now, who) = (self.now(), self.rng.random_range(1..=DEVICES));
        let outcome = match self.rng.random_range(0..10) {
            0 | 1 => {
                let call = self.call(1, Method::Delete, group.id, "");
                let deleted = self.registry.delete_group(now, &call).map_err(drop);
                self.counts.deleted += u64::from(deleted.is_ok());
                deleted
            }
            2 => {
                let call = self.call(who, Method::Reset, group.id, "");
                self.registry.reset_group(now, &call).map(drop).map_err(drop)
            }
            3 => self.join(&group, who),
            4 => self.registry.leave(now, group.id, device(who), None).map_err(drop),
            5 => {
                let invite = self.registry.create_invite(now, group.id, device(1), 2, 3_600_000);
                invite.map(|(code, _)| self.invites.push((group.id, code))).map_err(drop)
            }
            6 => return self.redeem(who),
            7 | 8 => self.set_policy(&group, who),
            _ => self.report(&group),
        };
        (Pending::Change(group.id), outcome)
    }

    /// The next version of the group's policy, by its owner or somebody else; or one that is outdated.
    fn set_policy(&mut self, group: &Group, who: u8) -> Result<(), ()> {
        let device = device(self.rng.random_range(1..=DEVICES));
        let change = match self.rng.random_range(0..5) {
            0 => PolicyChange::SetRole(device, Role::Admin),
            1 => PolicyChange::SetRole(device, Role::Moderator),
            2 => PolicyChange::Kick(device),
            3 => PolicyChange::Ban(device),
            _ => PolicyChange::Unban(device),
        };
        let mut next = group.current_policy().with(change);
        next.version += u64::from(self.rng.random_bool(0.1));
        let signer = if self.rng.random_bool(0.5) { key(1) } else { key(who) };
        let signed = SignedPolicy::sign(&signer, next);
        self.registry.set_policy(self.now(), signed.encoded(), None).map(drop).map_err(drop)
    }

    fn join(&self, group: &Group, who: u8) -> Result<(), ()> {
        let (by, lane) = (GroupBy::Id(group.id), String::new());
        let join = JoinRequest { by, device: device(who), name: None, client: None, lane, from: None };
        self.registry.join(self.now(), &join).map(drop).map_err(drop)
    }

    fn redeem(&mut self, who: u8) -> (Pending, Result<(), ()>) {
        if self.invites.is_empty() {
            return (Pending::Nothing, Ok(()));
        }
        let (group, code) = self.invites[self.rng.random_range(0..self.invites.len())].clone();
        let call = self.call(who, Method::Redeem, GroupId::NONE, &code);
        (Pending::Change(group), self.registry.redeem_invite(self.now(), &call, None).map(drop).map_err(drop))
    }

    fn report(&mut self, group: &Group) -> Result<(), ()> {
        let (head, proof) = (Seq(self.rng.random_range(0..100)), bytes::Bytes::from_static(b"proof"));
        let log = if self.rng.random_bool(0.9) { group.log } else { LogId(self.rng.random()) };
        let insists = self.rng.random_bool(0.3);
        let report = LogReport { group: group.id, log, head, proof, lost: false, insists };
        self.registry.report(self.now(), group.relay, &[report], None).map(drop).map_err(drop)
    }

    fn call(&self, who: u8, method: Method, group: GroupId, subject: &str) -> SignedCall {
        let nonce = self.registry.challenge(self.now().mono);
        let signature = sign_call(&key(who), method, group, &nonce, subject);
        SignedCall { method, group, subject: subject.to_owned(), signature, from: None }
    }

    fn now(&self) -> Now {
        now(self.began, self.at)
    }
}
