//! The registry's rules, without gRPC: what each call answers, what a restart keeps, and that time is monotonic.
#![allow(clippy::unwrap_used)]

mod claims;
mod failing_store;
mod leases;
mod old_folder;
mod policies;
mod rates;
mod viewers;
mod world;

use std::{collections::HashSet, net::Ipv4Addr, sync::Arc, time::Duration};

use ed25519_dalek::SigningKey;
use gaung_proto::{
    ClientId, DeviceId, GroupId, GroupRetention, LogId, RelayId, Scope,
    signing::{Method, sign_call, verify_ticket},
};
use group_registry::{
    QUARANTINE,
    address_picker::Exhausted,
    challenge::{CallError, LIFETIME, SignedCall},
    create::{CreateError, CreateSpec},
    disk_store::DiskStore,
    group::Group,
    invites::InviteError,
    lookup::{GroupBy, LookupError},
    members::JoinError,
    owner::OwnerError,
    presence::PRESENCE_LEASE,
    reports::ReportError,
    services::SERVICE_LEASE,
    store::RecordStore,
};

use world::{DAY_MS, RELAY, World, ann, bob, device, open, spec};

#[test]
fn a_pool_of_16_gives_16_groups_and_then_says_what_to_do() {
    let mut world = World::new();
    let groups: Vec<_> = (0..16).map(|n| world.group(&format!("g{n}"))).collect();
    assert_eq!(groups.iter().map(|g| g.addr.ip()).collect::<HashSet<_>>().len(), 16);
    let error = world.create(&spec("one-more")).unwrap_err();
    assert!(matches!(error, CreateError::Exhausted(Exhausted::Addresses { held: 16, .. })), "{error:?}");
    assert!(error.to_string().contains("--pool"), "{error}");

    world.delete(&groups[3]).unwrap();
    assert!(world.create(&spec("too-early")).is_err(), "the address rests");
    world.pass(QUARANTINE);
    world.register(RELAY, true);
    let next = world.group("one-more");
    assert_eq!(next.addr.ip(), groups[3].addr.ip());
    assert_eq!(next.generation.0, groups[3].generation.0 + 1);
    let far = world.create(&CreateSpec { scope: Scope::Organization, ..spec("far") }).unwrap();
    assert!((192..196).contains(&far.addr.ip().octets()[1]), "the other scope has a pool of its own");
}

#[test]
fn a_retried_request_gives_the_same_group_and_another_with_its_id_is_refused() {
    let world = World::new();
    let first = spec("room");
    let group = world.create(&first).unwrap();
    assert_eq!(world.create(&first).unwrap(), group);
    let other = CreateSpec { name: "other".parse().unwrap(), ..first.clone() };
    assert_eq!(world.create(&other), Err(CreateError::OtherRequest));
    assert_eq!(world.create(&spec("room")), Err(CreateError::NameTaken("room".parse().unwrap())));
    assert_eq!(world.create(&spec("everyone")), Err(CreateError::NameReserved("everyone".parse().unwrap())));
    world.delete(&group).unwrap();
    assert_eq!(world.create(&first), Err(CreateError::Deleted));
    let again = world.group("room");
    assert_ne!(again.id, group.id, "the name is free at once, the id never again");
}

#[test]
fn an_operators_own_address_is_checked_against_everything() {
    let mut world = World::new();
    let at = |name: &str, ip: [u8; 4]| CreateSpec { address: Some(Ipv4Addr::from(ip)), port: Some(5004), ..spec(name) };
    for ip in [[192, 168, 1, 1], [224, 0, 0, 9], [224, 0, 1, 9], [232, 1, 1, 1], [239, 255, 76, 67], [239, 128, 0, 9]] {
        assert!(matches!(world.create(&at("x", ip)), Err(CreateError::Address(_))), "{ip:?}");
    }
    let handout = world.create(&at("handout", [224, 1, 1, 1])).unwrap();
    assert_eq!(handout.addr.to_string(), "224.1.1.1:5004");
    let alias = world.create(&at("alias", [239, 129, 1, 1])).unwrap_err();
    assert!(matches!(alias, CreateError::AddressTaken { .. }) && alias.to_string().contains("handout"), "{alias}");
    world.create(&at("same-port", [239, 1, 1, 2])).unwrap();
    world.delete(&handout).unwrap();
    let resting = world.create(&at("again", [224, 1, 1, 1])).unwrap_err();
    assert!(matches!(resting, CreateError::AddressResting { .. }), "{resting}");
    world.pass(QUARANTINE - Duration::from_secs(1));
    world.restart();
    world.register(RELAY, true);
    assert!(world.create(&at("again", [224, 1, 1, 1])).is_err(), "a quarantine starts in full after a restart");
    world.pass(QUARANTINE);
    world.register(RELAY, true);
    assert_eq!(world.create(&at("again", [224, 1, 1, 1])).unwrap().generation.0, 2);
}

