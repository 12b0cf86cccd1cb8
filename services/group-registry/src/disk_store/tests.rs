#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    sync::{Arc, MutexGuard, atomic::AtomicU64, atomic::Ordering::SeqCst},
};

use redb::StorageBackend;

use super::*;

fn put(key: &str, value: &str) -> KeyChange {
    (key.as_bytes().to_vec(), Some(Bytes::copy_from_slice(value.as_bytes())))
}

fn remove(key: &str) -> KeyChange {
    (key.as_bytes().to_vec(), None)
}

/// Everything in the store, as text.
fn contents(store: &DiskStore) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    store.load().unwrap().into_iter().map(|(key, value)| (text(&key), text(&value))).collect()
}

fn map<const N: usize>(entries: [(&str, &str); N]) -> BTreeMap<String, String> {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn keeps_what_was_committed() {
    let dir = tempfile::tempdir().unwrap();
    let store = DiskStore::open(dir.path(), "test.redb").unwrap();
    store.commit(&[put("b", "1"), put("a", "1"), put("c", "1")]).unwrap();
    store.commit(&[put("a", "2"), remove("b"), remove("never")]).unwrap();
    drop(store);
    let store = DiskStore::open(dir.path(), "test.redb").unwrap();
    assert_eq!(contents(&store), map([("a", "2"), ("c", "1")]));
    let keys: Vec<_> = store.load().unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [b"a", b"c"], "in order");
}

#[test]
fn a_held_file_a_newer_format_and_foreign_bytes_each_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let store = DiskStore::open(dir.path(), "test.redb").unwrap();
    let error = DiskStore::open(dir.path(), "test.redb").unwrap_err();
    assert!(matches!(error, OpenStoreError::Held(_)) && error.to_string().contains("--data"), "{error}");
    drop(store);

    let db = Database::create(dir.path().join("test.redb")).unwrap();
    let transaction = db.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert(FORMAT_KEY, 99).unwrap();
    transaction.commit().unwrap();
    drop(db);
    let error = DiskStore::open(dir.path(), "test.redb").unwrap_err();
    assert!(matches!(error, OpenStoreError::NewerFormat { found: 99, .. }), "{error}");

    fs::write(dir.path().join("other.redb"), "these are no pages of a store").unwrap();
    let error = DiskStore::open(dir.path(), "other.redb").unwrap_err();
    assert!(matches!(error, OpenStoreError::Damaged { .. }), "{error}");
}

#[test]
fn a_making_that_was_cut_short_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(format!("test.new-{}", std::process::id())), "half a header").unwrap();
    let store = DiskStore::open(dir.path(), "test.redb").unwrap();
    store.commit(&[put("k", "v")]).unwrap();
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["test.redb"]);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = DiskStore::open(&file.join("data"), "test.redb").unwrap_err();
    assert!(matches!(error, OpenStoreError::Folder { .. }) && error.to_string().contains("--data"), "{error}");
}

/// The power goes at each write and at each sync of the disk in turn: each commit is there whole or not at all, and what
/// was answered with `Ok` is there.
#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_half_done_at_any_cut() {
    let whole = run_until_cut(u64::MAX, 0);
    assert!(whole.steps > 50, "{} steps", whole.steps);
    for cut in 1..=whole.steps {
        for seed in 0..3 {
            let run = run_until_cut(cut, seed);
            run.disk.power_on(seed);
            let found = contents(&run.disk.open());
            let [left, right] = ["left", "right"].map(|key| found.get(key).map_or(0, |value| number(value)));
            assert_eq!(left, right, "half a commit after a cut at {cut}, seed {seed}");
            let acknowledged = run.acknowledged..=run.acknowledged + 1;
            assert!(acknowledged.contains(&left), "{left} of {acknowledged:?} after a cut at {cut}, seed {seed}");
        }
    }
}

/// The disk fails at each write and at each sync in turn, and is well again after that: the commit that failed did not
/// happen, whatever of it was on the disk, and the next one works.
#[test]
fn a_commit_that_fails_did_not_happen_and_the_next_works() {
    for step in 1.. {
        let disk = Disk::new();
        let store = disk.open();
        store.commit(&[put("kept", "1"), put("changed", "1"), put("removed", "1")]).unwrap();
        disk.steps.store(0, SeqCst);
        disk.fail_at(step);
        let change = [put("changed", "2"), put("made", "2"), remove("removed")];
        if store.commit(&change).is_ok() {
            assert!(step > 3, "only the steps before {step} can fail");
            return;
        }
        let before = map([("changed", "1"), ("kept", "1"), ("removed", "1")]);
        assert_eq!(contents(&store), before, "failed at step {step}");
        store.commit(&[put("next", "3")]).unwrap();
        drop(store);
        let found = contents(&disk.open());
        let next = map([("changed", "1"), ("kept", "1"), ("next", "3"), ("removed", "1")]);
        assert_eq!(found, next, "after a restart, failed at step {step}");
    }
}

