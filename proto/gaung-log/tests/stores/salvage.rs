//! Salvaging damaged logs: what is whole is in the copy as it was, what is not is named, and the old log stays as it is.
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use crate::Store;
use crate::fault::model::{LOG, append, group, one, run};
use bytes::Bytes;
use gaung_log::{
    AppendError, DiskOptions, Log, RECORD_HEADER, ReadError, SalvageError, Salvaged, SalvagedGroup, salvage,
};
use gaung_proto::{GroupId, LogId, Seq, run::Run};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tempfile::TempDir;

const GROUPS: u8 = 3;

/// A log of several files, and every run in it.
struct Filled {
    dir: TempDir,
    runs: HashMap<(GroupId, Seq), Run>,
    heads: HashMap<GroupId, Seq>,
}

fn open(path: &Path) -> Store {
    let options = DiskOptions { file_bytes: crate::FILE_BYTES, clock: || 1, ..DiskOptions::default() };
    Store::open(path, options).unwrap()
}

fn filled() -> Filled {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let mut runs = HashMap::new();
    for n in 1..=GROUPS {
        log.open_group(group(n), LOG, true).unwrap();
        log.put_config(group(n), Bytes::from(vec![n])).unwrap();
    }
    for round in 0..15u64 {
        for n in 1..=GROUPS {
            let position = log.position(group(n)).unwrap();
            let (base, len) = (position.head.next(), if round % 3 == 0 { 60_000 } else { 400 });
            let sent = run(group(n), LOG, position.epoch, base, 1 + round % 3, base.0, len);
            runs.insert((group(n), base), sent.clone());
            append(&log, one(sent, None)).unwrap();
        }
    }
    let heads = (1..=GROUPS).map(|n| (group(n), log.position(group(n)).unwrap().head)).collect();
    assert!(log.figures().files >= 3);
    Filled { dir, runs, heads }
}

impl Filled {
    fn log_files(&self) -> Vec<PathBuf> {
        log_files(self.dir.path())
    }

    fn copy(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        for file in self.log_files() {
            fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
        }
        copy
    }

    /// Where a run lies in which file.
    fn find(&self, group: GroupId, base: Seq) -> (PathBuf, usize) {
        let run = self.runs[&(group, base)].as_bytes();
        let found = self.log_files().into_iter().find_map(|file| {
            let bytes = fs::read(&file).unwrap();
            let at = bytes.windows(run.len()).position(|window| window == &run[..])?;
            Some((file, at))
        });
        found.unwrap()
    }

    /// What is in the copy is as it was, and every message is either there or named as missing.
    fn check(&self, to: &Path, salvaged: &Salvaged, seed: u64) {
        let log = open(to);
        for told in &salvaged.groups {
            let head = self.heads[&told.group];
            assert_eq!(log.position(told.group).unwrap().head, told.head, "seed {seed}");
            let there = self.read(&log, told, seed);
            assert_eq!(there.len() as u64, told.messages, "seed {seed}: {told:?}");
            let missing: HashSet<u64> = told.missing.iter().flat_map(|m| m.range.first.0..=m.range.last.0).collect();
            assert!(missing.is_disjoint(&there), "seed {seed}: {told:?}");
            let known_end = if told.whole_to_end { head } else { told.head };
            assert!(
                (1..=known_end.0).all(|seq| there.contains(&seq) || missing.contains(&seq)),
                "seed {seed}: {told:?}"
            );
            assert!(told.missing.iter().all(|missing| !missing.why.is_empty()));
        }
    }

    fn read(&self, log: &Store, told: &SalvagedGroup, seed: u64) -> HashSet<u64> {
        let mut there = HashSet::new();
        let mut next = Seq::FIRST;
        while next <= told.head {
            match log.read(told.group, LOG, next, 1 << 20) {
                Ok(runs) => {
                    assert!(!runs.is_empty(), "seed {seed}");
                    for run in runs {
                        let sent = &self.runs[&(told.group, run.first_seq())];
                        assert_eq!(run.as_bytes(), sent.as_bytes(), "seed {seed}: byte by byte");
                        there.extend(run.first_seq().0..=run.last_seq().0);
                        next = run.last_seq().next();
                    }
                }
                Err(ReadError::Damaged { missing }) => next = missing.last.next(),
                Err(ReadError::Trimmed { oldest }) => next = oldest,
                Err(error) => panic!("seed {seed}: {error}"),
            }
        }
        there
    }
}

fn log_files(path: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = names.filter(|path| path.to_string_lossy().contains("log-")).collect();
    files.sort();
    files
}

fn contents(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    log_files(path).into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect()
}

fn salvaged(from: &Path) -> (TempDir, Salvaged) {
    let to = tempfile::tempdir().unwrap();
    let salvaged = salvage(from, &to.path().join("new")).unwrap();
    (to, salvaged)
}