#[test]
fn without_a_relay_there_is_no_group() {
    let mut world = World::new();
    world.pass(SERVICE_LEASE);
    assert_eq!(world.create(&spec("room")), Err(CreateError::NoRelay));
    world.restart();
    world.group("room");
    world.register(RelayId([8; 16]), true);
    assert_eq!(world.group("other").relay, RelayId([8; 16]), "the relay with fewer groups");
}

#[test]
fn a_restart_keeps_groups_members_invites_heads_and_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let store = || Arc::new(DiskStore::open(dir.path(), "registry.redb").unwrap());
    let world = World::on(store());
    let group = world.create(&CreateSpec { private: true, ..spec("secret") }).unwrap();
    let (code, _) = world.registry.create_invite(world.now, group.id, device(&ann()), 2, DAY_MS).unwrap();
    world.redeem(&bob(), &code).unwrap();
    assert!(world.report(&group, group.log, 40).is_empty());
    let key = world.registry.public_key();
    let now = world.now;
    drop(world);

    let store: Arc<dyn RecordStore> = store();
    let world = World { registry: open(&store, now), store, now };
    assert_eq!(world.registry.public_key(), key);
    assert_eq!(world.registry.group(&GroupBy::Name("secret".parse().unwrap())).unwrap(), group);
    assert_eq!(world.registry.group_count(), 1);
    assert_eq!(world.registry.members(now, group.id).unwrap().len(), 2);
    world.redeem(&bob(), &code).unwrap();
    let ticket = world.join(&group, &bob(), Some(ClientId([1; 16]))).unwrap();
    verify_ticket(&key, &ticket, group.id, device(&bob()), now.unix_ms).unwrap();
    assert_eq!(world.report(&group, group.log, 39).len(), 1, "a lower head is still refused");
    assert!(world.registry.services(now)[0].alive, "leases start in full");
}

#[test]
fn only_the_owner_deletes_and_resets() {
    let world = World::new();
    let group = world.group("room");
    let stranger = world.call(&bob(), Method::Delete, group.id, "");
    assert!(matches!(world.registry.delete_group(world.now, &stranger), Err(OwnerError::NotOwner(_))));
    let reset = world.call(&ann(), Method::Reset, group.id, "");
    let fresh = world.registry.reset_group(world.now, &reset).unwrap();
    assert_ne!(fresh.log, group.log);
    assert_eq!(world.registry.reset_group(world.now, &reset).unwrap(), fresh, "a repeat gets the first outcome");
    world.delete(&group).unwrap();
    assert!(matches!(world.delete(&group), Err(OwnerError::Lookup(LookupError::NotFound(_)))));
}

#[test]
fn the_owner_says_how_much_is_kept_and_it_stays_said() {
    let mut world = World::new();
    let month = GroupRetention { max_age_ms: Some(30 * 86_400_000), ..GroupRetention::default() };
    let group = world.create(&CreateSpec { keep: month, ..spec("room") }).unwrap();
    assert_eq!(group.keep, month);

    let little = GroupRetention { max_bytes: Some(1 << 20), max_messages: Some(100), ..month };
    let set = |key: &SigningKey, signed: GroupRetention, keep: GroupRetention| {
        let call = world.call(key, Method::Keep, group.id, &signed.subject());
        let call = SignedCall { subject: keep.subject(), ..call };
        world.registry.set_retention(world.now, &call, keep)
    };
    assert!(matches!(set(&bob(), little, little), Err(OwnerError::NotOwner(_))));
    let forged = set(&ann(), month, little);
    assert!(matches!(forged, Err(OwnerError::Call(CallError::Signature(_)))), "signed for other limits");
    assert_eq!(set(&ann(), little, little).unwrap().keep, little);
    world.restart();
    let stored = world.registry.group(&GroupBy::Id(group.id)).unwrap();
    assert_eq!(stored, Group { keep: little, ..group });

    let everyone = CreateSpec { reserved: true, owner: DeviceId::NONE, ..spec("everyone") };
    let everyone = world.create(&everyone).unwrap();
    let call = world.call(&ann(), Method::Keep, everyone.id, &little.subject());
    assert!(matches!(world.registry.set_retention(world.now, &call, little), Err(OwnerError::Reserved(_))));
}

