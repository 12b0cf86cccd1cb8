//! The namespaces of a lab, and how its processes are started in them.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::Context as _;
use gaung_client::ErrorKind;
use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
    unistd::{getgid, getuid},
};
use serde::Serialize;

use crate::{error::Refusal, rights::Rights, runtime_folder};

/// The namespaces of a lab, beside the user namespace that a user needs.
const NAMESPACES: CloneFlags = CloneFlags::CLONE_NEWNET.union(CloneFlags::CLONE_NEWNS).union(CloneFlags::CLONE_NEWPID);

/// Makes the namespaces. The calling process, which must have one thread, does not become a process of them: its children
/// do, and the first of them is the one with which all end.
///
/// # Errors
/// [`Refusal`] where the system allows it neither as root nor in a user namespace.
pub(crate) fn isolate() -> anyhow::Result<Rights> {
    // Made as the calling user: in a user namespace this process has another user id.
    runtime_folder::made()?;
    match unshare(NAMESPACES) {
        Ok(()) => return Ok(Rights::Root),
        Err(Errno::EPERM) => {}
        Err(error) => return Err(error).context("cannot make namespaces"),
    }
    let (uid, gid) = (getuid(), getgid());
    unshare(CloneFlags::CLONE_NEWUSER | NAMESPACES).map_err(|error| not_allowed(&error.to_string()))?;
    let maps = [("setgroups", "deny".to_owned()), ("uid_map", format!("0 {uid} 1")), ("gid_map", format!("0 {gid} 1"))];
    for (file, line) in maps {
        fs::write(format!("/proc/self/{file}"), line).map_err(|error| not_allowed(&format!("{file}: {error}")))?;
    }
    Ok(Rights::UserNamespace)
}

fn not_allowed(why: &str) -> Refusal {
    Refusal::new(
        ErrorKind::NotAllowed,
        format!(
            "a lab needs network namespaces, and this system gives them to root alone ({why}). Use `sudo gaung lab …`; or let users \
             make namespaces: `sudo sysctl kernel.unprivileged_userns_clone=1`, on Ubuntu `sudo sysctl \
             kernel.apparmor_restrict_unprivileged_userns=0`; a container needs CAP_SYS_ADMIN"
        ),
    )
}

/// Prepares to start this program again as `gaung lab inside TASK`: as the first process of the namespaces, or in one of
/// their hosts.
///
/// # Errors
/// If the program's own file cannot be found any more.
pub(crate) fn command(task: &impl Serialize) -> anyhow::Result<Command> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(program);
    command.env(runtime_folder::VARIABLE, runtime_folder::made()?);
    command.args(["lab", "inside"]).arg(serde_json::to_string(task)?).stdin(Stdio::null());
    Ok(command)
}