#[test]
fn a_whole_log_is_copied_whole_and_goes_on() {
    let filled = filled();
    let before = contents(filled.dir.path());
    let (to, told) = salvaged(filled.dir.path());
    let new = to.path().join("new");
    assert_eq!(contents(filled.dir.path()), before, "the old log is not touched");
    assert_eq!(told.groups.len(), usize::from(GROUPS));
    for told in &told.groups {
        assert_eq!((told.runs, told.head), (15, filled.heads[&told.group]));
        assert!(told.whole_to_end && told.missing.is_empty() && told.of_earlier_logs == 0, "{told:?}");
        assert_eq!(told.config[..], told.group.as_bytes()[..1]);
    }
    assert!(told.files.iter().all(|file| file.fault.is_none() && file.found == 0), "{:?}", told.files);
    filled.check(&new, &told, 0);
    let log = open(&new);
    let opened = log.open_group(group(1), LOG, false).unwrap();
    assert_eq!((opened.oldest, opened.head, opened.tail_lost), (Seq(1), filled.heads[&group(1)], false));
    append(&log, one(run(group(1), LOG, opened.epoch, opened.head.next(), 1, 99, 10), None)).unwrap();
}

#[test]
fn flipped_bits_anywhere_cost_what_they_hit_and_are_told() {
    let filled = filled();
    let mut rescued = 0;
    let mut lost = 0;
    for seed in 0..12 {
        let mut rng = StdRng::seed_from_u64(seed);
        let damaged = filled.copy();
        let files = log_files(damaged.path());
        for _ in 0..rng.random_range(1..200) {
            let file = &files[rng.random_range(0..files.len())];
            let mut bytes = fs::read(file).unwrap();
            let at = rng.random_range(0..bytes.len());
            bytes[at] ^= 1 << rng.random_range(0..8);
            fs::write(file, bytes).unwrap();
        }
        eprintln!("seed {seed}");
        let (to, told) = salvaged(damaged.path());
        filled.check(&to.path().join("new"), &told, seed);
        rescued += told.files.iter().map(|file| file.found).sum::<u64>();
        lost += told.groups.iter().map(|group| group.missing.len()).sum::<usize>();
    }
    assert!(rescued > 10 && lost > 10, "rescued {rescued}, lost {lost}");
}

#[test]
fn a_damaged_record_is_missing_alone_and_said_to_be() {
    let filled = filled();
    let (file, at) = filled.find(group(2), Seq(4));
    let mut bytes = fs::read(&file).unwrap();
    bytes[at + 100] ^= 4;
    fs::write(&file, bytes).unwrap();
    let (to, told) = salvaged(filled.dir.path());
    filled.check(&to.path().join("new"), &told, 0);
    let hit = told.groups.iter().find(|told| told.group == group(2)).unwrap();
    let last = filled.runs[&(group(2), Seq(4))].last_seq();
    assert_eq!((hit.missing.len(), hit.missing[0].range.first, hit.missing[0].range.last), (1, Seq(4), last));
    assert!(
        hit.missing[0].why.contains("CRC")
            && hit.missing[0].why.contains(&*file.file_name().unwrap().to_string_lossy()),
        "{:?}",
        hit.missing
    );
    assert!(hit.whole_to_end, "what comes after it is there");
    assert!(told.groups.iter().filter(|told| told.group != group(2)).all(|told| told.missing.is_empty()));
}

#[test]
fn a_file_that_the_store_cannot_open_gives_its_records_all_the_same() {
    let filled = filled();
    let files = filled.log_files();
    for file in [&files[0], files.last().unwrap()] {
        let mut bytes = fs::read(file).unwrap();
        bytes[..4096].fill(0xaa);
        fs::write(file, bytes).unwrap();
    }
    let (to, told) = salvaged(filled.dir.path());
    filled.check(&to.path().join("new"), &told, 0);
    let broken: Vec<_> = told.files.iter().filter(|file| file.fault.is_some()).collect();
    assert_eq!(broken.len(), 2);
    assert!(broken.iter().all(|file| file.read == 0 && file.found > 0), "{broken:?}");
    for told in &told.groups {
        assert_eq!((told.runs, told.missing.len()), (15, 0), "{told:?}");
        assert!(!told.whole_to_end, "nothing says where the log ended");
    }
    let log = open(&to.path().join("new"));
    let opened = log.open_group(group(1), LOG, false).unwrap();
    assert!(opened.tail_lost);
    let sent = run(group(1), LOG, opened.epoch, opened.head.next(), 1, 99, 10);
    assert!(matches!(append(&log, one(sent, None)), Err(AppendError::TailLost { .. })));
}

