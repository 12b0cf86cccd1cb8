//! Floods of calls from one address: refused with the time of the next try, and nobody else's trouble.

use std::{net::IpAddr, time::Duration};

use ed25519_dalek::SigningKey;
use gaung_proto::{ClientId, DeviceId, GroupId, signing::Method};
use group_registry::{
    challenge::SignedCall,
    create::CreateSpec,
    group::Group,
    invites::InviteError,
    limits::Limits,
    lookup::GroupBy,
    members::{JoinError, JoinRequest},
    presence::PRESENCE_LEASE,
};

use super::world::{RELAY, World, spec};

const FLOODER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 66));
const HONEST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7));
/// More calls than any of the limits lets through at once.
const FLOOD: u32 = 10_000;

/// Joins of one process after another.
fn join(world: &World, group: &Group, from: IpAddr, process: u32) -> Result<(), JoinError> {
    let mut id = [9; 16];
    id[..4].copy_from_slice(&process.to_be_bytes());
    let join = JoinRequest {
        by: GroupBy::Id(group.id),
        device: DeviceId(id),
        name: None,
        client: Some(ClientId(id)),
        lane: "tcp".to_owned(),
        from: Some(from),
    };
    world.registry.join(world.now, &join).map(drop)
}

/// An attempt of `device` to redeem an invite.
fn redeem(world: &World, device: u8, from: IpAddr, code: &str) -> Result<(), InviteError> {
    let key = SigningKey::from_bytes(&[device; 32]);
    let call = SignedCall { from: Some(from), ..world.call(&key, Method::Redeem, GroupId::NONE, code) };
    world.registry.redeem_invite(world.now, &call, None).map(drop)
}

/// Seconds after which the message says to try again.
fn said_seconds(message: &str) -> Duration {
    let seconds = message.split_once("try again in ").and_then(|(_, rest)| rest.strip_suffix(" s"));
    Duration::from_secs(seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or_else(|| panic!("{message}")))
}

#[test]
fn a_flood_of_joins_is_told_when_to_try_again_and_stops_nobody_else() {
    let mut world = World::new();
    let group = world.group("room");
    join(&world, &group, FLOODER, 0).unwrap();
    let refused = (1..FLOOD).find_map(|process| join(&world, &group, FLOODER, process).err()).unwrap();
    assert!(matches!(refused, JoinError::TooSoon(_)), "{refused}");
    let wait = said_seconds(&refused.to_string());
    join(&world, &group, FLOODER, 0).expect("who is there renews, however many came with it");
    join(&world, &group, HONEST, FLOOD).expect("another address has its own share");
    world.pass(wait);
    join(&world, &group, FLOODER, FLOOD + 1).expect("as it was said");
    world.pass(PRESENCE_LEASE);
    world.registry.expire(world.now).unwrap();
    assert_eq!(
        world.registry.members(world.now, group.id).unwrap().len(),
        1,
        "the owner; of the flood nothing is left"
    );
}

#[test]
fn a_flood_of_creates_is_told_when_to_try_again_and_stops_nobody_else() {
    let mut world = World::new();
    let create = |world: &World, from, name: &str| {
        world.registry.charge_create(world.now.mono, Some(from)).map_err(|error| error.to_string())?;
        let spec = CreateSpec { made_from: Some(from), ..spec(name) };
        world.create(&spec).map_err(|error| error.to_string())
    };
    create(&world, FLOODER, "first").unwrap();
    // What fails for another reason counts as well: it costs the registry as much.
    let attempts = |world: &World| {
        (0..FLOOD).find_map(|_| create(world, FLOODER, "first").err().filter(|e| e.contains("again in")))
    };
    let wait = said_seconds(&attempts(&world).unwrap());
    create(&world, HONEST, "lesson").expect("another address has its own share");
    world.pass(wait);
    world.register(RELAY, true);
    create(&world, FLOODER, "second").expect("as it was said");
}

const BAD_CODE: &str = "AAAABBBBCCCCDDDDEEEEFFFFGG";

#[test]
fn a_device_that_guesses_codes_is_told_when_to_try_again_and_stops_nobody_else() {
    let mut world = World::new();
    let group = world.group("room");
    let (code, _) = world.registry.create_invite(world.now, group.id, group.owner, 0, 3_600_000).unwrap();
    for _ in 0..5 {
        assert_eq!(redeem(&world, 9, FLOODER, BAD_CODE), Err(InviteError::Unknown));
    }
    let refused = redeem(&world, 9, FLOODER, &code).unwrap_err();
    assert!(matches!(refused, InviteError::TooManyFailures(_)), "{refused}");
    redeem(&world, 8, FLOODER, &code).expect("another device at the same address");
    world.pass(said_seconds(&refused.to_string()));
    redeem(&world, 9, FLOODER, &code).expect("as it was said");
    redeem(&world, 9, FLOODER, &code).expect("what succeeds is not counted");
}

#[test]
fn an_address_that_guesses_codes_with_many_devices_is_refused_as_well() {
    let world = World::new();
    let attempt = |device| redeem(&world, device, FLOODER, BAD_CODE);
    for device in 100..150 {
        assert_eq!(attempt(device), Err(InviteError::Unknown));
    }
    assert!(matches!(attempt(200), Err(InviteError::TooManyFailures(_))));
    assert_eq!(redeem(&world, 200, HONEST, BAD_CODE), Err(InviteError::Unknown), "another address has its own share");
}

#[test]
fn no_rate_lets_any_number_of_codes_fail() {
    let World { registry, store, now } = World::new();
    let registry = registry.with_limits(Limits::default().redeem_failures(0));
    let world = World { registry, store, now };
    for _ in 0..100 {
        assert_eq!(redeem(&world, 9, FLOODER, BAD_CODE), Err(InviteError::Unknown));
    }
}
