//! What strangers say of others' services and logs, and how much of the registry one address can take.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use ed25519_dalek::SigningKey;
use gaung_proto::{ClientId, DeviceId, LogId, RelayId, Seq, pb::registry as pb, signing::Method};
use group_registry::{
    challenge::{CallError, SignedCall},
    create::{CreateError, CreateSpec},
    limits::{GroupLimits, Limits},
    lookup::GroupBy,
    members::JoinRequest,
    owner::OwnerError,
    reports::{LogReport, ReportError},
    services::RegisterError,
    store::{MemoryStore, RecordStore},
};

use crate::world::{RELAY, World, ann, bob, device, open, service_info, spec};

const RELAY_KIND: pb::ServiceKind = pb::ServiceKind::Relay;
const HUB_KIND: pb::ServiceKind = pb::ServiceKind::Hub;

fn address(last: u8) -> Option<IpAddr> {
    Some(Ipv4Addr::new(10, 0, 0, last).into())
}

fn id(n: u32) -> RelayId {
    let mut id = [0xee; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    RelayId(id)
}

#[test]
fn a_living_service_is_replaced_from_another_address_only_by_one_that_proves_its_role() {
    let world = World::new();
    world.register_from(RELAY, RELAY_KIND, true, address(1)).unwrap();
    assert_eq!(world.register_from(RELAY, RELAY_KIND, true, address(2)), Err(RegisterError::Elsewhere));
    let info = service_info(RELAY, RELAY_KIND, true);
    world.registry.register_proven_service(world.now, RELAY, info, address(2)).unwrap();
    assert_eq!(world.registry.report(world.now, RELAY, &[], address(2)), Ok(Vec::new()), "it is there now");
    assert_eq!(world.registry.report(world.now, RELAY, &[], address(1)), Err(ReportError::Elsewhere(RELAY)));
}

#[test]
fn reports_count_from_the_relays_own_address_alone_and_may_take_back_what_was_said() {
    let world = World::new();
    world.register_from(RELAY, RELAY_KIND, true, address(1)).unwrap();
    let report = |from, log, head, insists| {
        let (proof, lost) = (bytes::Bytes::from_static(b"mine"), false);
        let report = LogReport { group: world.group_named("room").id, log, head: Seq(head), proof, lost, insists };
        world.registry.report(world.now, RELAY, &[report], from)
    };
    world.register(id(1), true);
    let group = world.group("room");
    assert_eq!(group.relay, id(1), "the one of this machine");
    assert_eq!(report(address(9), group.log, 1_000_000_000, false), Err(ReportError::Elsewhere(RELAY)));

    let own = |log, head, insists| world.report_as(&group, log, head, |report| report.insists = insists);
    assert!(own(group.log, 1_000_000_000, false).is_empty());
    let refused = own(group.log, 7, false);
    assert_eq!((refused[0].expected_head_seq, refused[0].reset.clone()), (1_000_000_000, None));
    assert!(!refused[0].proof.is_empty(), "the relay sees by it whose word that was");
    assert!(own(group.log, 7, true).is_empty(), "and takes it back");
    assert!(own(group.log, 8, false).is_empty());

    assert_eq!(own(LogId(5), 8, false).len(), 1);
    assert!(own(LogId(5), 8, true).is_empty());
    assert_eq!(world.stored(&group).log, LogId(5), "the relay that holds the log knows which it is");
}

#[test]
fn a_relay_sees_the_owners_signature_and_does_not_talk_it_away() {
    let world = World::new();
    let group = world.group("room");
    assert!(world.report(&group, group.log, 10).is_empty());
    let reset = world.registry.reset_group(world.now, &world.call(&ann(), Method::Reset, group.id, "")).unwrap();
    let refused = world.report_as(&reset, group.log, 10, |report| report.insists = true);
    let signed = refused[0].reset.clone().expect("the call that began the new log");
    let signer = gaung_proto::signing::verify_call(&signed, Method::Reset, group.id, "").unwrap();
    assert_eq!((signer, refused[0].expected_log_id), (device(&ann()), reset.log.0));
    assert_eq!(reset.to_pb().log_id, reset.log.0);
    assert_eq!(world.stored(&group).log, reset.log);
}

#[test]
fn a_loss_that_nobody_repeats_is_forgotten() {
    let mut world = World::new();
    let everyone = CreateSpec { reserved: true, owner: DeviceId::NONE, ..spec("everyone") };
    let group = world.create(&everyone).unwrap();
    let reset = |world: &World| world.registry.reset_group(world.now, &world.call(&ann(), Method::Reset, group.id, ""));
    world.report_as(&group, group.log, 0, |report| report.lost = true);
    world.pass(Duration::from_secs(15));
    assert!(matches!(reset(&world), Err(OwnerError::Reserved(_))));
    world.report_as(&group, group.log, 0, |report| report.lost = true);
    assert!(world.report(&group, group.log, 3).is_empty(), "it was found");
    assert!(matches!(reset(&world), Err(OwnerError::Reserved(_))));
}

#[test]
fn a_living_service_is_not_written_over_and_a_silent_one_is() {
    let mut world = World::new();
    world.register_from(RELAY, RELAY_KIND, true, address(1)).unwrap();
    assert_eq!(world.register_from(RELAY, RELAY_KIND, false, address(9)), Err(RegisterError::Elsewhere));
    world.restart();
    assert_eq!(world.register_from(RELAY, RELAY_KIND, false, address(9)), Err(RegisterError::Elsewhere));
    world.pass(Duration::from_secs(14));
    world.register_from(RELAY, RELAY_KIND, true, address(1)).unwrap();
    world.pass(Duration::from_secs(14));
    assert_eq!(world.register_from(RELAY, RELAY_KIND, false, address(9)), Err(RegisterError::Elsewhere));
    world.pass(Duration::from_secs(1));
    world.register_from(RELAY, RELAY_KIND, false, address(9)).unwrap();
}

#[test]
fn groups_go_only_to_relays_that_have_shown_that_they_are_there() {
    let world = World::new();
    world.register_from(id(1), RELAY_KIND, true, address(9)).unwrap();
    for n in 0..4 {
        assert_eq!(world.group(&format!("g{n}")).relay, RELAY, "the stranger has fewer groups, and nobody saw it");
    }
    let store = Arc::new(MemoryStore::new()) as Arc<dyn RecordStore>;
    let empty = World { registry: open(&store, world.now), store, now: world.now };
    empty.register_from(id(1), RELAY_KIND, true, address(9)).unwrap();
    assert_eq!(empty.create(&spec("room")).unwrap_err(), CreateError::NoRelay);
}

#[test]
fn one_address_takes_its_share_of_the_services_and_others_still_come() {
    let world = World::new();
    let mut n = 0;
    for last in 10..26 {
        for _ in 0..64 {
            // The last of them finds the table full.
            n += 1;
            let _ = world.register_from(id(n), HUB_KIND, false, address(last));
        }
        assert_eq!(world.register_from(id(9999), HUB_KIND, false, address(last)), Err(RegisterError::OwnShare));
    }
    assert!(world.registry.services(world.now).len() <= 1024);
    world.register_from(id(77_777), RELAY_KIND, true, address(200)).unwrap();
    world.register_from(id(77_778), HUB_KIND, false, address(201)).unwrap();
    assert!(world.registry.services(world.now).len() <= 1024);
    let group = world.group("room");
    let join = JoinRequest {
        by: GroupBy::Id(group.id),
        device: device(&ann()),
        name: None,
        client: Some(ClientId([1; 16])),
        lane: String::new(),
        from: address(3),
    };
    assert!(world.registry.join(world.now, &join).unwrap().hubs.len() <= 16, "an answer that a join can bear");
}

#[test]
fn one_address_makes_its_share_of_groups() {
    let world = World::new();
    let World { registry, store, now } = world;
    let registry = registry.with_limits(Limits::of_groups(GroupLimits { per_address: 2, ..GroupLimits::default() }));
    let world = World { registry, store, now };
    let made_by = |last, name: &str| world.create(&CreateSpec { made_from: address(last), ..spec(name) });
    let first = made_by(9, "a").unwrap();
    made_by(9, "b").unwrap();
    assert_eq!(made_by(9, "c").unwrap_err(), CreateError::TooMany { made: 2 });
    made_by(8, "c").unwrap();
    world.delete(&first).unwrap();
    made_by(9, "d").unwrap();
}

#[test]
fn a_limit_of_0_is_none() {
    let World { registry, store, now } = World::new();
    let registry = registry.with_limits(Limits::of_groups(GroupLimits { per_address: 0, per_device: 0 }));
    let world = World { registry, store, now };
    for name in ["a", "b", "c"] {
        world.create(&CreateSpec { made_from: address(9), ..spec(name) }).unwrap();
    }
}

#[test]
fn one_device_makes_its_share_of_groups_from_whatever_addresses() {
    let World { registry, store, now } = World::new();
    let registry = registry.with_limits(Limits::of_groups(GroupLimits { per_device: 2, ..GroupLimits::default() }));
    let world = World { registry, store, now };
    let made_by = |owner, last, name: &str| {
        world.create(&CreateSpec { owner: device(&owner), made_from: address(last), ..spec(name) })
    };
    let first = made_by(ann(), 8, "a").unwrap();
    made_by(ann(), 9, "b").unwrap();
    assert_eq!(made_by(ann(), 7, "c").unwrap_err(), CreateError::TooManyOfDevice { made: 2 });
    made_by(bob(), 9, "c").expect("another device at the same address");
    world.create(&CreateSpec { owner: device(&ann()), made_from: None, ..spec("d") }).expect("on this machine");
    world.delete(&first).unwrap();
    made_by(ann(), 7, "e").expect("one was deleted");
}

#[test]
fn calls_that_fail_take_no_room_and_one_address_is_bounded() {
    let world = World::new();
    let group = world.group("room");
    let eve = SigningKey::from_bytes(&[9; 32]);
    let call = |from| SignedCall { from, ..world.call(&eve, Method::Delete, group.id, "") };
    let mut refused = 0;
    for _ in 0..1000 {
        match world.registry.delete_group(world.now, &call(address(9))) {
            Err(OwnerError::NotOwner(_)) => {}
            Err(OwnerError::Call(CallError::TooSoon(_))) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 0);
    world.delete(&group).unwrap();
}
