//! The end of the segment that is written to.

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
    sync::{Arc, atomic::Ordering},
};

use redb::StorageBackend;

use super::{
    file::{PREAMBLE, Preamble, file_name, unfinished_name},
    frame::Commit,
};
use crate::options::Env;

/// Files are made longer in steps of a 64th of what they may have; at least so much.
const STEP: u64 = 64 * 1024;
/// And at most so much, unless one commit needs more.
const LONGEST_STEP: u64 = 1 << 20;
/// A commit of up to so many bytes is written over zeros: to make the file longer costs a sync more than content does.
const SHORT: u64 = 64 * 1024;

/// Why a commit is not durable.
#[derive(Debug)]
pub(crate) enum Unwritten {
    /// What was written may be written over.
    Write(io::Error),
    /// What the system shows of the file may never reach the disk.
    Sync(io::Error),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) file: Arc<dyn StorageBackend>,
    pub(crate) preamble: Preamble,
    /// Where the next commit goes.
    pub(crate) end: u64,
    /// How long the file is, and how long it is known to be after a power cut.
    length: u64,
    durable_length: u64,
    /// The last commit that is durable, and the last attempt at one.
    after: u32,
    attempts: u32,
    /// The file is not made longer in advance beyond it.
    limit: u64,
    buffer: Vec<u8>,
}

impl Writer {
    /// Makes a segment under its unfinished name.
    pub(crate) fn create(env: &Env, number: u64, started_at_ms: u64) -> io::Result<Self> {
        let file: Arc<dyn StorageBackend> = env.volume.create(&unfinished_name(number))?.into();
        // Nobody who writes messages can guess it.
        let stamp = RandomState::new().hash_one(number) as u32;
        let preamble = Preamble { number, started_at_ms, stamp, generation: 0, length: PREAMBLE };
        file.set_len(PREAMBLE)?;
        file.write(preamble.slot(), &preamble.encode())?;
        Ok(Self::on(env, file, preamble, PREAMBLE, PREAMBLE, (0, 0)))
    }

    /// Goes on at `end` of a segment of `length` bytes; `commits`: the last one that is durable, and the last attempt.
    pub(crate) fn on(
        env: &Env,
        file: Arc<dyn StorageBackend>,
        preamble: Preamble,
        end: u64,
        length: u64,
        commits: (u32, u32),
    ) -> Self {
        let (after, attempts) = commits;
        let (durable_length, limit) = (length, env.options.file_bytes);
        Self { file, preamble, end, length, durable_length, after, attempts, limit, buffer: Vec::new() }
    }

    /// Begins the next commit.
    pub(crate) fn begin(&mut self) -> Commit {
        self.attempts += 1;
        Commit::new(self.end, self.preamble.stamp, self.attempts, self.after, std::mem::take(&mut self.buffer))
    }

    /// Makes a commit durable; an empty one costs nothing.
    pub(crate) fn append(&mut self, env: &Env, commit: Commit) -> Result<(), Unwritten> {
        if commit.is_empty() {
            self.buffer = commit.into_buffer();
            return Ok(());
        }
        self.lengthen(env, commit.len() as u64)?;
        // By the noted length an opening tells a file that was cut from one that ends where the last commit does.
        if self.preamble.length < self.durable_length {
            self.note_length(self.durable_length).map_err(Unwritten::Write)?;
        }
        self.write(commit).map_err(Unwritten::Write)?;
        self.sync(env)
    }

    /// The same without a sync, for a segment that has no name yet.
    pub(crate) fn append_unsynced(&mut self, commit: Commit) -> io::Result<()> {
        let end = self.end + commit.len() as u64;
        if end > self.length {
            self.file.set_len(end)?;
            self.length = end;
        }
        self.write(commit)
    }

    /// Makes all of it durable, and gives the segment its name.
    pub(crate) fn name(&mut self, env: &Env) -> io::Result<()> {
        let number = self.preamble.number;
        self.settle(env)?;
        env.volume.rename(&unfinished_name(number), &file_name(number))?;
        env.volume.sync_names()
    }

    /// Makes all of it durable.
    pub(crate) fn settle(&mut self, env: &Env) -> io::Result<()> {
        self.note_length(self.end)?;
        self.sync(env).map_err(Unwritten::into_io)
    }

    /// Ends the segment with `commit`. It can be written on all the same.
    pub(crate) fn seal(&mut self, env: &Env, commit: Commit) -> Result<(), Unwritten> {
        let end = self.end + commit.len() as u64;
        if end > self.length {
            // No length may be noted before the file has it.
            self.file.set_len(end).map_err(Unwritten::Write)?;
            self.length = end;
            self.sync(env)?;
        }
        self.write(commit).map_err(Unwritten::Write)?;
        self.note_length(end).map_err(Unwritten::Write)?;
        self.sync(env)?;
        if self.file.set_len(end).is_ok() {
            (self.length, self.durable_length) = (end, end);
        }
        Ok(())
    }

    fn write(&mut self, mut commit: Commit) -> io::Result<()> {
        let number = commit.number;
        let bytes = commit.finish();
        self.file.write(self.end, bytes)?;
        self.end += bytes.len() as u64;
        self.after = number;
        self.buffer = commit.into_buffer();
        Ok(())
    }
}

impl Unwritten {
    pub(crate) fn into_io(self) -> io::Error {
        match self {
            Self::Write(error) | Self::Sync(error) => error,
        }
    }
}

impl Writer {
    /// Writes into the preamble how long the file is at least; the one before stays until this one is durable.
    fn note_length(&mut self, length: u64) -> io::Result<()> {
        let noted = Preamble { generation: self.preamble.generation + 1, length, ..self.preamble };
        self.file.write(noted.slot(), &noted.encode())?;
        self.preamble = noted;
        Ok(())
    }

    /// Makes the file as long as `len` more bytes need, and a little longer.
    fn lengthen(&mut self, env: &Env, len: u64) -> Result<(), Unwritten> {
        let needed = self.end + len;
        if needed <= self.length {
            return Ok(());
        }
        let step = (self.limit / 64).clamp(STEP, LONGEST_STEP);
        let longer = (needed + step).next_multiple_of(STEP).min(self.limit.max(needed));
        self.file.set_len(longer).map_err(Unwritten::Write)?;
        let zeros = self.length..longer;
        self.length = longer;
        // A long commit brings its own sync, which writes the new length along.
        if len > SHORT {
            return Ok(());
        }
        let written = self.file.write(zeros.start, &vec![0; (zeros.end - zeros.start) as usize]);
        written.map_err(Unwritten::Write)?;
        self.sync(env)
    }

    fn sync(&mut self, env: &Env) -> Result<(), Unwritten> {
        env.syncs.fetch_add(1, Ordering::Relaxed);
        self.file.sync_data().map_err(Unwritten::Sync)?;
        self.durable_length = self.length;
        Ok(())
    }
}
