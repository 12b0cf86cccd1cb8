#![allow(clippy::unwrap_used)]

use super::*;

const GROUP: GroupId = GroupId([9; 16]);
const OWNER: DeviceId = DeviceId([1; 16]);
const ADMIN: DeviceId = DeviceId([2; 16]);
const MODERATOR: DeviceId = DeviceId([3; 16]);
const OTHER_MODERATOR: DeviceId = DeviceId([4; 16]);
const BUDI: DeviceId = DeviceId([5; 16]);
const NOON: i64 = 1_800_000_000_000;

/// A group with an admin and two moderators, at version 3.
fn staffed() -> Policy {
    let roles = [(ADMIN, Role::Admin), (MODERATOR, Role::Moderator), (OTHER_MODERATOR, Role::Moderator)];
    roles.into_iter().fold(Policy::unset(GROUP), |policy, (device, role)| {
        let next = policy.with(PolicyChange::SetRole(device, role));
        policy.accept(OWNER, &next, OWNER).unwrap();
        next
    })
}

fn outcome(policy: &Policy, change: PolicyChange, signer: DeviceId) -> Result<(), PolicyError> {
    policy.accept(OWNER, &policy.with(change), signer)
}

#[test]
fn each_role_may_change_what_is_below_it_and_nothing_else() {
    let policy = staffed();
    let all = [OWNER, ADMIN, MODERATOR, BUDI];
    let may = |change: PolicyChange| all.map(|signer| outcome(&policy, change, signer).is_ok());
    let (owner, admins, moderators) =
        ([true, false, false, false], [true, true, false, false], [true, true, true, false]);
    assert_eq!(may(PolicyChange::SetRole(BUDI, Role::Admin)), owner);
    assert_eq!(may(PolicyChange::SetRole(ADMIN, Role::Member)), owner);
    assert_eq!(may(PolicyChange::SetRole(BUDI, Role::Moderator)), admins);
    assert_eq!(may(PolicyChange::SetRole(MODERATOR, Role::Member)), admins);
    for change in [PolicyChange::Ban(BUDI), PolicyChange::Mute(BUDI, NOON), PolicyChange::Kick(BUDI)] {
        assert_eq!(may(change), moderators, "{change:?}");
    }
    for change in [PolicyChange::Mute(OTHER_MODERATOR, NOON), PolicyChange::Kick(OTHER_MODERATOR)] {
        assert_eq!(may(change), admins, "{change:?}");
    }
    assert_eq!(may(PolicyChange::Ban(OTHER_MODERATOR)), admins);
    for change in [PolicyChange::Ban(ADMIN), PolicyChange::Mute(ADMIN, NOON), PolicyChange::Kick(ADMIN)] {
        assert_eq!(may(change), owner, "{change:?}");
    }
    for change in [PolicyChange::Ban(OWNER), PolicyChange::Mute(OWNER, NOON), PolicyChange::Kick(OWNER)] {
        assert_eq!(may(change), [false; 4], "{change:?}");
    }
}

#[test]
fn bans_and_mutes_are_lifted_by_who_may_impose_them() {
    let banned = staffed().with(PolicyChange::Ban(BUDI)).with(PolicyChange::Mute(MODERATOR, NOON));
    assert_eq!(outcome(&banned, PolicyChange::Unban(BUDI), BUDI), Err(NO_ROLE));
    assert_eq!(outcome(&banned, PolicyChange::Unban(BUDI), MODERATOR), Ok(()));
    let own = outcome(&banned, PolicyChange::Unmute(MODERATOR), MODERATOR);
    assert!(matches!(own, Err(PolicyError::NotAllowed(_))), "its own: {own:?}");
    assert_eq!(outcome(&banned, PolicyChange::Unmute(MODERATOR), ADMIN), Ok(()));
}

#[test]
fn a_ban_takes_the_role_with_it() {
    let banned = staffed().with(PolicyChange::Ban(ADMIN));
    assert_eq!(banned.role(OWNER, ADMIN), Role::Member);
    let appointed = banned.with(PolicyChange::SetRole(ADMIN, Role::Moderator));
    let refused = banned.accept(OWNER, &appointed, OWNER);
    assert!(matches!(refused, Err(PolicyError::Contradiction(_))), "{refused:?}");
    let nobody = outcome(&banned, PolicyChange::Ban(DeviceId::NONE), OWNER);
    assert!(matches!(nobody, Err(PolicyError::Contradiction(_))), "{nobody:?}");
}

