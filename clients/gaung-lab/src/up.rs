//! Starts and ends a lab that stays.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail};
use gaung_client::ErrorKind;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustix::process::{Pid as RawPid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use std::os::fd::AsFd as _;

use crate::{
    error::Refusal,
    isolation, mounts,
    network::MAX_MEMBERS,
    running::{InnerFolder, Running, remove_empty_folders},
    task::{LabPlan, Task},
};

/// What the first process reports to the command that started it, in one line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StartAnswer {
    /// The lab is up.
    Ready(Box<Running>),
    /// It could not be built.
    Failed {
        /// Why, for people.
        why: String,
        /// Whether this is a [`Refusal`] of wrong usage.
        is_usage: bool,
    },
}

/// Builds a lab that stays when this returns. The calling process must have one thread.
///
/// # Errors
/// [`Refusal`] if the system allows no lab, with what to do; what failed otherwise: nothing is left then.
pub fn up(plan: LabPlan) -> anyhow::Result<Running> {
    if !(1..=MAX_MEMBERS).contains(&plan.members) {
        return Err(Refusal::usage(format!("a lab has 1 to {MAX_MEMBERS} members")).into());
    }
    let folder = InnerFolder::hold()?;
    let rights = isolation::isolate()?;
    let mut command = isolation::command(&Task::Supervise(plan, rights))?;
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut first = command.spawn().context("cannot start the lab's first process")?;
    let mut line = String::new();
    let answer = first.stdout.take().map(|pipe| BufReader::new(pipe).read_line(&mut line));
    answer.transpose().context("cannot hear the lab's first process")?;
    if let Ok(StartAnswer::Ready(running)) = serde_json::from_str(&line) {
        return Ok(*running);
    }
    let ended = first.wait().context("cannot wait for the lab's first process")?;
    // Until this ends it sees the lab's mounts, which keep the folder.
    mounts::remove_memory_folder(&folder.path);
    drop(folder);
    remove_empty_folders();
    match serde_json::from_str(&line) {
        Ok(StartAnswer::Failed { why, is_usage }) => {
            let kind = if is_usage { ErrorKind::Usage } else { ErrorKind::Failed };
            Err(Refusal::new(kind, why).into())
        }
        Ok(StartAnswer::Ready(_)) | Err(_) => bail!("the lab's first process ended before the lab was up ({ended})"),
    }
}

/// Ends a lab, and waits until its last process is gone.
///
/// # Errors
/// What the system says.
pub fn down(running: &Running) -> anyhow::Result<()> {
    let pid = Pid::from_raw(running.pid);
    let raw = RawPid::from_raw(running.pid).context("the lab's file names no process")?;
    match pidfd_open(raw, PidfdFlags::empty()) {
        Ok(process) => {
            for (signal, patience) in [(Signal::SIGTERM, PATIENCE), (Signal::SIGKILL, PATIENCE)] {
                match kill(pid, signal) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(error) => {
                        return Err(error)
                            .with_context(|| format!("cannot end lab {}: is it another user's?", running.name));
                    }
                }
                // Readable once it has ended, which it does as the last process of its namespace.
                let mut watched = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
                if poll(&mut watched, PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX))
                    .context("waiting for the lab")?
                    > 0
                {
                    break;
                }
            }
        }
        Err(rustix::io::Errno::SRCH) => {}
        Err(error) => return Err(error).context("cannot watch the lab's first process"),
    }
    // Deletes the file, if the lab could not.
    let _ = Running::find(&running.name);
    remove_empty_folders();
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(10);
