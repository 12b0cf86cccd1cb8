//! A LAN that loses, repeats and falls silent: every member gets every message once and in order, nearly all by
//! datagram.
//!
//! `GAUNG_LOSS_PERCENT` (such as `1,40`; default `0,5,20`), `GAUNG_LOSS_MESSAGES` and `GAUNG_LOSS_RATE` (messages a
//! second) change what is measured; the full run is 20 000 messages of 1 KiB at 2 000 a second, in a release build:
//!
//! ```sh
//! GAUNG_LOSS_PERCENT=0,1,5,20,40 GAUNG_LOSS_MESSAGES=20000 GAUNG_LOSS_RATE=2000 \
//!     cargo test --release -p gaung-tests --test loss -- --nocapture --test-threads 1
//! ```
#![allow(missing_docs)]

use std::{
    collections::BTreeMap,
    env,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use gaung_proto::ports;
use gaung_tests::{
    crowd::{self, Heard, Speaker, by_lane, check_all, gaung},
    lab::{Host, Lab},
    process::Process,
    programs::program,
    requires::{self, Need},
};
use nix::sys::signal::Signal;
use tempfile::TempDir;

const MEMBERS: usize = 8;
const BYTES: usize = 1024;
const RELAY_METRICS: u16 = ports::RELAY_METRICS;
const NEEDS: [Need; 2] = [Need::Namespaces, Need::Nft];

/// What a member may read from the log while loss is at most this, in percent of the messages and of the datagrams.
const FROM_LOG_PERCENT: f64 = 1.0;
const UP_TO_LOSS_PERCENT: u32 = 20;
/// What leaves the relay at 5 % loss, as a multiple of what leaves it without loss.
const MOST_SENT_AT_5_PERCENT: f64 = 1.45;

#[test]
fn what_each_member_loses_by_itself_is_repaired_by_datagram() {
    if !requires::has("what_each_member_loses_by_itself_is_repaired_by_datagram", &NEEDS) {
        return;
    }
    let (messages, rate) = (setting("GAUNG_LOSS_MESSAGES", 3000), setting("GAUNG_LOSS_RATE", 1000));
    let data = TempDir::new().expect("a temporary folder");
    let lab = Lab::new(1 + MEMBERS as u8);
    let relay = lab.host(0);
    let _server = up(relay, data.path());
    let mut without_loss = None;
    println!("loss %  by datagram %  from the log  sent MB  × without loss  latency p50 ms  p99 ms");
    for percent in percents() {
        let group = format!("loss-{percent}");
        let _ = gaung(relay, data.path(), &["group", "create", &group]).end().expect_code(0);
        members(&lab).iter().for_each(|host| host.lose(percent * 10));
        let outcome = one_loss(&lab, data.path(), &group, messages, rate as u32);
        let base = *without_loss.get_or_insert(outcome.sent_bytes);
        let growth = outcome.sent_bytes as f64 / base as f64;
        let from_log = 100.0 * outcome.from_log as f64 / (messages * MEMBERS) as f64;
        println!(
            "{percent:>6} {:>14.2} {:>13} {:>8.1} {growth:>15.2} {:>15.1} {:>7.1}",
            100.0 - from_log,
            outcome.from_log,
            outcome.sent_bytes as f64 / 1e6,
            outcome.late_ms(0.5),
            outcome.late_ms(0.99),
        );
        println!("       {}", outcome.figures);
        if percent > 0 {
            assert!(members(&lab).iter().all(|host| host.impaired() > 0), "nothing was lost at {percent} %");
        }
        if percent <= UP_TO_LOSS_PERCENT {
            assert!(from_log <= FROM_LOG_PERCENT, "{from_log:.2} % came from the log at {percent} % loss");
        }
        if percent == 5 {
            assert!(growth <= MOST_SENT_AT_5_PERCENT, "{growth:.2} times as much was sent at 5 % loss as without");
        }
    }
}

#[test]
fn what_the_network_repeats_is_heard_once() {
    const MESSAGES: usize = 500;
    if !requires::has("what_the_network_repeats_is_heard_once", &NEEDS) {
        return;
    }
    let data = TempDir::new().expect("a temporary folder");
    let lab = Lab::new(3);
    let relay = lab.host(0);
    let _server = up(relay, data.path());
    let _ = gaung(relay, data.path(), &["group", "create", "lobby"]).end().expect_code(0);
    relay.duplicate(3);
    let heard = crowd::listen(&members(&lab), data.path(), "lobby", &["--lane", "multicast"]);
    let mut speaker = Speaker::start(relay, data.path(), "lobby", BYTES, 500);
    speaker.say_upto(MESSAGES);
    let _ = speaker.end();
    for member in heard {
        let lines = finish(member, MESSAGES);
        let _ = check_all("member", &lines, MESSAGES);
    }
    assert!(relay.impaired() > MESSAGES as u64 / 4, "{} datagrams were sent twice", relay.impaired());
}

#[test]
fn who_hears_no_multicast_any_more_goes_to_the_hub_and_returns() {
    const RATE: u32 = 100;
    if !requires::has("who_hears_no_multicast_any_more_goes_to_the_hub_and_returns", &NEEDS) {
        return;
    }
    let silence = Duration::from_secs(setting("GAUNG_LOSS_SILENCE", 8) as u64);
    let data = TempDir::new().expect("a temporary folder");
    let lab = Lab::new(5);
    let relay = lab.host(0);
    let _server = up(relay, data.path());
    let _ = gaung(relay, data.path(), &["group", "create", "lobby"]).end().expect_code(0);
    let heard = crowd::listen(&members(&lab), data.path(), "lobby", &["--lane", "auto"]);
    let (deaf, others) = heard.split_first().expect("four members");
    let mut speaker = Speaker::start(relay, data.path(), "lobby", BYTES, RATE);
    let seconds = |seconds: f64| (seconds * f64::from(RATE)) as usize;

    speaker.say(seconds(2.0));
    lab.host(1).lose_multicast();
    let (fell_silent, silent_from) = (Instant::now(), speaker.said().len());
    speaker.say(seconds(silence.as_secs_f64()));
    lab.host(1).heal();
    let healed = speaker.said().len();
    let came_back = |line: &str| line.contains("multicast") && !line.contains("listening");
    // Multicast has to be heard without a break for some seconds before it is trusted again.
    while deaf.stderr_so_far().iter().filter(|line| came_back(line)).count() < 2 && healed_for(&speaker, healed) < 15.0
    {
        speaker.say(seconds(0.5));
    }
    let count = speaker.said().len();
    let said = speaker.end();

    let lines = deaf.stdout_lines(count);
    let (times, told) = (deaf.stdout_times(), deaf.stderr_so_far());
    let messages = check_all("the deaf one", &lines, count);
    let first_by_hub = messages.iter().position(|message| message.lane == "tcp").expect("some came by the hub");
    let moved_after = times[first_by_hub].duration_since(fell_silent);
    println!("moved to the hub {:.1} s after multicast fell silent; told: {told:?}", moved_after.as_secs_f64());
    assert!(moved_after <= Duration::from_secs(5), "by the hub only after {moved_after:?}: {told:?}");
    assert_eq!(messages.last().map(|message| message.lane.as_str()), Some("multicast"), "returned: {told:?}");
    for member in others {
        let lines = member.stdout_lines(count);
        let messages = check_all("another", &lines, count);
        assert_eq!(by_lane(&messages, "multicast"), count, "the others stay where they are");
        let times = member.stdout_times();
        let late = |range: std::ops::Range<usize>| percentile(latencies(&said[range.clone()], &times[range]), 0.5);
        println!(
            "another's latency, p50: {:.2} ms before, {:.2} ms while one was deaf",
            late(0..silent_from),
            late(silent_from..healed)
        );
    }
}

#[test]
fn a_relay_that_stands_still_and_dies_loses_and_repeats_nothing() {
    const RATE: u32 = 200;
    if !requires::has("a_relay_that_stands_still_and_dies_loses_and_repeats_nothing", &NEEDS) {
        return;
    }
    let data = TempDir::new().expect("a temporary folder");
    let lab = Lab::new(4);
    let (server, home) = (lab.host(0), data.path());
    let _registry = registry(server, home);
    let mut serving = relay(server, home);
    let at = format!("{}:7400", server.ip());
    let _ = gaung(server, home, &["--server", &at, "group", "create", "lobby"]).end().expect_code(0);
    let listeners = crowd::listen(&members(&lab), home, "lobby", &["--lane", "multicast", "--server", &at]);
    let mut speaker = Speaker::start(server, home, "lobby", BYTES, RATE);
    speaker.say(RATE as usize);
    serving.signal(Signal::SIGSTOP);
    speaker.say(RATE as usize * 4);
    serving.signal(Signal::SIGCONT);
    speaker.say(RATE as usize);
    serving.kill();
    speaker.say(RATE as usize);
    let _again = relay(server, home);
    speaker.say(RATE as usize);
    let count = speaker.said().len();
    let _ = speaker.end();
    for member in listeners {
        let lines = finish(member, count);
        let heard = check_all("member", &lines, count);
        println!("{} of {count} came from the log", by_lane(&heard, "history"));
    }
}

/// What one run under loss came to.
struct Outcome {
    from_log: usize,
    sent_bytes: u64,
    late_ms: Vec<f64>,
    figures: String,
}

impl Outcome {
    fn late_ms(&self, share: f64) -> f64 {
        percentile(self.late_ms.clone(), share)
    }
}

fn one_loss(lab: &Lab, data: &Path, group: &str, messages: usize, rate: u32) -> Outcome {
    let relay = lab.host(0);
    let listeners = crowd::listen(&members(lab), data, group, &["--lane", "multicast"]);
    let (before, figures) = (relay.sent_bytes(), relay.figures(RELAY_METRICS));
    let mut speaker = Speaker::start(relay, data, group, BYTES, rate);
    speaker.say_upto(messages);
    let said = speaker.end();
    let mut outcome = Outcome { from_log: 0, sent_bytes: 0, late_ms: Vec::new(), figures: String::new() };
    for (number, member) in (1..).zip(listeners) {
        let lines = member.stdout_lines(messages);
        let heard = check_all(&format!("{group}, member {number}"), &lines, messages);
        outcome.from_log += heard.iter().filter(|message| !is_datagram(message)).count();
        outcome.late_ms.extend(latencies(&said, &member.stdout_times()));
    }
    outcome.sent_bytes = relay.sent_bytes() - before;
    outcome.figures = figures_since(&relay.figures(RELAY_METRICS), &figures);
    outcome
}

/// What the relay did meanwhile, for whoever reads the output.
fn figures_since(now: &BTreeMap<String, f64>, before: &BTreeMap<String, f64>) -> String {
    let of_repair =
        |name: &str| ["relay_datagrams_sent", "relay_naks", "relay_repair"].iter().any(|part| name.contains(part));
    let changes = now.iter().map(|(name, value)| (name, value - before.get(name).unwrap_or(&0.0)));
    let told = changes.filter(|(name, change)| of_repair(name) && *change > 0.0);
    let short = |name: &str| name.replace("relay_", "").replace("_total", "").replace("datagrams_sent", "");
    told.map(|(name, change)| format!("{} {change}", short(name))).collect::<Vec<_>>().join(", ")
}

fn is_datagram(message: &Heard) -> bool {
    message.lane == "multicast"
}

/// From being given to the publishing command to being read from the listening one, ms.
fn latencies(said: &[Instant], heard: &[Instant]) -> Vec<f64> {
    said.iter().zip(heard).map(|(said, heard)| heard.saturating_duration_since(*said).as_secs_f64() * 1e3).collect()
}

fn percentile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * share) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

