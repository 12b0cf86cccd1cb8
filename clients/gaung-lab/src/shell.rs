//! Runs a shell or command on a host of a running lab.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io,
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::Command,
};

use anyhow::Context as _;
use gaung_client::ErrorKind;
use nix::{
    sched::{CloneFlags, setns},
    sys::signal::{SigSet, Signal},
};

use crate::{
    error::Refusal,
    running::{Running, RunningHost},
    services::surroundings,
};

/// Runs `words`, or the user's shell, on a host; returns the exit code. The calling process must have one thread, and
/// stays on the host.
///
/// # Errors
/// [`Refusal`] if there is no such host or it is another user's; if the program cannot be started.
pub fn run(running: &Running, host: &str, words: &[OsString]) -> anyhow::Result<u8> {
    let host = running.host(host)?;
    let shell = env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
    let (program, args) = words.split_first().map_or((&shell, &[][..]), |(program, args)| (program, args));
    let mut command = Command::new(program);
    command.args(args).env("PATH", path_with_gaung()?).envs(surroundings(&host.name, &running.folder));
    command.env("PS1", format!("{}:\\w\\$ ", host.name));
    enter(running, host)?;
    // The signals are meant for the program: a terminal sends them to this process as well.
    let mut signals = SigSet::empty();
    [Signal::SIGINT, Signal::SIGQUIT].into_iter().for_each(|signal| signals.add(signal));
    signals.thread_block().context("cannot hold signals back")?;
    let status = command.status().with_context(|| format!("cannot start {}", program.to_string_lossy()))?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}

/// Moves this process to the host, and its children into the lab's process namespace, so that they end with it.
fn enter(running: &Running, host: &RunningHost) -> anyhow::Result<()> {
    let here = env::current_dir();
    let open = |path: String| {
        File::open(&path).map_err(|error| {
            if error.kind() == io::ErrorKind::PermissionDenied {
                return another_user(running).into();
            }
            anyhow::Error::new(error).context(format!("cannot open {path}; is the lab still up?"))
        })
    };
    let (pid, task) = (running.pid, &host.task);
    let mut doors = vec![
        (open(format!("/proc/{pid}/ns/pid"))?, CloneFlags::CLONE_NEWPID),
        (open(format!("/proc/{task}/ns/net"))?, CloneFlags::CLONE_NEWNET),
        (open(format!("/proc/{task}/ns/mnt"))?, CloneFlags::CLONE_NEWNS),
    ];
    let users = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user"));
    if users("self").ok() != users(&pid.to_string()).ok() {
        doors.insert(0, (open(format!("/proc/{pid}/ns/user"))?, CloneFlags::CLONE_NEWUSER));
    }
    for (door, kind) in doors {
        setns(door, kind).map_err(|error| anyhow::Error::new(another_user(running)).context(error))?;
    }
    // Entering another view of the file system leads to its root.
    here.and_then(env::set_current_dir).or_else(|_| env::set_current_dir("/")).context("cannot change the folder")
}

fn another_user(running: &Running) -> Refusal {
    let message = format!("lab {} belongs to root or another user; try `sudo gaung lab shell …`", running.name);
    Refusal::new(ErrorKind::NotAllowed, message)
}

/// Returns PATH with this program's folder, so that `gaung` is found.
fn path_with_gaung() -> anyhow::Result<OsString> {
    let own = env::current_exe().context("cannot find this program's own file")?;
    let folder = own.parent().map(PathBuf::from).unwrap_or_default();
    let path = env::var_os("PATH").unwrap_or_else(|| OsStr::new("/usr/sbin:/usr/bin:/sbin:/bin").to_owned());
    let with_own = env::split_paths(&path).chain([folder]);
    env::join_paths(with_own).context("PATH cannot be used")
}
