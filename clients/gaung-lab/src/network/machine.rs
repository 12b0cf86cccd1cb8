//! A thread that lives in namespaces of its own, and what is done there.

use std::{
    fs, io,
    path::Path,
    process::{Child, Command},
    sync::mpsc,
    thread,
};

use anyhow::Context as _;
use nix::{
    sched::{CloneFlags, unshare},
    unistd::{Pid, gettid},
};

use super::program;
use crate::mounts;

/// A machine without a kernel of its own: a network namespace and a view of the file system, held by a thread.
///
/// They last as long as this and the processes started in it.
#[derive(Debug)]
pub struct Machine {
    name: String,
    task: Pid,
    seen_from_outside: String,
    jobs: mpsc::Sender<Job>,
}

type Job = Box<dyn FnOnce() + Send>;

impl Machine {
    /// A machine with `lo` alone, which is down.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn start(name: &str, hosts_file: &Path) -> anyhow::Result<Self> {
        let (jobs, todo) = mpsc::channel::<Job>();
        let (ready, is_ready) = mpsc::channel();
        let hosts_file = hosts_file.to_owned();
        let work = move || {
            let _ = ready.send(settle_in(&hosts_file));
            todo.into_iter().for_each(|job| job());
        };
        thread::Builder::new().name(name.to_owned()).spawn(work).context("cannot start a thread")?;
        let (task, seen_from_outside) = is_ready.recv().context("a machine's thread has ended")??;
        Ok(Self { name: name.to_owned(), task, seen_from_outside, jobs })
    }

    /// What it is called, `server` or `m1`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The thread's id, by which `ip` knows its network namespace.
    pub(super) const fn task_id(&self) -> Pid {
        self.task
    }

    /// The thread in the `/proc` of whoever made the lab: `PID/task/TID`.
    #[must_use]
    pub fn seen_from_outside(&self) -> &str {
        &self.seen_from_outside
    }

    /// Does `work` on the machine: sockets that it makes are the machine's. One at a time, in the order of the calls.
    ///
    /// # Panics
    /// If work on this machine has panicked.
    pub fn within<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, is_done) = mpsc::channel();
        let job = move || drop(done.send(work()));
        self.jobs.send(Box::new(job)).expect("the machine's thread lives as long as the machine");
        is_done.recv().expect("work on a machine does not panic")
    }

    /// Starts a program on the machine.
    ///
    /// # Errors
    /// What the system says.
    pub fn spawn(&self, mut command: Command) -> io::Result<Child> {
        self.within(move || command.spawn())
    }

    /// Runs lines of `ip`.
    ///
    /// # Errors
    /// [`crate::Refusal`] without `ip`; what it says.
    pub fn ip(&self, lines: &str) -> anyhow::Result<()> {
        let lines = lines.to_owned();
        self.within(move || program::feed("ip", &["-batch", "-"], &lines))
    }

    /// Runs a program to its end with `input`.
    ///
    /// # Errors
    /// [`crate::Refusal`] where it is not installed; what it says.
    pub(super) fn feed(&self, name: &'static str, args: &[&'static str], input: String) -> anyhow::Result<()> {
        let args = args.to_vec();
        self.within(move || program::feed(name, &args, &input))
    }

    /// Without it, hosts speak of their own accord while others are counted.
    pub(super) fn without_ipv6(&self) {
        for which in ["all", "default"] {
            let path = format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6");
            // A kernel without IPv6 has no such file, and a container may not let it be written: some frames more.
            self.within(move || drop(fs::write(path, "1")));
        }
    }
}

/// Gives the calling thread namespaces of its own.
fn settle_in(hosts_file: &Path) -> anyhow::Result<(Pid, String)> {
    let outside = fs::read_link("/proc/thread-self").context("cannot read /proc/thread-self")?;
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).context("cannot make a network namespace")?;
    mounts::show_own(hosts_file);
    Ok((gettid(), outside.to_string_lossy().into_owned()))
}
