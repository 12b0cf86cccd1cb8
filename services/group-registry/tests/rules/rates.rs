//! Floods of calls from one address: refused with the time of the next try, and nobody else's trouble.

use std::{net::IpAddr, time::Duration};

use gaung_proto::{ClientId, DeviceId};
use group_registry::{
    create::CreateSpec,
    group::Group,
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
