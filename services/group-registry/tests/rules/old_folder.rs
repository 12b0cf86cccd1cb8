//! A data folder of the version that made a group by several transactions, with a create that was cut short.
//!
//! The fixture holds the groups that stand below; `bob` is a member of two, one by an invite that has one use left, and
//! a third group was deleted a moment before.

use std::{fs, net::Ipv4Addr, sync::Arc};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use gaung_proto::{DeviceId, GroupId, LogId, signing::Method};
use group_registry::{
    QUARANTINE,
    clock::Now,
    create::{CreateError, CreateSpec},
    disk_store::DiskStore,
    group::{Group, RequestId},
    invites::InviteError,
    store::RecordStore,
    viewer::Credentials,
};

use super::world::{RELAY, World, ann, bob, open, spec};

const FIXTURE: &[u8] = include_bytes!("../fixtures/registry-format-1.redb");
const PUBLIC_KEY: &str = "444eeb15dc99685623467ce308400dbc939828fcca9addecf0d35ccf46448011";
const INVITE: &str = "XUEXZDFPM5XSAWMDOE4GCE2TM4";
/// Name, id, address, log, and the byte that the request id consists of.
const GROUPS: [(&str, &str, &str, u64, u8); 4] = [
    ("everyone", "01a22d27-66e4-759c-b236-35eb3614650a", "239.255.10.0:21383", 439_678_785_302_858_906, 1),
    ("handout", "01a22d27-6787-74e7-adeb-18da00aedd79", "224.1.1.1:5004", 15_303_892_743_450_780_559, 4),
    ("room", "01a22d27-6716-72f3-9c87-3dc8e3adf992", "239.255.10.10:27950", 953_966_341_856_374_182, 2),
    ("secret", "01a22d27-674a-7733-aa7d-6a3283ea92b4", "239.255.10.5:23636", 9_306_698_779_408_386_702, 3),
];

fn world(dir: &std::path::Path) -> World {
    let store: Arc<dyn RecordStore> = Arc::new(DiskStore::open(dir, "registry.redb").unwrap());
    let now = Now { mono: std::time::Instant::now(), unix_ms: 1_800_000_000_000 };
    World { registry: open(&store, now), store, now }
}

fn keys(world: &World) -> Vec<Vec<u8>> {
    world.store.load().unwrap().into_iter().map(|(key, _)| key).collect()
}

#[test]
fn an_old_folder_opens_with_everything_in_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("registry.redb"), FIXTURE).unwrap();
    let mut world = world(dir.path());
    assert_eq!(hex(&world.registry.public_key()), PUBLIC_KEY);
    let listed: Vec<Group> = world.registry.groups(None, 100).0;
    assert_eq!(listed.len(), GROUPS.len());
    for (group, (name, id, addr, log, request)) in listed.iter().zip(GROUPS) {
        assert_eq!((group.name.as_str(), group.id.to_string().as_str()), (name, id));
        assert_eq!((group.addr.to_string().as_str(), group.log), (addr, LogId(log)));
        assert_eq!((group.generation.0, group.relay, group.lapsed), (1, RELAY, false));
        let own = CreateSpec { request: RequestId([request; 16]), private: group.private, ..spec(name) };
        let own = match name {
            "everyone" => CreateSpec { reserved: true, owner: DeviceId::NONE, ..own },
            "handout" => CreateSpec { address: Some(Ipv4Addr::new(224, 1, 1, 1)), port: Some(5004), ..own },
            _ => own,
        };
        assert_eq!(world.create(&own).as_ref(), Ok(group), "a repeat of the request that made it");
    }
    let [everyone, _, room, secret] = &listed[..] else { panic!("{listed:?}") };
    assert!(everyone.reserved && secret.private && world.registry.members(world.now, room.id).unwrap().len() == 2);
    assert_eq!(world.registry.services(world.now).len(), 2);
    let relay =
        Credentials { relay: Some((RELAY, Bytes::from_static(b"secret of the relay"))), ..Credentials::default() };
    assert_eq!(world.registry.groups_for(world.now, None, 100, relay).0.len(), 4, "its secret still proves the relay");
    assert_eq!(world.report(room, room.log, 39)[0].expected_head_seq, 40);

    world.redeem(&bob(), INVITE).expect("who used the invite is known");
    world.redeem(&SigningKey::from_bytes(&[3; 32]), INVITE).expect("one use is left");
    assert_eq!(world.redeem(&SigningKey::from_bytes(&[4; 32]), INVITE), Err(InviteError::UsedUp));

    let gone = CreateSpec { address: Some(Ipv4Addr::new(239, 1, 2, 3)), ..spec("gone") };
    let first = CreateSpec { request: RequestId([5; 16]), ..gone.clone() };
    assert_eq!(world.create(&first), Err(CreateError::Deleted));
    assert!(matches!(world.create(&gone), Err(CreateError::AddressResting { .. })), "in full after the start");
    world.pass(QUARANTINE);
    world.register(RELAY, true);
    assert_eq!(world.create(&gone).unwrap().generation.0, 2);
    world.registry.delete_group(world.now, &world.call(&ann(), Method::Delete, room.id, "")).unwrap();
}

#[test]
fn what_the_old_version_left_half_done_is_taken_back_at_the_first_start() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("registry.redb"), FIXTURE).unwrap();
    let first = world(dir.path());
    let left: Vec<_> = keys(&first);
    let count = |prefix: &[u8]| left.iter().filter(|key| key.starts_with(prefix)).count();
    assert_eq!((count(b"n/"), count(b"p/"), count(b"r/"), count(b"l/")), (4, 3, 5, 0), "{left:?}");
    first.group("half-made");
    assert!(first.registry.group(&group_registry::lookup::GroupBy::Id(GroupId([0xee; 16]))).is_err());
    let after = first.store.load().unwrap();
    drop(first);
    assert_eq!(world(dir.path()).store.load().unwrap(), after, "the second start changes nothing");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
