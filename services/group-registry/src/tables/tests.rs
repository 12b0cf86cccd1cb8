#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, net::Ipv4Addr};

use gaung_proto::{GroupRetention, LogId, RelayId, Scope, Seq, pb::registry as pb};

use super::*;
use crate::{
    QUARANTINE,
    address_picker::Endpoint,
    command::Command,
    create::{CreateError, CreateGroup, CreateSpec, LapseAddresses, RegainAddress},
    group::RequestId,
    invites::{CreateInvite, InviteError, RedeemInvite},
    limits::GroupLimits,
    members::{AddMember, RemoveMember},
    owner::{DeleteGroup, OwnerError, ResetGroup},
    reports::{LogReport, ReportLogs},
};

const OWNER: DeviceId = DeviceId([1; 16]);
const GUEST: DeviceId = DeviceId([2; 16]);
const RELAY: RelayId = RelayId([7; 16]);

/// Tables, the store as its transactions leave it, and the tables of a registry that applies the encoded commands.
struct Replica {
    tables: Tables,
    follower: Tables,
    store: BTreeMap<Vec<u8>, Bytes>,
}

impl Replica {
    fn new() -> Self {
        Self { tables: Tables::new(), follower: Tables::new(), store: BTreeMap::new() }
    }

    fn apply<C>(&mut self, at_secs: u64, command: &C) -> Result<C::Outcome, C::Refusal>
    where
        C: Decide + Into<Command> + Clone,
    {
        let mut changes = Vec::new();
        let stamp = stamp(at_secs);
        let encoded = command.clone().into().encode(stamp);
        let outcome = command.decide(&self.tables, stamp, &mut changes)?;
        let stored: Vec<_> = changes.iter().map(Change::to_key_change).collect();
        self.tables.absorb_all(changes, stamp.mono);
        let (followed, stamp) = Command::decode(encoded).unwrap();
        assert_eq!(followed.apply(&mut self.follower, stamp), stored);
        for (key, value) in stored {
            match value {
                Some(value) => self.store.insert(key, value),
                None => self.store.remove(&key),
            };
        }
        Ok(outcome)
    }
}

fn stamp(at_secs: u64) -> CommandTime {
    CommandTime { mono: Duration::from_secs(at_secs), unix_ms: i64::try_from(at_secs).unwrap() * 1000 }
}

fn group(n: u8) -> GroupId {
    GroupId([n; 16])
}

fn create(n: u8, name: &str, last: u8) -> CreateGroup {
    let spec = CreateSpec {
        request: RequestId([n; 16]),
        name: name.parse().unwrap(),
        scope: Scope::Site,
        format: pb::Format::Proto,
        private: false,
        address: None,
        port: None,
        owner: OWNER,
        owner_name: "Ann".to_owned(),
        reserved: false,
        keep: GroupRetention::default(),
        made_from: None,
    };
    let endpoint = Endpoint { ip: Ipv4Addr::new(239, 255, 10, last), port: 20000 + u16::from(last) };
    CreateGroup { spec, group: group(n), log: LogId(n.into()), relay: RELAY, endpoint, limits: GroupLimits::default() }
}

/// A bit of everything, some of it refused.
fn some_commands(replica: &mut Replica) {
    replica.apply(1, &create(1, "a", 1)).unwrap();
    replica.apply(2, &create(2, "b", 2)).unwrap();
    assert_eq!(replica.apply(3, &create(1, "a", 9)).unwrap().addr.port(), 20001, "a repeat of the first");
    assert!(matches!(replica.apply(4, &create(3, "a", 3)), Err(CreateError::NameTaken(_))));
    assert_eq!(replica.apply(4, &create(3, "c", 2)), Err(CreateError::EndpointTaken));
    assert_eq!(replica.apply(4, &create(2, "b", 3)).unwrap().id, group(2));
    let from = Some("10.0.0.9".parse().unwrap());
    replica.apply(5, &AddMember { group: group(1), device: GUEST, name: None, from }).unwrap();
    replica.apply(6, &RemoveMember { group: group(2), device: OWNER }).unwrap();
    let (code, uses, expires_unix_ms) = ([5; 32], 1, 1_000_000);
    let invite = CreateInvite { code, group: group(2), inviter: OWNER, is_present: false, uses, expires_unix_ms };
    replica.apply(7, &invite).unwrap();
    replica.apply(8, &RedeemInvite { code, device: GUEST, name: None, from }).unwrap();
    let third = RedeemInvite { code, device: DeviceId([3; 16]), name: None, from };
    assert_eq!(replica.apply(8, &third).unwrap_err(), InviteError::UsedUp);
    let (proof, lost, insists) = (Bytes::new(), false, false);
    let report = LogReport { group: group(2), log: LogId(2), head: Seq(9), proof, lost, insists };
    assert_eq!(replica.apply(9, &ReportLogs { relay: RELAY, durable: true, reports: vec![report] }), Ok(Vec::new()));
    let signed = Bytes::from_static(b"signed");
    replica.apply(10, &ResetGroup { group: group(2), device: OWNER, log: LogId(77), signed, is_lost: false }).unwrap();
    let stranger = DeleteGroup { group: group(1), device: GUEST };
    assert!(matches!(replica.apply(11, &stranger), Err(OwnerError::NotOwner(_))));
    replica.apply(11, &DeleteGroup { group: group(1), device: OWNER }).unwrap();
    assert_eq!(replica.apply(12, &create(1, "a", 4)), Err(CreateError::Deleted));
    assert_eq!(replica.apply(13, &create(4, "a", 1)), Err(CreateError::EndpointTaken), "its address rests");
    assert_eq!(replica.apply(20, &LapseAddresses { relay: RELAY }).unwrap().len(), 1);
    let endpoint = Endpoint { ip: Ipv4Addr::new(239, 255, 10, 6), port: 20006 };
    assert_eq!(replica.apply(30, &RegainAddress { group: group(2), endpoint }).unwrap().generation.0, 2);
    let later = 11 + QUARANTINE.as_secs();
    assert_eq!(replica.apply(later, &create(4, "a", 1)).unwrap().generation.0, 2);
}

#[test]
fn the_same_commands_give_the_same_tables() {
    let mut replica = Replica::new();
    some_commands(&mut replica);
    assert_eq!(replica.follower, replica.tables);
}

#[test]
fn the_store_gives_the_tables_again() {
    let mut replica = Replica::new();
    some_commands(&mut replica);
    let now = stamp(300);
    let stored: Vec<_> = replica.store.into_iter().collect();
    let (loaded, repairs) = Tables::load(stored, now).unwrap();
    assert_eq!(repairs, [], "no command leaves anything half done");
    assert_eq!(contents(&loaded), contents(&replica.tables));
}

/// All but what a restart begins anew: quarantines and revisions.
fn contents(tables: &Tables) -> String {
    let Tables { allocation, membership, catalogue, .. } = tables;
    let addresses: Vec<_> = allocation.addresses().collect();
    let names: Vec<_> = allocation.names().collect();
    let requests: Vec<_> = allocation.requests().collect();
    let ports: Vec<_> = allocation.ports().collect();
    let groups: Vec<_> = catalogue.groups().collect();
    let heads: Vec<_> = catalogue.heads().map(|id| (id, catalogue.head(id))).collect();
    let deleted = catalogue.deleted_at(group(1));
    format!("{addresses:?} {names:?} {requests:?} {ports:?} {groups:?} {heads:?} {deleted:?} {membership:?}")
}