#[test]
fn what_was_set_aside_with_the_tail_comes_back() {
    let filled = filled();
    let newest = filled.log_files().pop().unwrap();
    let whole = fs::read(&newest).unwrap();
    let mut bytes = whole.clone();
    bytes[..4096].fill(0xaa);
    fs::write(&newest, bytes).unwrap();
    drop(open(filled.dir.path()));
    let aside = PathBuf::from(format!("{}.damaged", newest.display()));
    assert!(aside.exists(), "the log set it aside, and lost its tail");
    // A person had a copy of the broken first page.
    fs::write(&aside, whole).unwrap();
    let (to, told) = salvaged(filled.dir.path());
    filled.check(&to.path().join("new"), &told, 0);
    assert!(told.groups.iter().all(|told| told.whole_to_end && told.missing.is_empty()), "{:?}", told.groups);

    let (_to, alone) = salvaged(&aside);
    assert_eq!(alone.files.len(), 1);
    assert!(alone.groups.iter().all(|told| told.runs > 0 && told.whole_to_end), "{:?}", alone.groups);
}

#[test]
fn the_latest_log_of_a_group_is_copied_and_purged_groups_are_not() {
    let filled = filled();
    let log = open(filled.dir.path());
    let opened = log.reset(group(1), LogId(5)).unwrap();
    append(&log, one(run(group(1), LogId(5), opened.epoch, Seq(1), 2, 1, 10), None)).unwrap();
    log.delete_group(group(2), 1).unwrap();
    log.purge(u64::MAX).unwrap();
    drop(log);
    let (to, told) = salvaged(filled.dir.path());
    let groups: Vec<_> = told.groups.iter().map(|told| (told.group, told.log, told.messages)).collect();
    assert_eq!(groups, [(group(1), LogId(5), 2), (group(3), LOG, filled.heads[&group(3)].0)]);
    assert!(told.groups[0].of_earlier_logs > 0 && told.groups[0].missing.is_empty(), "{:?}", told.groups[0]);
    assert!(open(&to.path().join("new")).position(group(2)).is_none());
}

#[test]
fn each_refusal_says_what_to_do() {
    let filled = filled();
    let to = tempfile::tempdir().unwrap();
    let new = to.path().join("new");
    let error = |from: &Path, to: &Path| salvage(from, to).unwrap_err();

    let log = open(filled.dir.path());
    let held = error(filled.dir.path(), &new);
    assert!(held.to_string().contains(&format!("held by another process (pid {})", std::process::id())), "{held}");
    drop(log);
    assert!(matches!(error(&to.path().join("gone"), &new), SalvageError::NotThere(_)));
    fs::write(to.path().join("mine"), "mine").unwrap();
    assert!(matches!(error(filled.dir.path(), to.path()), SalvageError::NotEmpty(_)));
    assert!(matches!(error(filled.dir.path(), &to.path().join("mine")), SalvageError::NotEmpty(_)));
    let parent = tempfile::tempdir().unwrap();
    drop(open(&parent.path().join("relay/log")));
    let elsewhere = error(parent.path(), &new);
    assert!(matches!(elsewhere, SalvageError::NoLog { .. }) && elsewhere.to_string().contains("relay/log"));
    assert!(matches!(error(&parent.path().join("relay/log"), &new), SalvageError::Nothing(_)));
    let rubbish = parent.path().join(format!("{}.damaged", crate::file_name(1)));
    fs::write(&rubbish, vec![7; 20_000]).unwrap();
    assert!(matches!(error(&rubbish, &new), SalvageError::Nothing(_)));

    let newest = filled.log_files().pop().unwrap();
    crate::make_newer(&newest);
    let newer = error(filled.dir.path(), &new);
    assert!(matches!(newer, SalvageError::NewerFormat { found, supported, .. } if found == supported + 1), "{newer}");
    assert!(!new.exists(), "a refusal leaves nothing behind");
}

/// A payload may hold what looks like a record; a record is believed where it lies by itself.
#[test]
fn a_record_within_a_message_is_not_one() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let opened = log.open_group(group(1), LOG, true).unwrap();
    let other = tempfile::tempdir().unwrap();
    let forger = open(other.path());
    forger.open_group(group(1), LOG, true).unwrap();
    let forged = run(group(1), LOG, opened.epoch, Seq(1), 9, 1, 30);
    append(&forger, one(forged.clone(), None)).unwrap();
    drop(forger);
    let bytes = fs::read(&log_files(other.path())[0]).unwrap();
    let at = bytes.windows(forged.as_bytes().len()).position(|window| window == &forged.as_bytes()[..]).unwrap();
    let record = &bytes[at - RECORD_HEADER..at + forged.as_bytes().len()];
    let carrier = crate::fault::model::run_of(group(1), LOG, opened.epoch, Seq(1), record);
    append(&log, one(carrier, None)).unwrap();
    drop(log);
    let file = &log_files(dir.path())[0];
    let mut bytes = fs::read(file).unwrap();
    bytes[..4096].fill(0);
    fs::write(file, bytes).unwrap();
    let (_to, told) = salvaged(dir.path());
    assert_eq!((told.groups[0].runs, told.groups[0].messages), (1, 1), "{:?}", told.groups);
}
