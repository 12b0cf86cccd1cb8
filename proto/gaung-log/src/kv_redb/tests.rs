#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    sync::{MutexGuard, atomic::AtomicU64, atomic::Ordering::SeqCst},
};

use redb::StorageBackend;

use super::*;

#[test]
fn keeps_the_contract_and_its_keys() {
    let dir = tempfile::tempdir().unwrap();
    let kv = RedbKv::open(dir.path(), "test.redb").unwrap();
    crate::kv::contract::check(&kv);
    let before = kv.scan(b"", None, 1000).unwrap();
    drop(kv);
    let kv = RedbKv::open(dir.path(), "test.redb").unwrap();
    assert_eq!(kv.scan(b"", None, 1000).unwrap(), before);
    let last = before.iter().map(|item| item.entry.version).max().unwrap();
    assert!(kv.write_one(Write::create("later", "x")).unwrap() > last);
}

#[test]
fn a_held_file_a_newer_format_and_foreign_bytes_each_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let kv = RedbKv::open(dir.path(), "test.redb").unwrap();
    let error = RedbKv::open(dir.path(), "test.redb").unwrap_err();
    assert!(matches!(error, KvOpenError::Held(_)) && error.to_string().contains("--data"), "{error}");
    drop(kv);

    let db = Database::create(dir.path().join("test.redb")).unwrap();
    let transaction = db.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert(FORMAT_KEY, 99).unwrap();
    transaction.commit().unwrap();
    drop(db);
    let error = RedbKv::open(dir.path(), "test.redb").unwrap_err();
    assert!(matches!(error, KvOpenError::NewerFormat { found: 99, .. }), "{error}");

    fs::write(dir.path().join("other.redb"), "these are no pages of a store").unwrap();
    let error = RedbKv::open(dir.path(), "other.redb").unwrap_err();
    assert!(matches!(error, KvOpenError::Damaged { .. }), "{error}");
}

#[test]
fn a_making_that_was_cut_short_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(format!("test.new-{}", std::process::id())), "half a header").unwrap();
    let kv = RedbKv::open(dir.path(), "test.redb").unwrap();
    kv.write_one(Write::create("k", "v")).unwrap();
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["test.redb"]);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = RedbKv::open(&file.join("data"), "test.redb").unwrap_err();
    assert!(matches!(error, KvOpenError::Folder { .. }) && error.to_string().contains("--data"), "{error}");
}

/// The power goes at each write and at each sync of the disk in turn: what was answered with `Ok` is there afterwards.
#[test]
fn nothing_acknowledged_is_lost_at_any_cut() {
    let whole = run_until_cut(u64::MAX, 0);
    assert!(whole.steps > 50, "{} steps", whole.steps);
    for cut in 1..=whole.steps {
        for seed in 0..3 {
            let run = run_until_cut(cut, seed);
            run.disk.power_on(seed);
            let kv = run.disk.open();
            for (key, value) in &run.acknowledged {
                let found = kv.get(key.as_bytes()).unwrap().map(|e| e.value);
                assert_eq!(found.as_ref(), Some(value), "{key} after a cut at {cut}, seed {seed}");
            }
        }
    }
}

#[test]
fn a_failed_sync_is_ambiguous_and_the_store_goes_on() {
    let disk = Disk::new();
    let kv = disk.open();
    kv.write_one(Write::create("a", "1")).unwrap();
    disk.fail_next_sync();
    assert!(matches!(kv.write_one(Write::create("b", "1")), Err(WriteError::Ambiguous(_) | WriteError::Failed(_))));
    assert_eq!(kv.get(b"a").unwrap().unwrap().value, "1");
    if kv.get(b"b").unwrap().is_none() {
        kv.write_one(Write::create("b", "1")).unwrap();
    }
    kv.write_one(Write::create("c", "1")).unwrap();
    assert_eq!(kv.scan(b"", None, 10).unwrap().len(), 3);
}

struct Run {
    disk: Disk,
    acknowledged: BTreeMap<String, Bytes>,
    steps: u64,
}

fn run_until_cut(cut: u64, seed: u64) -> Run {
    let disk = Disk::new();
    let kv = disk.open();
    disk.steps.store(0, SeqCst);
    disk.cut_at(cut);
    let mut acknowledged = BTreeMap::new();
    for n in 0..12u64 {
        let value = Bytes::from(format!("{seed} {n} {}", "x".repeat(700)));
        let key = format!("k{n}");
        if kv.write_one(Write::create(key.as_str(), value.clone())).is_ok() {
            acknowledged.insert(key, value);
        }
    }
    drop(kv);
    let steps = disk.steps.load(SeqCst);
    Run { disk, acknowledged, steps }
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
    fail_sync: bool,
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

    fn open(&self) -> RedbKv {
        RedbKv::open_with(PathBuf::from("disk"), self.opener()).unwrap()
    }

    fn cut_at(&self, step: u64) {
        self.state().cut_at = Some(step);
    }

    fn fail_next_sync(&self) {
        self.state().fail_sync = true;
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
        if state.is_cut { Err(io::Error::other("the power is off")) } else { Ok(state) }
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
        if std::mem::take(&mut state.fail_sync) {
            return Err(io::Error::other("the disk did not sync"));
        }
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
