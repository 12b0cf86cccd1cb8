//! The file by which other commands find a running lab. Its lock is held by the lab's first process: when that ends, however
//! it ends, the file is known to be stale.

use std::{
    fmt,
    fs::{self, File, TryLockError},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    net::Ipv4Addr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::Context as _;
use gaung_client::ErrorKind;
use serde::{Deserialize, Serialize};

use crate::{
    error::Refusal,
    network::{Delay, Loss},
    rights::Rights,
    runtime_folder,
};

/// A lab's name: 1 to 32 letters, digits or `-`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabName(String);

impl FromStr for LabName {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if (1..=32).contains(&text.len()) && text.chars().all(fits) && !text.starts_with('-') {
            Ok(Self(text.to_owned()))
        } else {
            Err("a lab's name has 1 to 32 letters, digits or -")
        }
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A lab that is up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its name.
    pub name: LabName,
    /// Its first process, with which everything ends.
    pub pid: i32,
    /// The right by which it has its namespaces.
    pub rights: Rights,
    /// The share of frames that hosts lose.
    pub loss: Loss,
    /// The delay of frames.
    pub delay: Delay,
    /// Whether the switch is an IGMP querier and prunes multicast.
    pub querier: bool,
    /// The group that its members listen to.
    pub group: String,
    /// The folder of its files, as seen from inside.
    pub folder: PathBuf,
    /// The server first, the witness last.
    pub hosts: Vec<RunningHost>,
}

/// A host of a lab that is up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningHost {
    /// Its name.
    pub name: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// The command that runs there.
    pub runs: String,
    /// Whether that command still runs.
    pub alive: bool,
    /// The thread that holds it: `PID/task/TID`.
    pub task: String,
}

impl Running {
    /// Finds the lab of this name.
    ///
    /// # Errors
    /// [`Refusal`] if there is none.
    pub fn find(name: &LabName) -> anyhow::Result<Self> {
        let missing = || {
            let message =
                format!("no lab {name} is up; `gaung lab up` makes one, `gaung lab status` shows which there are");
            Refusal::new(ErrorKind::NotFound, message)
        };
        for folder in runtime_folder::existing() {
            if let Some(running) = StateFile::read(&folder.join(format!("{name}.json")))? {
                return Ok(running);
            }
        }
        Err(missing().into())
    }

    /// Lists all labs of this user that are up, by name. Stale files of labs that were killed are deleted.
    ///
    /// # Errors
    /// What the system says.
    pub fn all() -> anyhow::Result<Vec<Self>> {
        let folders = runtime_folder::existing();
        let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
        let paths = entries.flatten().map(|entry| entry.path());
        let files = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
        let read: Vec<_> = files.map(|path| StateFile::read(&path)).collect::<Result<_, _>>()?;
        let mut running: Vec<Self> = read.into_iter().flatten().collect();
        running.sort_by(|a, b| a.name.0.cmp(&b.name.0));
        Ok(running)
    }

    /// Finds the host of this name.
    ///
    /// # Errors
    /// [`Refusal`] with the names that there are.
    pub fn host(&self, name: &str) -> anyhow::Result<&RunningHost> {
        let names = || self.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(", ");
        let missing = || {
            Refusal::new(ErrorKind::NotFound, format!("lab {} has no host of that name; it has {}", self.name, names()))
        };
        Ok(self.hosts.iter().find(|host| host.name == name).ok_or_else(missing)?)
    }
}

/// The file of one lab, locked by this process.
#[derive(Debug)]
pub(crate) struct StateFile {
    file: File,
    path: PathBuf,
}

impl StateFile {
    /// Creates and locks the file of a lab whose first process this is.
    ///
    /// # Errors
    /// [`Refusal`] if a lab of that name is up.
    pub(crate) fn take(name: &LabName) -> anyhow::Result<Self> {
        let path = runtime_folder::made()?.join(format!("{name}.json"));
        loop {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false);
            let file = options.open(&path).with_context(|| in_vain(&path))?;
            match file.try_lock() {
                // Whoever looks for labs may have taken it for a stale one before it was locked.
                Ok(()) if is_at(&file, &path) => return Ok(Self { file, path }),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(is_up_already(name).into()),
                Err(TryLockError::Error(error)) => return Err(error).with_context(|| in_vain(&path)),
            }
        }
    }

    /// Says how the lab is.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn write(&mut self, running: &Running) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(running)?;
        let written = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.set_len(0));
        written.and_then(|()| self.file.write_all(text.as_bytes())).with_context(|| in_vain(&self.path))
    }

    /// What a lab says of itself; `None`, and the file is gone, if it has ended.
    fn read(path: &Path) -> anyhow::Result<Option<Running>> {
        let Ok(mut file) = File::open(path) else { return Ok(None) };
        if file.try_lock_shared().is_ok() {
            let _ = fs::remove_file(path);
            return Ok(None);
        }
        let mut text = String::new();
        file.read_to_string(&mut text).with_context(|| in_vain(path))?;
        // Empty while the lab is being built.
        Ok(serde_json::from_str(&text).ok())
    }
}

impl Drop for StateFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A folder that is empty on the machine; every lab has its files there, in memory and for itself.
#[derive(Debug)]
pub(crate) struct InnerFolder {
    pub(crate) path: PathBuf,
    /// Shared by all labs and those who build them: taking the folder away would take the others' files from them.
    _lock: File,
}

impl InnerFolder {
    /// Makes it, if it is not there, and keeps it for as long as this lives.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(crate) fn hold() -> anyhow::Result<Self> {
        let path = runtime_folder::made()?.join("inside");
        loop {
            fs::create_dir_all(&path).with_context(|| in_vain(&path))?;
            let Ok(lock) = File::open(&path) else { continue };
            lock.lock_shared().with_context(|| in_vain(&path))?;
            // Another one may have taken it away before it was locked.
            if is_at(&lock, &path) {
                return Ok(Self { path, _lock: lock });
            }
        }
    }
}

/// True if it is this file that lies there.
fn is_at(file: &File, path: &Path) -> bool {
    let here = fs::metadata(path).map(|here| here.ino());
    here.is_ok_and(|here| file.metadata().is_ok_and(|file| file.ino() == here))
}

fn is_up_already(name: &LabName) -> Refusal {
    Refusal::usage(format!("lab {name} is up already: end it with `gaung lab down`, or name another with --lab"))
}

/// Takes the folders away once no lab of this user is left.
pub(crate) fn remove_empty_folders() {
    for folder in runtime_folder::existing() {
        let path = folder.join("inside");
        let Ok(inner) = File::open(&path) else { continue };
        if inner.try_lock().is_ok() {
            let _ = fs::remove_dir(path).and_then(|()| fs::remove_dir(folder));
        }
    }
}

fn in_vain(path: &Path) -> String {
    format!("cannot use {}; XDG_RUNTIME_DIR names another folder for running labs", path.display())
}
