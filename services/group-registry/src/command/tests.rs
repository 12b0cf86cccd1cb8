#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, HashMap},
    mem::discriminant,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use ed25519_dalek::SigningKey;
use gaung_proto::{
    DeviceId, DisplayName, GroupId, GroupRetention, LogId, RelayId, Scope, Seq,
    pb::registry as pb,
    policy::{Policy, PolicyChange, Role, SignedPolicy},
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use super::*;
use crate::{
    QUARANTINE, address_picker::Endpoint, create::CreateSpec, group::RequestId, limits::GroupLimits,
    records::ServiceRecord, reports::LogReport,
};

const SEEDS: u64 = 40;
const COMMANDS: usize = 500;

/// Draws commands that meet: there are few groups, devices, relays, addresses and codes.
struct Proposer {
    rng: SmallRng,
    now: CommandTime,
    /// The last policy that was proposed for each group, accepted or not.
    policies: HashMap<GroupId, Policy>,
}

impl Proposer {
    fn new(seed: u64) -> Self {
        let now = CommandTime { mono: Duration::ZERO, unix_ms: 1_800_000_000_000 };
        Self { rng: SmallRng::seed_from_u64(seed), now, policies: HashMap::new() }
    }

    fn propose(&mut self) -> (Command, CommandTime) {
        let longest =
            if self.rng.random_ratio(1, 50) { 2 * 86_400_000_000_000 } else { QUARANTINE.as_nanos() as u64 / 8 };
        let passed = Duration::from_nanos(self.rng.random_range(0..longest));
        self.now.mono += passed;
        // The clock of the day may be set, forwards or back.
        self.now.unix_ms += passed.as_millis() as i64 - self.rng.random_range(0..1000);
        (self.command(), self.now)
    }

    fn command(&mut self) -> Command {
        let (group, device, relay, code) = (self.group(), self.device(), self.relay(), self.code());
        match self.rng.random_range(0..28) {
            0..8 => self.create().into(),
            8 => LapseAddresses { relay }.into(),
            9 | 10 => RegainAddress { group, endpoint: self.endpoint() }.into(),
            11 => DeleteGroup { group, device }.into(),
            12 => {
                let (log, signed) = (LogId(self.rng.random()), self.bytes());
                ResetGroup { group, device, log, signed, is_lost: self.rng.random() }.into()
            }
            13 => SetRetention { group, device, keep: self.keep() }.into(),
            14 | 15 => AddMember { group, device, name: self.name(), from: self.address() }.into(),
            16 => RemoveMember { group, device }.into(),
            17 | 18 => {
                let (is_present, uses) = (self.rng.random(), self.rng.random_range(0..3));
                let expires_unix_ms = self.now.unix_ms + self.rng.random_range(0..86_400_000);
                CreateInvite { code, group, inviter: device, is_present, uses, expires_unix_ms }.into()
            }
            19 => RevokeInvite { code, device }.into(),
            20 | 21 => RedeemInvite { code, device, name: self.name(), from: self.address() }.into(),
            22 => {
                let evicts = self.rng.random_bool(0.2).then(|| self.relay());
                RegisterService { id: relay, record: self.service(relay), evicts }.into()
            }
            23 => match self.rng.random_range(0..3) {
                0 => ForgetService { id: relay }.into(),
                _ => RememberSecret { service: relay, hash: self.bytes() }.into(),
            },
            24 => {
                let reports = (0..self.rng.random_range(0..4)).map(|_| self.report()).collect();
                ReportLogs { relay, durable: self.rng.random(), reports }.into()
            }
            25 | 26 => self.set_policy(group, device).into(),
            _ => ForgetOutdated.into(),
        }
    }

    fn set_policy(&mut self, group: GroupId, device: DeviceId) -> SetPolicy {
        let change = match self.rng.random_range(0..6) {
            0 => PolicyChange::SetRole(device, Role::Admin),
            1 => PolicyChange::SetRole(device, Role::Moderator),
            2 => PolicyChange::Kick(device),
            3 => PolicyChange::Ban(device),
            4 => PolicyChange::Unban(device),
            _ => PolicyChange::Mute(device, self.now.unix_ms + 60_000),
        };
        let before = self.policies.remove(&group).filter(|_| self.rng.random_bool(0.8));
        let policy = before.unwrap_or_else(|| Policy::unset(group)).with(change);
        self.policies.insert(group, policy.clone());
        let signer = self.rng.random_range(1..4);
        SetPolicy { policy: SignedPolicy::sign(&key(signer), policy) }
    }

    fn create(&mut self) -> CreateGroup {
        let drawn = self.endpoint();
        let own = self.rng.random_bool(0.2);
        let spec = CreateSpec {
            request: RequestId([self.rng.random_range(1..40); 16]),
            name: format!("g{}", self.rng.random_range(0..8)).parse().unwrap(),
            scope: if self.rng.random() { Scope::Site } else { Scope::Organization },
            format: if self.rng.random() { pb::Format::Proto } else { pb::Format::Text },
            private: self.rng.random_bool(0.3),
            address: own.then_some(drawn.ip),
            port: self.rng.random_bool(0.2).then_some(drawn.port),
            owner: self.device(),
            owner_name: self.name().map(|name| name.to_string()).unwrap_or_default(),
            reserved: self.rng.random_bool(0.05),
            keep: self.keep(),
            made_from: self.address(),
        };
        let (group, log, relay) = (self.group(), LogId(self.rng.random()), self.relay());
        let limits = GroupLimits { per_address: self.rng.random_range(0..8), per_device: self.rng.random_range(0..8) };
        CreateGroup { spec, group, log, relay, endpoint: drawn, limits }
    }

    fn service(&mut self, relay: RelayId) -> ServiceRecord {
        let info = pb::ServiceInfo {
            kind: self.rng.random_range(1..3),
            service_id: relay.into(),
            advertise: "host".to_owned(),
            grpc_port: self.rng.random_range(1..65536),
            durable: self.rng.random(),
            ..Default::default()
        };
        ServiceRecord { info, from: self.address() }
    }

    fn report(&mut self) -> LogReport {
        let (group, proof) = (self.group(), self.bytes());
        let (log, head) = (LogId(self.rng.random_range(0..3)), Seq(self.rng.random_range(0..9)));
        LogReport { group, log, head, proof, lost: self.rng.random_bool(0.1), insists: self.rng.random() }
    }

    fn group(&mut self) -> GroupId {
        GroupId([self.rng.random_range(1..12); 16])
    }

    fn device(&mut self) -> DeviceId {
        match self.rng.random_range(0..4) {
            0 => DeviceId::NONE,
            n => DeviceId::of_public_key(key(n).verifying_key().as_bytes()),
        }
    }

    fn relay(&mut self) -> RelayId {
        RelayId([self.rng.random_range(1..4); 16])
    }

    fn code(&mut self) -> [u8; 32] {
        [self.rng.random_range(1..6); 32]
    }

    fn endpoint(&mut self) -> Endpoint {
        let ip = Ipv4Addr::new(239, 255, 10, self.rng.random_range(0..8));
        Endpoint { ip, port: self.rng.random_range(20000..20010) }
    }

    fn keep(&mut self) -> GroupRetention {
        let mut limit = || self.rng.random_bool(0.5).then(|| self.rng.random_range(1..u64::MAX));
        GroupRetention { max_age_ms: limit(), max_bytes: limit(), max_messages: limit() }
    }

    fn name(&mut self) -> Option<DisplayName> {
        self.rng.random_bool(0.5).then(|| format!("Ann {}", self.rng.random_range(0..3)).parse().unwrap())
    }

    fn address(&mut self) -> Option<IpAddr> {
        let last = self.rng.random_range(0..4);
        match last {
            0 => None,
            1 => Some("fd00::7".parse().unwrap()),
            _ => Some(Ipv4Addr::new(10, 0, 0, last).into()),
        }
    }

    fn bytes(&mut self) -> Bytes {
        Bytes::from(vec![7; self.rng.random_range(0..3)])
    }
}

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

#[test]
fn decoded_commands_are_the_same_and_give_equal_tables() {
    let first = rand::random::<u32>().into();
    let mut accepted = HashMap::new();
    for seed in first..first + SEEDS {
        let mut proposer = Proposer::new(seed);
        let (mut tables, mut follower) = (Tables::new(), Tables::new());
        let mut store = BTreeMap::new();
        for _ in 0..COMMANDS {
            let (command, now) = proposer.propose();
            let decoded = Command::decode(command.encode(now));
            assert_eq!(decoded, Ok((command.clone(), now)), "seed {seed}");
            let changes = command.apply(&mut tables, now);
            let (command, now) = decoded.unwrap();
            assert_eq!(command.apply(&mut follower, now), changes, "seed {seed}");
            if !changes.is_empty() {
                *accepted.entry(discriminant(&command)).or_insert(0) += 1;
            }
            for (key, value) in changes {
                match value {
                    Some(value) => store.insert(key, value),
                    None => store.remove(&key),
                };
            }
        }
        assert_eq!(follower, tables, "seed {seed}");
        let (_, repairs) = Tables::load(store.into_iter().collect(), proposer.now).unwrap();
        let outdated = Command::from(ForgetOutdated).apply(&mut tables, proposer.now);
        assert_eq!(repairs, outdated, "seed {seed}: no command leaves anything half done");
    }
    assert_eq!(accepted.len(), 17, "every kind of command changed something: {:?}", accepted.values());
}

#[test]
fn damaged_commands_are_refused_or_harmless() {
    let mut proposer = Proposer::new(1);
    let mut tables = Tables::new();
    for _ in 0..2000 {
        let (command, now) = proposer.propose();
        let mut bytes = command.encode(now).to_vec();
        let index = proposer.rng.random_range(0..bytes.len());
        match proposer.rng.random() {
            true => bytes.truncate(index),
            false => bytes[index] ^= 1 << proposer.rng.random_range(0..8),
        }
        if let Ok((command, now)) = Command::decode(bytes.into()) {
            let _changes = command.apply(&mut tables, now);
        }
    }
    assert_eq!(Command::decode(Bytes::new()), Err(DecodeError), "a command without a kind");
}