#[test]
fn a_disk_that_stays_broken_refuses_everything_until_it_is_well() {
    let disk = Disk::new();
    let store = disk.open();
    store.commit(&[put("a", "1")]).unwrap();
    disk.break_it(true);
    for n in 0..3 {
        let refused = store.commit(&[put("a", "2"), put("b", &n.to_string())]);
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    }
    disk.break_it(false);
    store.commit(&[put("c", "3")]).unwrap();
    assert_eq!(contents(&store), map([("a", "1"), ("c", "3")]));
}

struct Run {
    disk: Disk,
    /// The number of the last commit that was answered with `Ok`.
    acknowledged: u64,
    steps: u64,
}

fn run_until_cut(cut: u64, seed: u64) -> Run {
    let disk = Disk::new();
    let store = disk.open();
    disk.steps.store(0, SeqCst);
    disk.cut_at(cut);
    let mut acknowledged = 0;
    for n in 1..=12u64 {
        let value = format!("{n} {seed} {}", "x".repeat(700));
        if store.commit(&[put("left", &value), put(&format!("k{n}"), &value), put("right", &value)]).is_ok() {
            acknowledged = n;
        }
    }
    drop(store);
    let steps = disk.steps.load(SeqCst);
    Run { disk, acknowledged, steps }
}

fn number(value: &str) -> u64 {
    value.split_once(' ').unwrap().0.parse().unwrap()
}

/// A disk with a volatile cache: a cut drops or tears what was written since the last sync.
#[derive(Debug, Clone)]
struct Disk {
    state: Arc<Mutex<DiskState>>,
    steps: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct DiskState {
    synced: Vec<u8>,
    seen: Vec<u8>,
    unsynced: Vec<Unsynced>,
    cut_at: Option<u64>,
    is_cut: bool,
    fail_at: Option<u64>,
    is_broken: bool,
}

#[derive(Debug)]
enum Unsynced {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

impl Disk {
    fn new() -> Self {
        Self { state: Arc::default(), steps: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, DiskState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opener(&self) -> Opener {
        let disk = self.clone();
        Box::new(move || Builder::new().create_with_backend(disk.clone()))
    }

    fn open(&self) -> DiskStore {
        DiskStore::open_with(PathBuf::from("disk"), self.opener()).unwrap()
    }

    fn cut_at(&self, step: u64) {
        self.state().cut_at = Some(step);
    }

    fn fail_at(&self, step: u64) {
        self.state().fail_at = Some(step);
    }

    fn break_it(&self, is_broken: bool) {
        self.state().is_broken = is_broken;
    }

    /// After a cut: each unsynced write reached the disk whole, in its first half, or not at all.
    fn power_on(&self, seed: u64) {
        let mut state = self.state();
        let unsynced = std::mem::take(&mut state.unsynced);
        let mut image = std::mem::take(&mut state.synced);
        let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
        for write in unsynced {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match (write, (dice >> 33) % 3) {
                (Unsynced::Length(len), _) => image.resize(len, 0),
                (Unsynced::Bytes(..), 0) => {}
                (Unsynced::Bytes(at, bytes), whole) => {
                    let kept = if whole == 1 { bytes.len() } else { bytes.len() / 2 };
                    let end = (at + kept).min(image.len());
                    if at < end {
                        image[at..end].copy_from_slice(&bytes[..end - at]);
                    }
                }
            }
        }
        *state = DiskState { seen: image.clone(), synced: image, ..DiskState::default() };
    }

    fn step(&self) -> io::Result<MutexGuard<'_, DiskState>> {
        let step = self.steps.fetch_add(1, SeqCst) + 1;
        let mut state = self.state();
        state.is_cut |= state.cut_at.is_some_and(|cut| step >= cut);
        let fails = state.is_cut || state.is_broken || state.fail_at == Some(step);
        if fails { Err(io::Error::other("the disk fails")) } else { Ok(state) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        let at = usize::try_from(offset).unwrap();
        let bytes = state.seen.get(at..at + out.len()).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.step()?;
        let len = usize::try_from(len).unwrap();
        state.seen.resize(len, 0);
        state.unsynced.push(Unsynced::Length(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.step()?;
        state.synced = state.seen.clone();
        state.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.step()?;
        let at = usize::try_from(offset).unwrap();
        state.seen[at..at + data.len()].copy_from_slice(data);
        state.unsynced.push(Unsynced::Bytes(at, data.to_vec()));
        Ok(())
    }
}
