//! A relay that is stopped, goes on, is killed, and starts again.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use gaung_tests::{
    crowd::{self, Speaker, by_lane, check_all, gaung},
    lab::{Host, Lab},
    needs,
    process::Process,
    programs::program,
    services::ENROL_SECRET,
};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::{BYTES, alone, finish, members, setting};

/// A second of talk.
const RATE: u32 = 200;
/// What a publisher keeps unacknowledged is less than 1024 messages.
const SAID_WHILE_STOPPED: u32 = 900;
/// From the moment that the relay goes on, or serves again, to everybody's having what was said before.
const STALL: Duration = Duration::from_secs(10);

#[test]
fn a_relay_that_stands_still_and_dies_loses_and_repeats_nothing() {
    needs!(Namespaces, Nft);
    let _alone = alone();
    let stop = setting("GAUNG_LOSS_STOP", 4) as u32;
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
    let slow = RATE.min(SAID_WHILE_STOPPED / stop);
    speaker.say_upto_at(speaker.said().len() + (slow * stop) as usize, slow);
    serving.signal(Signal::SIGCONT);
    let gone_on = (Instant::now(), speaker.said().len());
    speaker.say(RATE as usize);

    serving.kill();
    speaker.say(RATE as usize);
    let _again = relay(server, home);
    let served_again = (Instant::now(), speaker.said().len());
    speaker.say(RATE as usize);

    let count = speaker.said().len();
    let _ = speaker.end();
    for (number, member) in (1..).zip(listeners) {
        let _ = member.stdout_lines(count);
        let times = member.stdout_times();
        let stalls = [gone_on, served_again].map(|(at, said)| times[said - 1].saturating_duration_since(at));
        let lines = finish(member, count);
        let heard = check_all("member", &lines, count);
        println!(
            "member {number}: had all {:.2} s after the relay went on from {stop} s of standing still, and {:.2} s after \
             it served again; {} of {count} came from the log",
            stalls[0].as_secs_f64(),
            stalls[1].as_secs_f64(),
            by_lane(&heard, "history")
        );
        assert!(stalls.iter().all(|stall| *stall <= STALL), "member {number}: {stalls:?}");
    }
}

fn registry(host: &Host, data: &Path) -> Process {
    let data = data.join("registry").display().to_string();
    let flags = ["--metrics-listen", "off", "--log-level", "info", "--enrol-secret", ENROL_SECRET, "--data", &data];
    let registry = host.start(program("group-registry"), &flags);
    let _ = registry.stderr_line("sign that it serves", |line| line.contains("registry serves"));
    registry
}

fn relay(host: &Host, data: &Path) -> Process {
    let data = data.join("relay").display().to_string();
    let flags = ["--metrics-listen", "off", "--log-level", "info", "--enrol-token", ENROL_SECRET, "--data", &data];
    let relay = host.start(program("multicast-relay"), &flags);
    let _ = relay.stderr_line("registration", |line| line.contains("registered"));
    relay
}
