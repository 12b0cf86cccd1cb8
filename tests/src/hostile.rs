//! A LAN with one hostile host: what honest people notice while it attacks, and once it has stopped.

mod attacker;
mod datagrams;

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

pub use self::{
    attacker::{Attacker, publish},
    datagrams::GroupDatagrams,
};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::{
    crowd::{self, Heard, Speaker, gaung},
    lab::{Host, Lab},
    process::Process,
};

/// Honest messages a second, and bytes of each.
const RATE: u32 = 20;
const BYTES: usize = 64;
/// How long people talk before the attack, while it lasts, and after it.
const QUIET_SECONDS: usize = 3;
const ATTACK_SECONDS: usize = 8;
const AFTER_SECONDS: usize = 3;
/// What the hostile host can send, megabits a second. It attacks from one thread, so with one core at most.
const ATTACK_MBIT: u32 = 50;
/// How long after an attack everything may still be as it was in it.
const RECOVERY: Duration = Duration::from_secs(5);
/// The group that honest people talk in.
pub const GROUP: &str = "lobby";

/// A LAN of a server (`gaung up` with its usual limits), a hostile host, somebody who speaks, and two who listen: by
/// whichever lane is best, and by TCP.
///
/// Declared last, so dropped last: processes end before the lab is taken down.
#[derive(Debug)]
pub struct HostileLan {
    speaker: Speaker,
    listeners: Vec<Process>,
    server: Process,
    data: TempDir,
    lab: Lab,
}

/// How late honest messages were, in milliseconds from being given to the speaking command to being printed by the last
/// listener.
#[derive(Debug, Clone, Copy)]
pub struct Lateness {
    /// The middle one.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
}

/// What was measured. `Display` makes one row of a table of it.
#[derive(Debug, Clone, Copy)]
pub struct Harm {
    /// Before the attack.
    pub quiet: Lateness,
    /// While it lasted.
    pub meanwhile: Lateness,
    /// From five seconds after its end on.
    pub after: Lateness,
    /// The server's resident memory before, in MiB.
    pub memory_before: u64,
    /// The largest seen from the beginning of the attack on, in MiB.
    pub memory_peak: u64,
}

impl HostileLan {
    /// Starts everything; `flags` are the server's.
    ///
    /// # Panics
    /// If something does not come up.
    #[must_use]
    pub fn start(flags: &[&str]) -> Self {
        let data = TempDir::new().expect("a temporary folder");
        let lab = Lab::new(5);
        lab.host(1).limit_output(ATTACK_MBIT);
        let server = up(lab.host(0), data.path(), flags);
        let at = server_of(&lab);
        let created = gaung(lab.host(2), data.path(), &["--server", &at, "group", "create", GROUP]).end();
        let _ = created.expect_code(0);
        let lanes = [(3, "auto"), (4, "tcp")];
        let listeners = lanes
            .map(|(host, lane)| {
                let args = ["--server", &at, "--lane", lane];
                crowd::listen(&[lab.host(host)], data.path(), GROUP, &args).pop().expect("one for each host")
            })
            .into();
        let speaker = Speaker::start(lab.host(2), data.path(), GROUP, BYTES, RATE);
        Self { speaker, listeners, server, data, lab }
    }

    /// Measures an attack by which the listeners may hear forged words too, and true ones again.
    ///
    /// # Panics
    /// As [`Self::suffer`], but for what else they hear.
    #[must_use]
    pub fn suffer_forgery(self, attack: impl FnOnce(Attacker) + Send) -> Harm {
        self.measure(&[], attack, ListenChange::Deceived)
    }

    /// Measures an attack. `newcomers` are commands that somebody new gives while it lasts, each of which must succeed.
    ///
    /// # Panics
    /// If an honest message is not acknowledged or not heard by everybody, or an honest command fails.
    #[must_use]
    pub fn suffer(self, newcomers: &[&[&str]], attack: impl FnOnce(Attacker) + Send) -> Harm {
        self.measure(newcomers, attack, ListenChange::Exact)
    }

    fn measure(mut self, newcomers: &[&[&str]], attack: impl FnOnce(Attacker) + Send, hearing: ListenChange) -> Harm {
        let quiet = self.talk(QUIET_SECONDS);
        let pid = self.server.pid();
        let memory_before = resident(pid);
        let (attacker, stop) = Attacker::new(self.lab.host(0).ip());
        let entrance = self.lab.host(1).entrance();
        let memory = MemoryWatch::start(pid);
        let meanwhile = thread::scope(|scope| {
            let attacking = scope.spawn(move || {
                entrance.pass();
                attack(attacker);
            });
            let newcomer = (self.lab.host(2), self.data.path().join("newcomer"), server_of(&self.lab));
            let coming = scope.spawn(move || {
                let (host, data, at) = newcomer;
                for command in newcomers {
                    let _ = gaung(host, &data, &[&["--server", &at], *command].concat()).end().expect_code(0);
                }
            });
            let meanwhile = speak_for(&mut self.speaker, ATTACK_SECONDS);
            coming.join().expect("newcomers are served during the attack");
            drop(stop);
            attacking.join().expect("the attack goes through");
            meanwhile
        });
        let ended = Instant::now();
        // Nothing tells when five seconds are over but the clock; people go on talking meanwhile.
        while ended.elapsed() < RECOVERY {
            let _ = speak_for(&mut self.speaker, 1);
        }
        let after = speak_for(&mut self.speaker, AFTER_SECONDS);
        self.hear_all();
        let memory_peak = memory.peak();
        let count = self.speaker.said().len();
        let heard: Vec<_> = self.listeners.iter().map(|listener| honest_times(listener, count, hearing)).collect();
        let lateness = |range: std::ops::Range<usize>| lateness(self.speaker.said(), &heard, range);
        let harm = Harm {
            quiet: lateness(quiet),
            meanwhile: lateness(meanwhile),
            after: lateness(after),
            memory_before,
            memory_peak,
        };
        let _ = self.speaker.end();
        harm
    }

