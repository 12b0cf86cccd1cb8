//! How a group loses its address and gets one again.

use std::{net::Ipv4Addr, time::Duration};

use gaung_proto::RelayId;
use group_registry::{
    QUARANTINE,
    address_picker::Exhausted,
    create::{CreateError, CreateSpec, RegainError},
    group::Group,
    lease::ADDRESS_LEASE,
};

use super::world::{RELAY, World, bob, spec};

const OTHER: RelayId = RelayId([8; 16]);
const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

impl World {
    /// Time goes by with nobody heard.
    fn silence(&mut self, time: Duration) {
        self.pass(time);
        self.registry.expire(self.now).unwrap();
    }

    fn lapsed(&mut self, spec: &CreateSpec) -> Group {
        let group = self.create(spec).unwrap();
        self.silence(ADDRESS_LEASE);
        let lapsed = self.stored(&group);
        assert!(lapsed.lapsed);
        lapsed
    }

    /// The relay registers, and every group that has no address gets one.
    fn come_back(&self) -> Vec<Group> {
        self.register(RELAY, true);
        self.regain().into_iter().map(Result::unwrap).collect()
    }

    fn keys(&self, prefix: &[u8]) -> usize {
        self.store.load().unwrap().iter().filter(|(key, _)| key.starts_with(prefix)).count()
    }
}

fn at(name: &str, ip: [u8; 4], port: Option<u16>) -> CreateSpec {
    CreateSpec { address: Some(Ipv4Addr::from(ip)), port, ..spec(name) }
}

#[test]
fn an_address_lapses_after_a_day_of_silence_and_the_group_lives_on() {
    let mut world = World::new();
    let group = world.group("room");
    world.join(&group, &bob(), None).unwrap();
    world.silence(ADDRESS_LEASE - SECOND);
    assert_eq!(world.stored(&group), group);
    world.silence(SECOND);
    let lapsed = world.stored(&group);
    assert_eq!(lapsed, Group { lapsed: true, ..group.clone() }, "all else is as it was");
    assert!(lapsed.to_pb().address_lapsed);
    assert_eq!(world.registry.members(world.now, group.id).unwrap().len(), 2);
    assert_eq!(world.keys(b"p/"), 0, "the port is free at once");
    world.silence(HOUR);
    assert_eq!(world.stored(&group), lapsed);
    assert!(world.regain().is_empty(), "nobody is back");
}

#[test]
fn whoever_renews_keeps_the_address() {
    let mut world = World::new();
    let group = world.group("room");
    for _ in 0..20 {
        world.silence(ADDRESS_LEASE - SECOND);
        world.register(RELAY, true);
    }
    assert_eq!(world.stored(&group), group);
    assert!(world.regain().is_empty());
}

#[test]
fn a_restart_starts_leases_in_full() {
    let mut world = World::new();
    let group = world.group("room");
    world.silence(ADDRESS_LEASE - SECOND);
    world.restart();
    world.silence(ADDRESS_LEASE - SECOND);
    assert_eq!(world.stored(&group), group);
    world.silence(SECOND);
    assert!(world.stored(&group).lapsed);
    world.restart();
    assert!(world.stored(&group).lapsed, "what lapsed stays so");
    assert!(world.regain().is_empty(), "a relay that is only remembered is not back");
    assert_eq!(world.come_back().len(), 1);
}

#[test]
fn a_lapsed_address_rests_before_another_group_has_it() {
    let mut world = World::new();
    let group = world.lapsed(&at("handout", [224, 1, 1, 1], Some(5004)));
    world.register(OTHER, true);
    let resting = world.create(&at("other", [224, 1, 1, 1], None)).unwrap_err();
    assert!(matches!(resting, CreateError::AddressResting { .. }), "{resting}");
    world.pass(QUARANTINE - SECOND);
    world.restart();
    world.register(OTHER, true);
    assert!(world.create(&at("other", [224, 1, 1, 1], None)).is_err(), "in full after a restart");
    world.pass(QUARANTINE);
    world.register(OTHER, true);
    let other = world.create(&at("other", [224, 1, 1, 1], None)).unwrap();
    assert_eq!(other.generation.0, group.generation.0 + 1);
    world.delete(&group).unwrap();
    assert_eq!(world.stored(&other), other, "a lapsed group takes nothing with it");
}

#[test]
fn a_relay_that_returns_gets_addresses_again_with_a_higher_generation() {
    let mut world = World::new();
    let group = world.lapsed(&spec("room"));
    let back = world.come_back();
    let fresh = back[0].clone();
    assert_ne!(fresh.addr, group.addr, "a fresh endpoint, for its own rests");
    assert_eq!(fresh.generation.0, group.generation.0 + 1);
    assert_eq!(fresh, Group { addr: fresh.addr, generation: fresh.generation, lapsed: false, ..group.clone() });
    assert_eq!(world.stored(&group), fresh);
    assert_eq!(world.keys(b"p/"), 1);
    assert!(world.regain().is_empty(), "once");
    world.restart();
    assert_eq!(world.stored(&group), fresh);
    world.silence(ADDRESS_LEASE);
    assert_eq!(world.come_back()[0].generation.0, group.generation.0 + 2, "and so on");
}

#[test]
fn an_operators_address_comes_back_unless_another_group_has_it() {
    let mut world = World::new();
    let group = world.lapsed(&at("handout", [224, 1, 1, 1], Some(5004)));
    let back = world.come_back();
    assert_eq!(back[0].addr, group.addr, "nobody had it since, so it need not rest");
    assert_eq!(back[0].generation.0, group.generation.0 + 1);

    world.silence(ADDRESS_LEASE);
    world.pass(QUARANTINE);
    world.register(OTHER, true);
    let squatter = world.create(&at("squatter", [239, 1, 1, 1], None)).unwrap();
    let elsewhere = world.come_back();
    assert_eq!(elsewhere[0].addr.ip().octets()[..3], [239, 255, 10], "from the pool");
    assert_eq!(elsewhere[0].addr.port(), 5004, "the port is the operator's still");
    assert!(elsewhere[0].generation > back[0].generation);
    assert_eq!(world.stored(&squatter), squatter);

    world.delete(&squatter).unwrap();
    world.silence(ADDRESS_LEASE);
    let home = world.come_back();
    assert_eq!(home[0].addr, group.addr, "asked for once, asked for always");
    assert!(home[0].generation > elsewhere[0].generation);
}

#[test]
fn an_operators_address_with_a_port_from_the_pool_gets_another_port() {
    let mut world = World::new();
    let group = world.lapsed(&at("room", [239, 1, 2, 3], None));
    let back = world.come_back();
    assert_eq!(back[0].addr.ip(), group.addr.ip());
    assert_eq!(world.keys(b"p/"), 1);
}

#[test]
fn without_a_free_address_the_group_waits() {
    let mut world = World::new();
    let group = world.lapsed(&spec("room"));
    world.pass(QUARANTINE);
    world.register(OTHER, true);
    let others: Vec<_> = (0..16).map(|n| world.group(&format!("g{n}"))).collect();
    world.register(RELAY, true);
    assert!(matches!(world.regain()[..], [Err(RegainError::Exhausted(Exhausted::Addresses { held: 16, .. }))]));
    assert_eq!(world.stored(&group), group);
    world.delete(&others[5]).unwrap();
    assert!(world.regain()[0].is_err(), "it rests");
    world.pass(QUARANTINE);
    let back = world.come_back();
    assert_eq!(back[0].addr.ip(), others[5].addr.ip());
    // Chance may have given the other group the address that this one had.
    assert_eq!(back[0].generation.0, group.generation.max(others[5].generation).0 + 1);
}