fn healed_for(speaker: &Speaker, healed: usize) -> f64 {
    let at = speaker.said()[healed - 1];
    at.elapsed().as_secs_f64()
}

/// All lines of a listener that has heard everything, and that nothing more comes from.
fn finish(member: Process, count: usize) -> Vec<String> {
    let _ = member.stdout_lines(count);
    // Long enough for a repetition that was on its way.
    thread::sleep(Duration::from_millis(300));
    member.signal(Signal::SIGTERM);
    member.end().stdout
}

fn members(lab: &Lab) -> Vec<&Host> {
    (1..lab.len()).map(|index| lab.host(index)).collect()
}

fn percents() -> Vec<u32> {
    let wanted = env::var("GAUNG_LOSS_PERCENT").unwrap_or_else(|_| "0,5,20".to_owned());
    wanted.split(',').map(|percent| percent.trim().parse().expect("GAUNG_LOSS_PERCENT is a list of numbers")).collect()
}

fn setting(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn up(host: &Host, data: &Path) -> Process {
    let data = data.join("server").display().to_string();
    let server = host.start(program("gaung"), &["up", "--headless", "--segmentation", "off", "--data", &data]);
    let _ = server.stdout_line("registry's address", |line| line.contains("7400"));
    server
}

fn registry(host: &Host, data: &Path) -> Process {
    let data = data.join("registry").display().to_string();
    let registry =
        host.start(program("group-registry"), &["--metrics-listen", "off", "--log-level", "info", "--data", &data]);
    let _ = registry.stderr_line("sign that it serves", |line| line.contains("registry serves"));
    registry
}

fn relay(host: &Host, data: &Path) -> Process {
    let data = data.join("relay").display().to_string();
    let relay =
        host.start(program("multicast-relay"), &["--metrics-listen", "off", "--log-level", "info", "--data", &data]);
    let _ = relay.stderr_line("registration", |line| line.contains("registered"));
    relay
}