    /// Speaks and waits until all have heard it; gives which messages these are.
    fn talk(&mut self, seconds: usize) -> std::ops::Range<usize> {
        let range = speak_for(&mut self.speaker, seconds);
        self.hear_all();
        range
    }

    fn hear_all(&self) {
        let last = self.speaker.said().len();
        for listener in &self.listeners {
            let _ = listener.stdout_line("the last message", |line| number_of(line) == Some(last));
        }
    }
}

/// What listeners may hear besides the honest messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListenChange {
    Exact,
    Deceived,
}

/// When each honest message was heard first.
fn honest_times(listener: &Process, count: usize, hearing: ListenChange) -> Vec<Instant> {
    let (lines, times) = (listener.stdout_so_far(), listener.stdout_times());
    let mut first = vec![None; count];
    for (line, at) in lines.iter().zip(times) {
        if let Some(number) = number_of(line) {
            first[number - 1].get_or_insert(at);
        }
    }
    if hearing == ListenChange::Exact {
        let numbers: Vec<_> = lines.iter().map(|line| number_of(line)).collect();
        let each: Vec<_> = (1..=count).map(Some).collect();
        assert_eq!(numbers, each, "each honest message once, in order, and no other in the group");
    }
    let missing = first.iter().filter(|heard| heard.is_none()).count();
    assert_eq!(missing, 0, "honest messages that were never heard");
    first.into_iter().flatten().collect()
}

/// The number of an honest message.
fn number_of(line: &str) -> Option<usize> {
    Heard::parse(line).text.split_once(' ')?.0.parse().ok()
}

impl Harm {
    /// Checks what people would notice: a message in the middle is at most three times as late as before, or 50 ms, during
    /// the attack and after it, and the server's memory has grown by at most `memory` MiB.
    ///
    /// # Panics
    /// If not.
    pub fn assert_small(&self, memory: u64) {
        let most = (self.quiet.p50 * 3.0).max(50.0);
        assert!(self.meanwhile.p50 <= most, "people wait: {self}");
        self.assert_recovered(memory);
    }

    /// Checks that even late messages, at the 99th percentile, are less than twice as late as before during the attack, or 50 ms.
    ///
    /// # Panics
    /// If not.
    pub fn assert_few_late(&self) {
        assert!(self.meanwhile.p99 < (self.quiet.p99 * 2.0).max(50.0), "some people wait: {self}");
    }

    /// Checks what [`Self::assert_small`] does of what comes after the attack alone.
    ///
    /// # Panics
    /// If not.
    pub fn assert_recovered(&self, memory: u64) {
        let most = (self.quiet.p50 * 3.0).max(50.0);
        assert!(self.after.p50 <= most, "people still wait: {self}");
        assert!(self.memory_peak <= self.memory_before + memory, "memory grows by more than {memory} MiB: {self}");
    }
}

impl std::fmt::Display for Harm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { quiet, meanwhile, after, memory_before, memory_peak } = self;
        write!(f, "quiet {quiet}, meanwhile {meanwhile}, after {after} ms; {memory_before} → {memory_peak} MiB")
    }
}

impl std::fmt::Display for Lateness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1}/{:.1}", self.p50, self.p99)
    }
}

/// Looks at a process's memory every now and then.
struct MemoryWatch {
    stop: Arc<AtomicBool>,
    watching: thread::JoinHandle<u64>,
}

impl MemoryWatch {
    fn start(pid: Pid) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let watching = thread::spawn(move || {
            let mut peak = 0;
            while !stopped.load(Ordering::Relaxed) {
                peak = peak.max(resident(pid));
                thread::sleep(Duration::from_millis(50));
            }
            peak
        });
        Self { stop, watching }
    }

    fn peak(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.watching.join().expect("reading /proc does not panic")
    }
}

/// MiB of resident memory.
fn resident(pid: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() / 1024
}

/// Speaks; gives which messages these were.
fn speak_for(speaker: &mut Speaker, seconds: usize) -> std::ops::Range<usize> {
    let first = speaker.said().len();
    first..speaker.say_for(seconds)
}

fn lateness(said: &[Instant], heard: &[Vec<Instant>], range: std::ops::Range<usize>) -> Lateness {
    let last = |index: usize| heard.iter().map(|times| times[index]).max().expect("somebody listens");
    let mut late: Vec<f64> =
        range.map(|index| last(index).saturating_duration_since(said[index]).as_secs_f64() * 1e3).collect();
    late.sort_by(f64::total_cmp);
    let at = |share: f64| late[((late.len() as f64 * share) as usize).min(late.len() - 1)];
    Lateness { p50: at(0.5), p99: at(0.99) }
}

fn server_of(lab: &Lab) -> String {
    format!("{}:7400", lab.host(0).ip())
}

/// Plaintext is taken from everywhere, because attackers get furthest there.
fn up(host: &Host, data: &Path, flags: &[&str]) -> Process {
    let data = data.join("server").display().to_string();
    let args = ["up", "--json", "--data", &data, "--iface", crate::lab::INTERFACE, "--plaintext", "any"];
    let process = host.start(crate::programs::program("gaung"), &[&args[..], flags].concat());
    let _ = process.stdout_line("ready line", |line| line.starts_with('{'));
    process
}
