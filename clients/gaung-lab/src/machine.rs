//! The machine and versions of a run, so that it can be repeated.

use std::{fs, process::Command, thread};

use nix::sys::utsname::uname;
use serde::{Deserialize, Serialize};

use crate::rights::Rights;

/// A machine, its programs, and the time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineInfo {
    /// The distribution.
    pub system: String,
    /// The kernel.
    pub kernel: String,
    /// The processor.
    pub processor: String,
    /// Its cores.
    pub cores: u32,
    /// Memory, MB.
    pub memory_mb: u64,
    /// This program's version, and how it was built.
    pub gaung: String,
    /// `ip` and `nft`.
    pub tools: Vec<String>,
    /// The right by which the lab had its namespaces.
    pub rights: Rights,
    /// When, in UTC.
    pub taken_at: String,
}

impl MachineInfo {
    /// Describes this machine, now.
    pub(crate) fn look(rights: Rights) -> Self {
        let kernel = uname().map(|name| {
            let words = [name.sysname(), name.release(), name.machine()];
            words.map(|word| word.to_string_lossy().into_owned()).join(" ")
        });
        let built = if cfg!(debug_assertions) { "debug" } else { "release" };
        Self {
            system: value("/etc/os-release", "PRETTY_NAME", '=').trim_matches('"').to_owned(),
            kernel: kernel.unwrap_or_default(),
            processor: value("/proc/cpuinfo", "model name", ':'),
            cores: thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
            memory_mb: value("/proc/meminfo", "MemTotal", ':')
                .trim_end_matches(" kB")
                .parse()
                .map_or(0, |kb: u64| kb / 1024),
            gaung: format!("{} ({built})", env!("CARGO_PKG_VERSION")),
            tools: [first_line("ip", "-V"), first_line("nft", "--version")].into_iter().flatten().collect(),
            rights,
            taken_at: first_line("date", "-u").unwrap_or_default(),
        }
    }
}

/// Returns the value of the first line of `path` that begins with `key` and the separator.
fn value(path: &str, key: &str, separator: char) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut lines = text.lines().filter_map(|line| line.split_once(separator));
    lines.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

fn first_line(program: &str, flag: &str) -> Option<String> {
    let output = Command::new(program).arg(flag).env("LC_ALL", "C").output().ok()?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(|line| line.trim().to_owned())
}
