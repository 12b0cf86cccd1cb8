//! Who may change who may do what, and what that changes at once.

use ed25519_dalek::SigningKey;
use gaung_proto::{
    ClientId,
    policy::{PolicyChange, PolicyError, PolicyRefusal, Role, SignedPolicy},
};
use group_registry::{
    create::CreateSpec, group::Group, invites::InviteError, members::JoinError, policies::SetPolicyError,
    viewer::Credentials,
};

use crate::world::{DAY_MS, World, ann, bob, device, spec};

fn carol() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

/// Changes the policy that the registry has now.
fn change(world: &World, group: &Group, change: PolicyChange, by: &SigningKey) -> Result<Group, SetPolicyError> {
    let signed = SignedPolicy::sign(by, world.stored(group).current_policy().with(change));
    world.registry.set_policy(world.now, signed.encoded(), None)
}

fn private(world: &World) -> Group {
    world.create(&CreateSpec { private: true, ..spec("secret") }).unwrap()
}

fn invite(world: &World, group: &Group, by: &SigningKey) -> String {
    world.registry.create_invite(world.now, group.id, device(by), 0, DAY_MS).unwrap().0
}

#[test]
fn a_banned_device_is_no_member_and_comes_back_by_nobodys_invite() {
    let mut world = World::new();
    let group = private(&world);
    let code = invite(&world, &group, &ann());
    world.redeem(&bob(), &code).unwrap();
    let ticket = world.join(&group, &bob(), Some(ClientId([1; 16]))).unwrap();
    let bobs = invite(&world, &group, &bob());

    let refused = change(&world, &group, PolicyChange::Ban(device(&ann())), &bob());
    assert!(matches!(refused, Err(SetPolicyError::Policy(PolicyError::Contradiction(_)))), "{refused:?}");
    change(&world, &group, PolicyChange::Ban(device(&bob())), &ann()).unwrap();
    assert_eq!(world.registry.members(world.now, group.id).unwrap().len(), 1, "neither lasting nor present");
    assert!(matches!(world.join(&group, &bob(), None), Err(JoinError::Private(_))));
    let banned = Err(InviteError::Join(JoinError::Policy(PolicyRefusal::Banned)));
    assert_eq!(world.redeem(&bob(), &code), banned);
    assert_eq!(world.redeem(&carol(), &bobs), Err(InviteError::Revoked), "the invite that it made");
    let holder = Credentials { ticket, ..Credentials::default() };
    let seen = world.registry.members_for(world.now, group.id, holder);
    assert!(matches!(seen, Err(JoinError::Private(_))), "by the ticket of before: {seen:?}");

    world.restart();
    assert_eq!(world.redeem(&bob(), &code), banned, "after a restart");
    change(&world, &group, PolicyChange::Unban(device(&bob())), &ann()).unwrap();
    world.redeem(&bob(), &code).unwrap();
}

#[test]
fn a_kicked_device_needs_another_invite_and_another_ticket() {
    let world = World::new();
    let group = private(&world);
    world.redeem(&bob(), &invite(&world, &group, &ann())).unwrap();
    let ticket = world.join(&group, &bob(), None).unwrap();
    let sees = |ticket| {
        let holder = Credentials { ticket, ..Credentials::default() };
        world.registry.members_for(world.now, group.id, holder).is_ok()
    };
    assert!(sees(ticket.clone()));
    change(&world, &group, PolicyChange::Kick(device(&bob())), &ann()).unwrap();
    assert!(!sees(ticket.clone()));
    assert!(matches!(world.join(&group, &bob(), None), Err(JoinError::Private(_))));
    world.redeem(&bob(), &invite(&world, &group, &ann())).unwrap();
    assert!(!sees(ticket), "the old one stays void");
    assert!(sees(world.join(&group, &bob(), None).unwrap()));
}

#[test]
fn a_banned_device_cannot_join_an_open_group() {
    let world = World::new();
    let group = world.group("room");
    world.join(&group, &bob(), Some(ClientId([1; 16]))).unwrap();
    change(&world, &group, PolicyChange::Ban(device(&bob())), &ann()).unwrap();
    for client in [None, Some(ClientId([1; 16]))] {
        assert_eq!(world.join(&group, &bob(), client), Err(JoinError::Policy(PolicyRefusal::Banned)));
    }
    assert_eq!(world.registry.members(world.now, group.id).unwrap().len(), 1);
}

#[test]
fn roles_decide_who_changes_what_and_last() {
    let mut world = World::new();
    let group = world.group("room");
    let not_allowed = |outcome: Result<Group, SetPolicyError>| {
        assert!(matches!(outcome, Err(SetPolicyError::Policy(PolicyError::NotAllowed(_)))), "{outcome:?}");
    };
    let appoint = |key: &SigningKey, role| PolicyChange::SetRole(device(key), role);
    not_allowed(change(&world, &group, appoint(&bob(), Role::Admin), &bob()));
    change(&world, &group, appoint(&bob(), Role::Admin), &ann()).unwrap();
    change(&world, &group, appoint(&carol(), Role::Moderator), &bob()).unwrap();
    world.restart();
    not_allowed(change(&world, &group, PolicyChange::Ban(device(&bob())), &carol()));
    let after = change(&world, &group, PolicyChange::Kick(device(&carol())), &bob()).unwrap();
    assert_eq!(after.policy_version(), 3);
}

#[test]
fn of_two_changes_to_one_version_the_second_is_told_to_read_again() {
    let world = World::new();
    let group = world.group("room");
    let policy = group.current_policy();
    let first = SignedPolicy::sign(&ann(), policy.with(PolicyChange::Ban(device(&bob()))));
    let second = SignedPolicy::sign(&ann(), policy.with(PolicyChange::Ban(device(&carol()))));
    let set = |signed: &SignedPolicy| world.registry.set_policy(world.now, signed.encoded(), None);
    assert_eq!(set(&first).unwrap().policy_version(), 1);
    assert_eq!(set(&first).unwrap().policy_version(), 1, "a repeat of the first");
    assert_eq!(set(&second), Err(SetPolicyError::Policy(PolicyError::Outdated { current: 1 })));
    let foreign = SignedPolicy::sign(&bob(), policy.with(PolicyChange::Unban(device(&bob()))));
    let mut forged = foreign.encoded().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let forged = world.registry.set_policy(world.now, &forged.into(), None);
    assert!(matches!(forged, Err(SetPolicyError::Policy(PolicyError::Signature(_)))), "{forged:?}");
}