#[test]
fn signatures_and_nonces_are_checked() {
    let mut world = World::new();
    let (group, other) = (world.group("room"), world.group("other"));
    let good = world.call(&ann(), Method::Delete, group.id, "");
    let moved = SignedCall { group: other.id, ..good.clone() };
    assert!(matches!(world.registry.delete_group(world.now, &moved), Err(OwnerError::Call(CallError::Signature(_)))));
    let mut made_up = world.call(&ann(), Method::Delete, group.id, "");
    made_up.signature = sign_call(&ann(), Method::Delete, group.id, &bytes::Bytes::from_static(&[9; 32]), "");
    assert_eq!(world.registry.delete_group(world.now, &made_up), Err(OwnerError::Call(CallError::NonceExpired)));
    world.registry.delete_group(world.now, &good).unwrap();
    world.registry.delete_group(world.now, &good).unwrap();
    let mut reused = good.clone();
    reused.group = other.id;
    reused.signature = sign_call(&ann(), Method::Delete, other.id, &good.signature.nonce, "");
    assert_eq!(world.registry.delete_group(world.now, &reused), Err(OwnerError::Call(CallError::NonceUsed)));
    let late = world.call(&ann(), Method::Delete, other.id, "");
    world.pass(LIFETIME + Duration::from_secs(1));
    assert_eq!(world.registry.delete_group(world.now, &late), Err(OwnerError::Call(CallError::NonceExpired)));
}

#[test]
fn invites_are_counted_expire_and_can_be_revoked() {
    let mut world = World::new();
    let group = world.create(&CreateSpec { private: true, ..spec("secret") }).unwrap();
    assert!(matches!(world.join(&group, &bob(), None), Err(JoinError::Private(_))));
    let invite = |world: &World, uses, ms| {
        world.registry.create_invite(world.now, group.id, device(&ann()), uses, ms).unwrap().0
    };
    let not_member = world.registry.create_invite(world.now, group.id, device(&bob()), 1, DAY_MS);
    assert!(matches!(not_member, Err(InviteError::Join(JoinError::Private(_)))));

    let code = invite(&world, 1, DAY_MS);
    assert_eq!(world.redeem(&bob(), &code.to_lowercase()).unwrap().id, group.id);
    world.redeem(&bob(), &code).unwrap();
    world.join(&group, &bob(), None).unwrap();
    let carol = SigningKey::from_bytes(&[3; 32]);
    assert_eq!(world.redeem(&carol, &code), Err(InviteError::UsedUp));
    assert_eq!(world.redeem(&carol, "AAAABBBBCCCCDDDDEEEEFFFFGG"), Err(InviteError::Unknown));

    let unlimited = invite(&world, 0, DAY_MS);
    for n in 10..20 {
        world.redeem(&SigningKey::from_bytes(&[n; 32]), &unlimited).unwrap();
    }
    let dave = SigningKey::from_bytes(&[4; 32]);
    let by_stranger = world.call(&dave, Method::Revoke, GroupId::NONE, &unlimited);
    assert_eq!(world.registry.revoke_invite(world.now, &by_stranger), Err(InviteError::NotInviter));
    for _ in 0..2 {
        let revoke = world.call(&ann(), Method::Revoke, GroupId::NONE, &unlimited);
        world.registry.revoke_invite(world.now, &revoke).unwrap();
    }
    assert_eq!(world.redeem(&carol, &unlimited), Err(InviteError::Revoked));
    let short = invite(&world, 0, 1000);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.redeem(&carol, &short), Err(InviteError::Expired));
    assert_eq!(world.registry.members(world.now, group.id).unwrap().len(), 12);
}

