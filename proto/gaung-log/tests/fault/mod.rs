//! A disk that fails: it keeps what was not synced apart, and forgets or tears it when the power goes; its operations
//! can be made to fail; its bits can be flipped.
#![allow(dead_code)] // every test uses its part of it

pub mod model;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use gaung_log::Volume;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use redb::StorageBackend;

/// A folder of files in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct FaultyDisk(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    /// As the names are now.
    names: BTreeMap<String, usize>,
    /// As they would be found after a power cut.
    synced_names: BTreeMap<String, usize>,
    files: Vec<Content>,
    counts: Counts,
    plan: Plan,
    journal: Option<Vec<Op>>,
}

/// One operation that changed the disk.
#[derive(Debug, Clone)]
pub enum Op {
    Create(String),
    Write(usize, u64, Vec<u8>),
    Len(usize, u64),
    Sync(usize),
    Rename(String, String),
    Remove(String),
    SyncNames,
}

#[derive(Debug, Default, Clone)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Debug, Clone)]
enum Pending {
    Write(u64, Vec<u8>),
    Len(u64),
}

/// How many operations there were.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub writes: u64,
    pub syncs: u64,
}

/// What is to go wrong; counts are absolute, see [`Counts`].
#[derive(Debug, Default, Clone)]
pub struct Plan {
    /// Writes from here on fail.
    pub fail_writes_from: Option<u64>,
    /// Writes before this one succeed again.
    pub fail_writes_until: Option<u64>,
    /// What fails to be written is written in part, as far as a few bytes before its middle.
    pub short_writes: bool,
    /// Reads of this file fail.
    pub fail_reads_of: Option<String>,
    /// Syncs from here on fail, without syncing.
    pub fail_syncs_from: Option<u64>,
    /// Syncs from this one on succeed again.
    pub fail_syncs_until: Option<u64>,
    /// A failed sync also forgets what it should have synced, while it still shows it (as Linux does).
    pub failed_sync_forgets: bool,
    /// The error of what fails.
    pub error: Option<io::ErrorKind>,
    /// How long a sync takes.
    pub sync_takes: std::time::Duration,
}

impl FaultyDisk {
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    pub fn plan(&self, plan: Plan) {
        self.lock().plan = plan;
    }

    /// Writes down every operation from now on.
    pub fn record(&self) {
        self.lock().journal = Some(Vec::new());
    }

    /// How many operations were written down.
    pub fn recorded(&self) -> usize {
        self.lock().journal.as_ref().map_or(0, Vec::len)
    }

    pub fn journal(&self) -> Vec<Op> {
        self.lock().journal.clone().unwrap_or_default()
    }

    /// Does what was written down.
    pub fn replay(&self, op: &Op) {
        self.lock().apply(op.clone());
    }

    /// What is found when the power is back: everything synced, and of the rest a part that `seed` chooses: nothing,
    /// whole operations, or pages of them, in any order.
    pub fn after_power_cut(&self, seed: u64) -> Self {
        let disk = self.lock();
        let mut rng = StdRng::seed_from_u64(seed);
        let everything_lost = seed.is_multiple_of(3);
        let files = disk.files.iter().map(|file| file.torn(&mut rng, everything_lost)).collect();
        // Names that were not synced are there or not, each for itself.
        let mut names = disk.synced_names.clone();
        if !everything_lost && rng.random_bool(0.5) {
            names = disk.names.clone();
        }
        Self(Arc::new(Mutex::new(Disk { synced_names: names.clone(), names, files, ..Disk::default() })))
    }

    /// The same as it shows now, as after a kill of the process.
    pub fn after_kill(&self) -> Self {
        let disk = self.lock();
        let files =
            disk.files.iter().map(|file| Content { synced: file.now.clone(), pending: Vec::new(), ..file.clone() });
        let names = disk.names.clone();
        Self(Arc::new(Mutex::new(Disk {
            synced_names: names.clone(),
            names,
            files: files.collect(),
            ..Disk::default()
        })))
    }

    pub fn file_names(&self) -> Vec<String> {
        self.lock().names.keys().cloned().collect()
    }

    /// The files that are no journal.
    pub fn log_names(&self) -> Vec<String> {
        self.file_names().into_iter().filter(|name| name.starts_with("log-")).collect()
    }

    pub fn bytes_of(&self, name: &str) -> Vec<u8> {
        let disk = self.lock();
        disk.files[disk.names[name]].now.clone()
    }

    pub fn flip_bit(&self, name: &str, bit: usize) {
        let mut disk = self.lock();
        let file = disk.names[name];
        let file = &mut disk.files[file];
        file.now[bit / 8] ^= 1 << (bit % 8);
        file.synced = file.now.clone();
        file.pending.clear();
    }

