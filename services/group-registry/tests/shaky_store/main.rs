//! Two registries on one store whose outcomes are ambiguous, and which die in the middle: what was acknowledged stays,
//! nothing is given twice, and what was left half done is taken back.
#![allow(clippy::unwrap_used)]

mod leases;
mod shaky_kv;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use gaung_log::{MemoryKv, kv::Kv};
use gaung_proto::{DeviceId, GroupId, GroupName, GroupRetention, RelayId, Scope, pb::registry as pb};
use group_registry::{
    address::{self, Low23, Pool},
    book::Pools,
    create::{CreateError, CreateSpec},
    now::Now,
    records::{Group, RequestId},
    registry::{GroupBy, Registry},
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use shaky_kv::ShakyKv;

const SEEDS: u64 = 120;
const THREADS_EACH: u64 = 2;
const CREATES_EACH: u64 = 5;

fn pools() -> Pools {
    // Small, so that creates meet on addresses.
    Pools { site: Pool::new("239.255.10.0/26".parse().unwrap()).unwrap(), organization: Pool::organization() }
}

fn open(kv: &Arc<ShakyKv>) -> Option<Registry> {
    let registry = Registry::open(Arc::clone(kv) as Arc<dyn Kv>, pools(), Now::read()).ok()?;
    let info = pb::ServiceInfo {
        kind: pb::ServiceKind::Relay.into(),
        service_id: RelayId([7; 16]).into(),
        durable: true,
        ..Default::default()
    };
    registry.register_service(Now::read(), RelayId([7; 16]), info, None).ok()?;
    Some(registry)
}

fn open_somehow(inner: &Arc<MemoryKv>, rng: &mut SmallRng, life: Option<u32>) -> (Arc<ShakyKv>, Registry) {
    loop {
        let kv = ShakyKv::new(Arc::clone(inner), rng.random(), life);
        if let Some(registry) = open(&kv) {
            return (kv, registry);
        }
        kv.deliver_late_writes();
    }
}

fn spec(request: [u8; 16], name: &str) -> CreateSpec {
    CreateSpec {
        request: RequestId(request),
        name: name.parse().unwrap(),
        scope: Scope::Site,
        format: pb::Format::Proto,
        private: false,
        address: None,
        port: None,
        owner: DeviceId([1; 16]),
        owner_name: "ann".to_owned(),
        reserved: false,
        keep: GroupRetention::default(),
        made_from: None,
    }
}

/// What the service does around `Registry::create`.
fn create(registry: &Registry, spec: &CreateSpec) -> Result<Group, CreateError> {
    loop {
        let pair = registry.book().pick(spec.scope, Now::read().mono)?;
        let made = registry.create(Now::read(), spec, pair);
        registry.book().give_back(pair);
        if made != Err(CreateError::PairTaken) {
            return made;
        }
    }
}

/// Names that every thread wants, so that they fight, and some of their own.
fn name(thread: u64, n: u64) -> String {
    if n.is_multiple_of(2) { format!("shared-{n}") } else { format!("own-{thread}-{n}") }
}

fn run(seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let inner = Arc::new(MemoryKv::new());
    let acknowledged: Mutex<HashMap<[u8; 16], Group>> = Mutex::default();
    std::thread::scope(|scope| {
        for _instance in 0..2 {
            let mut rng = SmallRng::seed_from_u64(rng.random());
            let (inner, acknowledged) = (&inner, &acknowledged);
            scope.spawn(move || {
                // It dies somewhere in the middle, and another starts and is asked the same again.
                let life = rng.random_range(8..60);
                let (kv, registry) = open_somehow(inner, &mut rng, Some(life));
                creates(&registry, acknowledged, 1);
                kv.deliver_late_writes();
                let (kv, registry) = open_somehow(inner, &mut rng, None);
                creates(&registry, acknowledged, 20);
                kv.deliver_late_writes();
            });
        }
    });
    judge(seed, &inner, &acknowledged.into_inner().unwrap());
}

/// Both registries are asked for the same requests.
fn creates(registry: &Registry, acknowledged: &Mutex<HashMap<[u8; 16], Group>>, attempts: usize) {
    std::thread::scope(|scope| {
        for thread in 0..THREADS_EACH {
            scope.spawn(move || {
                for n in 0..CREATES_EACH {
                    let mut request = [0; 16];
                    request[..2].copy_from_slice(&[thread as u8, n as u8]);
                    let spec = spec(request, &name(thread, n));
                    for _ in 0..attempts {
                        match create(registry, &spec) {
                            Ok(group) => {
                                let before = acknowledged.lock().unwrap().insert(request, group.clone());
                                assert!(
                                    before.as_ref().is_none_or(|b| *b == group),
                                    "one request, two groups: {before:?} {group:?}"
                                );
                                break;
                            }
                            Err(CreateError::NameTaken(_)) => break,
                            Err(_) => std::thread::yield_now(),
                        }
                    }
                }
            });
        }
    });
}

fn judge(seed: u64, inner: &Arc<MemoryKv>, acknowledged: &HashMap<[u8; 16], Group>) {
    let registry = Registry::open(Arc::clone(inner) as Arc<dyn Kv>, pools(), Now::read()).unwrap();
    let (groups, _) = registry.groups(None, 10_000).unwrap();
    let unique = |what: &str, count: usize| assert_eq!(count, groups.len(), "{what} not unique, seed {seed}");
    unique("ids", groups.iter().map(|g| g.id).collect::<HashSet<GroupId>>().len());
    unique("names", groups.iter().map(|g| g.name.clone()).collect::<HashSet<GroupName>>().len());
    unique("low 23 bits", groups.iter().map(|g| Low23::of(g.addr.ip())).collect::<HashSet<_>>().len());
    unique("ports", groups.iter().map(|g| g.addr.port()).collect::<HashSet<_>>().len());
    for group in &groups {
        address::check(group.addr.ip()).unwrap_or_else(|e| panic!("{e}, seed {seed}"));
    }
    for (request, group) in acknowledged {
        assert_eq!(registry.group(&GroupBy::Id(group.id)).as_ref(), Ok(group), "seed {seed}");
        assert_eq!(registry.group(&GroupBy::Name(group.name.clone())).as_ref(), Ok(group), "seed {seed}");
        let again = create(&registry, &spec(*request, group.name.as_str()));
        assert_eq!(again.as_ref(), Ok(group), "a repeat, seed {seed}");
    }
    assert!(!acknowledged.is_empty(), "seed {seed}");
    let count = |prefix: &[u8]| inner.scan(prefix, None, 10_000).unwrap().len();
    assert_eq!(count(b"n/"), groups.len(), "claims on names are left over, seed {seed}");
    assert_eq!(count(b"p/"), groups.len(), "claims on ports are left over, seed {seed}");
    assert_eq!(count(b"r/"), groups.len(), "claims on requests are left over, seed {seed}");
    let free = std::iter::from_fn(|| registry.book().pick(Scope::Site, Now::read().mono).ok()).count();
    assert_eq!(free, 64 - groups.len(), "addresses are lost, seed {seed}");
}

#[test]
fn two_registries_with_ambiguous_outcomes_give_nothing_twice_and_lose_nothing() {
    for seed in 0..SEEDS {
        run(seed);
    }
}
