//! One member that multicast does not reach for a while.

use std::time::{Duration, Instant};

use gaung_tests::{
    crowd::{self, Speaker, by_lane, check_all, gaung},
    lab::Lab,
    needs,
};
use tempfile::TempDir;

use crate::{BYTES, MEMBERS, alone, is_unharmed, latency, members, setting, up};

#[test]
fn who_hears_no_multicast_any_more_goes_to_the_hub_and_returns() {
    const RATE: u32 = 100;
    needs!(Namespaces, Nft);
    let _alone = alone();
    let silence = Duration::from_secs(setting("GAUNG_LOSS_SILENCE", 8) as u64);
    let data = TempDir::new().expect("a temporary folder");
    let lab = Lab::new(1 + MEMBERS as u8);
    let relay = lab.host(0);
    let _server = up(relay, data.path());
    let _ = gaung(relay, data.path(), &["group", "create", "lobby"]).end().expect_code(0);
    let heard = crowd::listen(&members(&lab), data.path(), "lobby", &["--lane", "auto"]);
    let (deaf, others) = heard.split_first().expect("eight members");
    let mut speaker = Speaker::start(relay, data.path(), "lobby", BYTES, RATE);
    let seconds = |seconds: f64| (seconds * f64::from(RATE)) as usize;

    speaker.say(seconds(3.0));
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
    for (number, member) in (2..).zip(others) {
        let lines = member.stdout_lines(count);
        let messages = check_all("another", &lines, count);
        assert_eq!(by_lane(&messages, "multicast"), count, "the others stay where they are");
        let times = member.stdout_times();
        let before = latency(&said, &times, 0..silent_from);
        let meanwhile = latency(&said, &times, silent_from..healed);
        println!(
            "member {number}, latency p50 and p99: {:.2} and {:.2} ms before, {:.2} and {:.2} ms while one was deaf",
            before.0, before.1, meanwhile.0, meanwhile.1
        );
        assert!(is_unharmed(before, meanwhile), "member {number}: {before:?} before, {meanwhile:?} while one was deaf");
    }
}

fn healed_for(speaker: &Speaker, healed: usize) -> f64 {
    let at = speaker.said()[healed - 1];
    at.elapsed().as_secs_f64()
}