    /// Cuts a file to `len` bytes.
    pub fn truncate(&self, name: &str, len: usize) {
        let mut disk = self.lock();
        let file = disk.names[name];
        let file = &mut disk.files[file];
        file.now.truncate(len);
        file.synced = file.now.clone();
        file.pending.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Content {
    /// Only what is still pending reaches the disk: what a failed sync forgot does not.
    fn sync(&mut self) {
        for pending in self.pending.drain(..) {
            match pending {
                Pending::Len(len) => self.synced.resize(len as usize, 0),
                Pending::Write(offset, data) => {
                    let end = offset as usize + data.len();
                    if self.synced.len() < end {
                        self.synced.resize(end, 0);
                    }
                    self.synced[offset as usize..end].copy_from_slice(&data);
                }
            }
        }
    }

    fn torn(&self, rng: &mut StdRng, everything_lost: bool) -> Self {
        let mut bytes = self.synced.clone();
        if !everything_lost {
            let keep = [0.1, 0.5, 0.9][rng.random_range(0..3)];
            for pending in &self.pending {
                match pending {
                    Pending::Len(len) if rng.random_bool(keep) => bytes.resize(*len as usize, 0),
                    Pending::Len(_) => {}
                    Pending::Write(offset, data) => {
                        for (i, piece) in data.chunks(512).enumerate() {
                            let at = *offset as usize + i * 512;
                            if rng.random_bool(keep) && at + piece.len() <= bytes.len() {
                                bytes[at..at + piece.len()].copy_from_slice(piece);
                            }
                        }
                    }
                }
            }
        }
        Self { now: bytes.clone(), synced: bytes, pending: Vec::new() }
    }
}

impl Disk {
    fn apply(&mut self, op: Op) {
        if let Some(journal) = &mut self.journal {
            journal.push(op.clone());
        }
        match op {
            Op::Create(name) => {
                self.names.insert(name, self.files.len());
                self.files.push(Content::default());
            }
            Op::Write(file, offset, data) => {
                let file = &mut self.files[file];
                file.now[offset as usize..offset as usize + data.len()].copy_from_slice(&data);
                file.pending.push(Pending::Write(offset, data));
            }
            Op::Len(file, len) => {
                let file = &mut self.files[file];
                file.now.resize(len as usize, 0);
                file.pending.push(Pending::Len(len));
            }
            Op::Sync(file) => self.files[file].sync(),
            Op::Rename(from, to) => {
                let file = self.names.remove(&from).expect("the name was looked up");
                self.names.insert(to, file);
            }
            Op::Remove(name) => drop(self.names.remove(&name)),
            Op::SyncNames => self.synced_names = self.names.clone(),
        }
    }

    fn planned_error(&self) -> io::Error {
        let kind = self.plan.error.unwrap_or(io::ErrorKind::Other);
        io::Error::new(kind, "planned failure")
    }

    fn count_write(&mut self) -> io::Result<()> {
        let n = self.counts.writes;
        self.counts.writes += 1;
        let failing = self.plan.fail_writes_from.is_some_and(|from| n >= from)
            && self.plan.fail_writes_until.is_none_or(|until| n < until);
        if failing { Err(self.planned_error()) } else { Ok(()) }
    }

    fn sync(&mut self, file: usize) -> io::Result<()> {
        let n = self.counts.syncs;
        self.counts.syncs += 1;
        let failing = self.plan.fail_syncs_from.is_some_and(|from| n >= from)
            && self.plan.fail_syncs_until.is_none_or(|until| n < until);
        if failing {
            if self.plan.failed_sync_forgets {
                self.files[file].pending.clear();
            }
            return Err(self.planned_error());
        }
        self.apply(Op::Sync(file));
        Ok(())
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Volume for FaultyDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.file_names())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let mut disk = self.lock();
        disk.count_write()?;
        let file = disk.files.len();
        disk.apply(Op::Create(name.to_owned()));
        Ok(Box::new(FaultyFile { disk: self.clone(), file }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let file = self.lock().find(name)?;
        Ok(Box::new(FaultyFile { disk: self.clone(), file }))
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        let disk = self.lock();
        Ok(disk.files[disk.find(name)?].now.len() as u64)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.lock();
        disk.find(name)?;
        disk.apply(Op::Remove(name.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.lock();
        disk.find(from)?;
        disk.apply(Op::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        self.lock().apply(Op::SyncNames);
        Ok(())
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    file: usize,
}

impl StorageBackend for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files[self.file].now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.disk.lock();
        if let Some(failing) = &disk.plan.fail_reads_of
            && disk.names.get(failing) == Some(&self.file)
        {
            return Err(disk.planned_error());
        }
        let range = offset as usize..offset as usize + out.len();
        let found = disk.files[self.file].now.get(range).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.count_write()?;
        disk.apply(Op::Len(self.file, len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let takes = self.disk.lock().plan.sync_takes;
        if !takes.is_zero() {
            std::thread::sleep(takes);
        }
        self.disk.lock().sync(self.file)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.disk.lock();
        if let Err(error) = disk.count_write() {
            if disk.plan.short_writes {
                let part = data.len() / 2 - data.len().min(16) / 8;
                disk.apply(Op::Write(self.file, offset, data[..part].to_vec()));
            }
            return Err(error);
        }
        disk.apply(Op::Write(self.file, offset, data.to_vec()));
        Ok(())
    }
}
