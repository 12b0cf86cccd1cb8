//! Who is shown a private group.

use bytes::Bytes;
use gaung_proto::{DeviceId, GroupId, RelayId, signing::issue_ticket};
use group_registry::{
    create::CreateSpec, group::Group, invites::InviteError, lookup::GroupBy, members::JoinError, viewer::Credentials,
};

use super::world::{DAY_MS, RELAY, World, ann, bob, device, spec};

fn private(world: &World, name: &str) -> Group {
    world.create(&CreateSpec { private: true, ..spec(name) }).unwrap()
}

fn member(device: DeviceId) -> Credentials {
    Credentials { device: Some(device), ..Credentials::default() }
}

fn relay(id: RelayId, secret: &'static [u8]) -> Credentials {
    Credentials { relay: Some((id, Bytes::from_static(secret))), ..Credentials::default() }
}

/// Whether the caller is shown the group by each call, which must agree.
fn is_shown(world: &World, group: &Group, claim: &Credentials) -> bool {
    let by_id = world.registry.group_for(world.now, &GroupBy::Id(group.id), claim.clone());
    let by_name = world.registry.group_for(world.now, &GroupBy::Name(group.name.clone()), claim.clone());
    let members = world.registry.members_for(world.now, group.id, claim.clone());
    let all = [by_id.map(drop), by_name.map(drop), members.map(drop)];
    let shown = all.iter().all(Result::is_ok);
    assert!(shown || all.iter().all(|outcome| matches!(outcome, Err(JoinError::Private(_)))), "{all:?}");
    shown
}

#[test]
fn members_and_holders_of_tickets_are_shown_a_private_group_and_nobody_else() {
    let mut world = World::new();
    let group = private(&world, "secret");
    assert!(is_shown(&world, &world.group("open"), &Credentials::default()));
    assert!(!is_shown(&world, &group, &Credentials::default()));
    assert!(!is_shown(&world, &group, &member(device(&bob()))));
    assert!(is_shown(&world, &group, &member(device(&ann()))), "made it");
    let ticket = world.join(&group, &ann(), None).unwrap();
    let holder = Credentials { ticket, ..Credentials::default() };
    assert!(is_shown(&world, &group, &holder));
    assert!(!is_shown(&world, &private(&world, "other"), &holder));
    let of = |key: &ed25519_dalek::SigningKey| Credentials { holder: Some(device(key)), ..holder.clone() };
    assert!(is_shown(&world, &group, &of(&ann())) && !is_shown(&world, &group, &of(&bob())), "it is Ann's ticket");
    let forged = issue_ticket(&bob(), group.id, device(&bob()), i64::MAX, 0);
    assert!(!is_shown(&world, &group, &Credentials { ticket: forged, ..Credentials::default() }));

    let invite = world.registry.create_invite(world.now, group.id, device(&ann()), 1, DAY_MS).unwrap().0;
    world.redeem(&bob(), &invite).unwrap();
    assert!(is_shown(&world, &group, &member(device(&bob()))));
    world.registry.leave(world.now, group.id, device(&bob()), None).unwrap();
    assert!(!is_shown(&world, &group, &member(device(&bob()))));
    world.pass(std::time::Duration::from_secs(3600));
    assert!(!is_shown(&world, &group, &holder), "its ticket has expired");
}

#[test]
fn a_relay_with_a_certificate_needs_no_secret() {
    let world = World::new();
    let group = private(&world, "secret");
    let proven = |id| Credentials { proven_relay: Some(id), ..Credentials::default() };
    assert!(is_shown(&world, &group, &proven(RELAY)));
    assert!(!is_shown(&world, &group, &proven(RelayId([9; 16]))));
}

#[test]
fn a_relay_is_shown_its_own_private_groups_by_the_secret_that_came_first() {
    let mut world = World::new();
    let group = private(&world, "secret");
    let other = RelayId([8; 16]);
    let remember =
        |world: &World, id, secret| world.registry.remember_secret(world.now, id, &Bytes::from_static(secret)).unwrap();
    assert!(!is_shown(&world, &group, &relay(RELAY, b"first of the relay")), "before it registered with it");
    remember(&world, RELAY, b"");
    remember(&world, RELAY, b"first of the relay");
    remember(&world, RELAY, b"a stranger's secret");
    remember(&world, other, b"of another relay");
    for restarted in [false, true] {
        assert!(is_shown(&world, &group, &relay(RELAY, b"first of the relay")), "restarted {restarted}");
        assert!(!is_shown(&world, &group, &relay(RELAY, b"a stranger's secret")), "restarted {restarted}");
        assert!(!is_shown(&world, &group, &relay(RELAY, b"")), "restarted {restarted}");
        assert!(!is_shown(&world, &group, &relay(other, b"of another relay")), "it serves other groups");
        world.restart();
    }
}

#[test]
fn a_list_has_no_trace_of_what_it_does_not_show() {
    let world = World::new();
    for name in ["a", "c", "e"] {
        private(&world, name);
    }
    for name in ["b", "d"] {
        world.group(name);
    }
    let pages = |claim: &Credentials| {
        let (mut names, mut after) = (Vec::new(), None::<String>);
        loop {
            let (page, more) = world.registry.groups_for(world.now, after.as_deref(), 1, claim.clone());
            assert!(page.len() == 1 || !more, "a page that is not the last is full");
            names.extend(page.iter().map(|group| group.name.to_string()));
            after = names.last().cloned();
            if !more {
                return names;
            }
        }
    };
    assert_eq!(pages(&Credentials::default()), ["b", "d"]);
    assert_eq!(pages(&member(device(&bob()))), ["b", "d"]);
    assert_eq!(pages(&member(device(&ann()))), ["a", "b", "c", "d", "e"]);
}

#[test]
fn refusals_do_not_name_a_private_group() {
    let world = World::new();
    let group = private(&world, "gaji-rahasia");
    let refused = world.registry.create_invite(world.now, group.id, device(&bob()), 1, DAY_MS).unwrap_err();
    assert!(matches!(refused, InviteError::Join(JoinError::Private(_))) && !refused.to_string().contains("gaji"));
    let refused = world.join(&group, &bob(), None).unwrap_err();
    assert!(!refused.to_string().contains("gaji"), "{refused}");
    let call = world.call(&bob(), gaung_proto::signing::Method::Delete, group.id, "");
    let refused = world.registry.delete_group(world.now, &call).unwrap_err();
    assert!(!refused.to_string().contains("gaji"), "{refused}");
    assert!(world.registry.group(&GroupBy::Id(GroupId([1; 16]))).is_err());
}
