//! What processes use of the machine.

use std::fs;

use anyhow::Context as _;
use nix::{
    sys::resource::{Resource, getrlimit, setrlimit},
    time::ClockId,
    unistd::Pid,
};

/// Processor time of all threads of the processes so far, s.
///
/// # Errors
/// One of them has ended.
pub fn cpu_seconds(processes: &[Pid]) -> anyhow::Result<f64> {
    let seconds = |pid: &Pid| {
        let time = ClockId::pid_cpu_clock_id(*pid).and_then(ClockId::now);
        let time = time.with_context(|| format!("process {pid} has ended"))?;
        Ok(time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
    };
    processes.iter().map(seconds).sum()
}

/// Memory of the processes that is resident, KiB. What the kernel holds for their sockets is not in it.
///
/// # Errors
/// One of them has ended.
pub fn resident_kib(processes: &[Pid]) -> anyhow::Result<f64> {
    let resident = |pid: &Pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the process has ended")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the process is a zombie")?;
        let kib = line.trim().trim_end_matches(" kB").parse::<f64>();
        kib.with_context(|| format!("VmRSS of {pid}: {line}"))
    };
    processes.iter().map(resident).sum()
}

/// Lets this process, and those it starts from now on, open as many files as the system allows; gives how many.
///
/// # Errors
/// The system does not tell.
pub fn allow_many_files() -> anyhow::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}
