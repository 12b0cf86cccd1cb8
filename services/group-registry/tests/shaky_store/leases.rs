//! Two registries let leases lapse and give groups addresses again, at once and over a shaky store.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use gaung_log::{MemoryKv, kv::Kv};
use gaung_proto::{GroupId, RelayId, Scope, pb::registry as pb};
use group_registry::{
    address::{Low23, Pool},
    book::{Pair, Pools, QUARANTINE},
    create::CreateSpec,
    lease::ADDRESS_LEASE,
    now::Now,
    records::Group,
    regain::RegainError,
    registry::Registry,
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use super::{shaky_kv::ShakyKv, spec};

const SEEDS: u64 = 120;
const STEPS: usize = 60;
const ADDRESSES: usize = 16;
const RELAYS: [RelayId; 3] = [RelayId([1; 16]), RelayId([2; 16]), RelayId([3; 16])];
/// An operator's, which several groups fight for.
const OWN: [u8; 4] = [239, 1, 2, 3];

/// Time as all of it sees it, and who ever had which address under which generation.
struct World {
    began: Instant,
    seconds: AtomicU64,
    given: Mutex<HashMap<(Low23, u32), GroupId>>,
    seed: u64,
}

impl World {
    fn now(&self) -> Now {
        let seconds = self.seconds.load(Ordering::Relaxed);
        Now { mono: self.began + Duration::from_secs(seconds), unix_ms: 1_800_000_000_000 + seconds as i64 * 1000 }
    }

    fn pass(&self, time: Duration) {
        self.seconds.fetch_add(time.as_secs(), Ordering::Relaxed);
    }

    fn note(&self, group: &Group) {
        let place = (Low23::of(group.addr.ip()), group.generation.0);
        let before = self.given.lock().unwrap().insert(place, group.id);
        assert!(before.is_none_or(|before| before == group.id), "{place:?} was given twice, seed {}", self.seed);
    }

    fn step(&self, registry: &Registry, rng: &mut SmallRng) {
        match rng.random_range(0..10) {
            0 => self.pass(Duration::from_secs(rng.random_range(1..=QUARANTINE.as_secs()))),
            1 => self.pass(ADDRESS_LEASE),
            2 | 3 => drop(registry.expire(self.now())),
            4 => drop(registry.reconcile(self.now(), false)),
            5 => self.create(registry, rng),
            6 => drop(register(registry, self.now(), RELAYS[rng.random_range(0..RELAYS.len())])),
            _ => self.regain(registry),
        }
    }

    fn create(&self, registry: &Registry, rng: &mut SmallRng) {
        let now = self.now();
        let name = format!("g{}", rng.random_range(0..12));
        let own = rng.random_bool(0.3).then_some(OWN.into());
        let spec = CreateSpec { address: own, ..spec(rng.random(), &name) };
        let lent = match own {
            Some(ip) => registry.book().pick_port(ip),
            None => registry.book().pick(Scope::Site, now.mono),
        };
        let Ok(lent) = lent else { return };
        if let Ok(group) = registry.create(now, &spec, lent) {
            self.note(&group);
        }
        registry.book().give_back(lent);
    }

    fn regain(&self, registry: &Registry) {
        for group in registry.lapsed_and_back(self.now()) {
            if let Ok(Some(group)) = self.regain_one(registry, &group) {
                self.note(&group);
            }
        }
    }

    fn regain_one(&self, registry: &Registry, group: &Group) -> Result<Option<Group>, RegainError> {
        let now = self.now();
        if let Some(group) = registry.regain_own(now, group.id)? {
            return Ok(Some(group));
        }
        let lent: Pair = registry.book().pick(group.scope, now.mono)?;
        let regained = registry.regain(now, group.id, lent);
        registry.book().give_back(lent);
        match regained {
            Ok(group) => Ok(Some(group)),
            Err(RegainError::PairTaken) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn pools() -> Pools {
    let site = Pool::new("239.255.10.0/28".parse().unwrap()).unwrap();
    Pools { site, organization: Pool::organization() }
}

fn register(registry: &Registry, now: Now, relay: RelayId) -> bool {
    let kind = pb::ServiceKind::Relay.into();
    let info = pb::ServiceInfo { kind, service_id: relay.into(), durable: true, ..Default::default() };
    registry.register_service(now, relay, info, None).is_ok()
}

fn run(seed: u64) -> usize {
    let mut rng = SmallRng::seed_from_u64(seed);
    let inner = Arc::new(MemoryKv::new());
    let world = World { began: Instant::now(), seconds: AtomicU64::new(0), given: Mutex::default(), seed };
    std::thread::scope(|scope| {
        for _registry in 0..2 {
            let mut rng = SmallRng::seed_from_u64(rng.random());
            let (inner, world) = (&inner, &world);
            scope.spawn(move || {
                // Each dies now and then, and another starts in its place.
                for life in [Some(rng.random_range(20..200)), Some(rng.random_range(20..200)), None] {
                    let kv = ShakyKv::new(Arc::clone(inner), rng.random(), life);
                    if let Ok(registry) = Registry::open(Arc::clone(&kv) as Arc<dyn Kv>, pools(), world.now()) {
                        for _ in 0..STEPS {
                            world.step(&registry, &mut rng);
                        }
                    }
                    kv.deliver_late_writes();
                }
            });
        }
    });
    judge(&world, &inner)
}

/// How many groups got another address at some time.
fn judge(world: &World, inner: &Arc<MemoryKv>) -> usize {
    let seed = world.seed;
    let registry = Registry::open(Arc::clone(inner) as Arc<dyn Kv>, pools(), world.now()).unwrap();
    let (groups, _) = registry.groups(None, 10_000).unwrap();
    let held: Vec<_> = groups.iter().filter(|group| !group.lapsed).collect();
    let unique = |what: &str, count: usize| assert_eq!(count, held.len(), "{what} not unique, seed {seed}");
    unique("low 23 bits", held.iter().map(|g| Low23::of(g.addr.ip())).collect::<HashSet<_>>().len());
    unique("ports", held.iter().map(|g| g.addr.port()).collect::<HashSet<_>>().len());
    let count = |prefix: &[u8]| inner.scan(prefix, None, 10_000).unwrap().len();
    assert_eq!(count(b"p/"), held.len(), "claims on ports are left over or missing, seed {seed}");
    assert_eq!(count(b"n/"), groups.len(), "claims on names are left over, seed {seed}");

    // When everything has rested, what nobody has is free, and every lapsed group gets an address.
    world.pass(QUARANTINE);
    let pooled = held.iter().filter(|group| group.addr.ip().octets()[..3] == [239, 255, 10]).count();
    let free = |registry: &Registry| {
        let picked: Vec<_> =
            std::iter::from_fn(|| registry.book().pick(Scope::Site, world.now().mono).ok()).take(100).collect();
        picked.iter().for_each(|pair| registry.book().give_back(*pair));
        picked.len()
    };
    assert_eq!(free(&registry), ADDRESSES - pooled, "addresses are lost, seed {seed}");
    for relay in RELAYS {
        assert!(register(&registry, world.now(), relay));
    }
    world.regain(&registry);
    let (groups, _) = registry.groups(None, 10_000).unwrap();
    assert!(groups.iter().all(|group| !group.lapsed), "seed {seed}");
    let addresses: HashSet<_> = groups.iter().map(|group| Low23::of(group.addr.ip())).collect();
    assert_eq!(addresses.len(), groups.len(), "seed {seed}");
    let given = world.given.lock().unwrap();
    let ever: HashSet<_> = given.values().collect();
    given.len() - ever.len()
}

#[test]
fn no_address_is_two_groups_at_once_and_none_is_lost() {
    let moved: usize = (0..SEEDS).map(run).sum();
    assert!(moved > 100, "only {moved} groups ever got another address");
}
