//! A disk that fails in the middle of a commit: the command did not happen, its caller is told, and the next one works.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use gaung_proto::{RelayId, Scope, signing::Method};
use group_registry::{
    create::CreateError,
    feed::WatchStep,
    lookup::{GroupBy, LookupError},
    members::JoinError,
    owner::OwnerError,
    services::RegisterError,
    store::{KeyChange, MemoryStore, RecordStore, StoreError},
};

use super::world::{World, ann, bob, spec};

/// Refuses every commit while it is broken.
#[derive(Default)]
struct FailingStore {
    inner: MemoryStore,
    is_broken: AtomicBool,
}

impl RecordStore for FailingStore {
    fn load(&self) -> Result<Vec<(Vec<u8>, Bytes)>, StoreError> {
        self.inner.load()
    }

    fn commit(&self, changes: &[KeyChange]) -> Result<(), StoreError> {
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("no space left on device".to_owned()));
        }
        self.inner.commit(changes)
    }
}

#[test]
fn a_command_whose_commit_fails_did_not_happen_and_the_next_works() {
    let store = Arc::new(FailingStore::default());
    let mut world = World::on(Arc::clone(&store) as Arc<dyn RecordStore>);
    let group = world.group("room");
    let (revision, records) = (revision(&world), store.load().unwrap());
    let endpoint = world.registry.pick(Scope::Site, world.now).unwrap();
    let delete = world.call(&ann(), Method::Delete, group.id, "");
    let other = spec("other");

    store.is_broken.store(true, Ordering::Relaxed);
    assert!(matches!(world.registry.create(world.now, &other, endpoint), Err(CreateError::Store(_))));
    let deleted = world.registry.delete_group(world.now, &delete);
    assert!(matches!(deleted, Err(OwnerError::Lookup(LookupError::Store(StoreError::Unavailable(_))))), "{deleted:?}");
    let joined = world.join(&group, &bob(), None);
    assert!(matches!(joined, Err(JoinError::Lookup(LookupError::Store(_)))), "{joined:?}");
    let registered = world.register_from(RelayId([8; 16]), gaung_proto::pb::registry::ServiceKind::Hub, true, None);
    assert!(matches!(registered, Err(RegisterError::Store(_))), "{registered:?}");
    assert_eq!(world.stored(&group), group);
    assert!(world.registry.group(&GroupBy::Name("other".parse().unwrap())).is_err());
    assert_eq!(world.registry.members(world.now, group.id).unwrap().len(), 1, "the owner");
    assert_eq!(world.registry.services(world.now).len(), 1);
    assert_eq!(self::revision(&world), revision, "no watcher was told");
    assert_eq!(store.load().unwrap(), records);

    store.is_broken.store(false, Ordering::Relaxed);
    let made = world.registry.create(world.now, &other, endpoint).unwrap();
    assert_eq!(made.addr.ip(), endpoint.ip, "the address was not used up");
    world.join(&group, &bob(), None).unwrap();
    world.registry.delete_group(world.now, &delete).expect("the nonce was not used up");
    world.restart();
    assert_eq!(world.stored(&made), made);
    assert!(world.registry.group(&GroupBy::Id(group.id)).is_err());
}

/// The revision that a new watcher gets.
fn revision(world: &World) -> u64 {
    let snapshot = world.registry.watch(None, 1);
    let WatchStep::Snapshot { revision, .. } = snapshot else { panic!("{snapshot:?}") };
    revision
}