#[test]
fn members_last_and_presences_run_out() {
    let mut world = World::new();
    let group = world.group("room");
    world.join(&group, &bob(), Some(ClientId([1; 16]))).unwrap();
    let present =
        |world: &World| world.registry.members(world.now, group.id).unwrap().iter().filter(|m| m.present).count();
    assert_eq!((present(&world), world.registry.members(world.now, group.id).unwrap().len()), (1, 2));
    world.pass(PRESENCE_LEASE - Duration::from_secs(1));
    world.join(&group, &bob(), Some(ClientId([1; 16]))).unwrap();
    world.pass(PRESENCE_LEASE - Duration::from_secs(1));
    assert_eq!(present(&world), 1, "renewed");
    world.pass(Duration::from_secs(1));
    assert_eq!(present(&world), 0);
    world.join(&group, &bob(), None).unwrap();
    assert_eq!(world.registry.members(world.now, group.id).unwrap().len(), 2);
    world.registry.leave(world.now, group.id, device(&bob()), None).unwrap();
    world.registry.leave(world.now, group.id, device(&bob()), None).unwrap();
    world.registry.leave(world.now, group.id, device(&ann()), None).unwrap();
    assert!(world.registry.members(world.now, group.id).unwrap().is_empty());
    world.join(&group, &ann(), None).unwrap();
    assert_eq!(world.registry.members(world.now, group.id).unwrap()[0].name, "Ann");
}

#[test]
fn a_relay_with_another_or_a_shorter_log_is_refused_until_a_reset() {
    let mut world = World::new();
    let group = world.group("room");
    assert!(world.report(&group, group.log, 10).is_empty());
    assert_eq!(world.report(&group, group.log, 9)[0].expected_head_seq, 10);
    assert_eq!(world.report(&group, LogId(1), 50)[0].expected_log_id, group.log.0);
    assert!(world.report(&group, group.log, 11).is_empty(), "the right log came back");
    let other = world.registry.report(world.now, RelayId([9; 16]), &[], None);
    assert!(matches!(other, Err(ReportError::NotRegistered(_))));
    let reset = world.call(&ann(), Method::Reset, group.id, "");
    let fresh = world.registry.reset_group(world.now, &reset).unwrap();
    assert_eq!(world.report(&fresh, group.log, 11).len(), 1);
    assert!(world.report(&fresh, fresh.log, 0).is_empty());
    world.restart();
    assert!(world.report(&fresh, fresh.log, 1).is_empty());
}

#[test]
fn a_memory_relays_new_log_is_adopted() {
    let world = World::new();
    let group = world.group("room");
    assert!(world.report(&group, group.log, 10).is_empty());
    world.register(RELAY, false);
    assert!(world.report(&group, LogId(77), 0).is_empty());
    assert_eq!(world.registry.group(&GroupBy::Id(group.id)).unwrap().log, LogId(77));
    assert!(world.report(&group, LogId(77), 1).is_empty());
}

#[test]
fn everyone_is_reset_only_when_its_log_is_lost_and_never_deleted() {
    let world = World::new();
    let everyone = CreateSpec { reserved: true, owner: DeviceId::NONE, ..spec("everyone") };
    let group = world.create(&everyone).unwrap();
    assert!(matches!(world.delete(&group), Err(OwnerError::Reserved(_))));
    let reset = |world: &World| world.registry.reset_group(world.now, &world.call(&bob(), Method::Reset, group.id, ""));
    assert!(matches!(reset(&world), Err(OwnerError::Reserved(_))));
    assert_eq!(world.report(&group, LogId(5), 0).len(), 1);
    assert!(matches!(reset(&world), Err(OwnerError::Reserved(_))), "another log id is a claim, and no loss");
    assert_eq!(world.report_as(&group, group.log, 0, |report| report.lost = true).len(), 1);
    assert_ne!(reset(&world).unwrap().log, group.log);
    assert!(matches!(reset(&world), Err(OwnerError::Reserved(_))), "mended");
}

#[test]
fn groups_are_listed_in_pages_by_name() {
    let world = World::new();
    for name in ["c", "a", "e", "b", "d"] {
        world.group(name);
    }
    let names = |after: Option<&str>| -> Vec<String> {
        world.registry.groups(after, 2).0.into_iter().map(|g| g.name.to_string()).collect()
    };
    assert_eq!(names(None), ["a", "b"]);
    assert_eq!(names(Some("b")), ["c", "d"]);
    assert_eq!(names(Some("d")), ["e"]);
    assert!(!world.registry.groups(Some("d"), 2).1, "no more");
}