#[test]
fn a_version_follows_the_one_that_it_names() {
    let policy = staffed();
    let outdated = Err(PolicyError::Outdated { current: 3 });
    let next = policy.with(PolicyChange::Ban(BUDI));
    for wrong in [
        Policy { version: 5, ..next.clone() },
        Policy { previous: Some([0; 32]), ..next.clone() },
        Policy { previous: None, ..next.clone() },
        Policy { group: GroupId([8; 16]), ..next.clone() },
        policy.clone(),
    ] {
        assert_eq!(policy.accept(OWNER, &wrong, OWNER), outdated, "{wrong:?}");
    }
    let sibling = policy.with(PolicyChange::Kick(BUDI));
    assert_eq!(
        next.accept(OWNER, &sibling.with(PolicyChange::Ban(BUDI)), OWNER),
        Err(PolicyError::Outdated { current: 4 })
    );
    let reserved = Policy::unset(GROUP);
    let first = reserved.with(PolicyChange::Ban(BUDI));
    assert_eq!(reserved.accept(DeviceId::NONE, &first, DeviceId::NONE), Err(PolicyError::NoOwner));
}

#[test]
fn lists_are_bounded_and_the_oldest_kick_gives_way() {
    let device = |n: usize| DeviceId((n as u128 + 1000).to_be_bytes());
    let mut policy = staffed();
    for n in 0..MAX_KICKS + 1 {
        let next = policy.with(PolicyChange::Kick(device(n)));
        assert_eq!(policy.accept(OWNER, &next, MODERATOR), Ok(()));
        policy = next;
    }
    assert!(policy.kicks.len() == MAX_KICKS && !policy.kicks.contains_key(&device(0)));
    policy.bans.extend((0..MAX_BANS).map(device));
    assert_eq!(outcome(&policy, PolicyChange::Ban(BUDI), OWNER), Err(PolicyError::TooMany("bans")));
    policy.mutes.extend((0..MAX_MUTES).map(|n| (device(n), i64::MAX)));
    policy.admins.extend((2 * MAX_BANS..).take(MAX_ROLES - 1).map(device));
    policy.moderators.extend((3 * MAX_BANS..).take(MAX_ROLES - 2).map(device));
    let signed = SignedPolicy::sign(&SigningKey::from_bytes(&[1; 32]), policy);
    assert!(signed.encoded().len() <= MAX_POLICY_BYTES, "{}", signed.encoded().len());
    assert_eq!(SignedPolicy::decode(signed.encoded()), Ok(signed));
}

#[test]
fn what_is_refused_says_for_how_long() {
    let policy = staffed().with(PolicyChange::Mute(BUDI, NOON + 90_000)).with(PolicyChange::Kick(BUDI));
    assert_eq!(policy.check_publisher(BUDI, NOON), Err(PolicyRefusal::Muted(Duration::from_secs(90))));
    assert!(PolicyRefusal::Muted(Duration::from_millis(89_001)).to_string().contains("for 90 s more"));
    assert_eq!(policy.check_publisher(BUDI, NOON + 90_000), Ok(()));
    assert_eq!(
        policy.check_publisher(BUDI, i64::MIN),
        Err(PolicyRefusal::Muted(Duration::from_millis(i64::MAX as u64)))
    );
    assert_eq!(policy.check_ticket(BUDI, 4), Err(PolicyRefusal::Kicked));
    assert_eq!(policy.check_ticket(BUDI, 5), Ok(()));
    let banned = policy.with(PolicyChange::Ban(BUDI));
    assert_eq!(banned.check_ticket(BUDI, 6), Err(PolicyRefusal::Banned));
    assert_eq!(banned.check_publisher(BUDI, NOON), Err(PolicyRefusal::Banned));
}

#[test]
fn no_changed_bit_of_a_signed_policy_goes_unnoticed() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let policy = staffed().with(PolicyChange::Mute(BUDI, NOON)).with(PolicyChange::Kick(BUDI));
    let signed = SignedPolicy::sign(&key, policy);
    assert_eq!(signed.signer(), DeviceId::of_public_key(key.verifying_key().as_bytes()));
    assert_eq!(SignedPolicy::decode(signed.encoded()), Ok(signed.clone()));
    for bit in 0..signed.encoded().len() * 8 {
        let mut changed = signed.encoded().to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        let decoded = SignedPolicy::decode(&changed.into());
        assert!(
            decoded.as_ref().is_err()
                || decoded
                    .as_ref()
                    .is_ok_and(|read| read.policy() == signed.policy() && read.signer() == signed.signer()),
            "bit {bit}: {decoded:?}"
        );
    }
}

#[test]
fn a_policy_has_one_encoding() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let mut twice = pb::Policy::decode(staffed().encode()).unwrap();
    twice.moderators.reverse();
    let encoded = Bytes::from(twice.encode_to_vec());
    let signature = Bytes::copy_from_slice(&key.sign(&signed_bytes(&encoded)).to_bytes());
    let public_key = Bytes::copy_from_slice(key.verifying_key().as_bytes());
    let signed = pb::SignedPolicy { policy: encoded, public_key, signature };
    assert_eq!(SignedPolicy::decode(&signed.encode_to_vec().into()), Err(PolicyError::Malformed));
}
