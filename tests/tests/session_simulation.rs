//! Seeded runs of hub sessions with readers and requesters of every kind, each judged; and proof that the
//! judge notices a mechanism that is missing.
//!
//! A failure prints the seed and its settings. `GAUNG_SEED=N` runs that seed alone; `GAUNG_ORIGIN=N` other seeds, and
//! `GAUNG_SEEDS=N` more of them.
#![allow(missing_docs)]

use std::{env, time::Duration};

use gaung_tests::simulation::session::{
    Habit, PeerSettings, Reader, SessionBreakage, SessionCounts, SessionReport, SessionSettings, run_sessions,
};

/// Seeds of each run of the tests, the same at every run.
const SEEDS: u64 = 50;

#[test]
fn drawn_seeds_hold() {
    let seeds: Vec<u64> = match env::var("GAUNG_SEED") {
        Ok(seed) => vec![seed.parse().expect("GAUNG_SEED is a number")],
        Err(_) => {
            let origin = env::var("GAUNG_ORIGIN").map_or(1, |origin| origin.parse().expect("GAUNG_ORIGIN is a number"));
            (0..seeds()).map(|i| origin << 16 | i).collect()
        }
    };
    let mut sum = SessionCounts::default();
    for seed in seeds {
        let settings = SessionSettings::draw(seed);
        let report = run_sessions(&settings);
        assert_eq!(report.failure, None, "GAUNG_SEED={seed} runs this again: {settings:#?}");
        sum = sum + report.counts;
    }
    println!("{sum:?}");
}

/// Of this run: `GAUNG_SEEDS`, or [`SEEDS`].
fn seeds() -> u64 {
    env::var("GAUNG_SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("GAUNG_SEEDS is a number"))
}

#[test]
fn one_seed_is_one_run() {
    for seed in 1..=6 {
        let settings = SessionSettings::draw(seed);
        assert_eq!(run_sessions(&settings), run_sessions(&settings), "seed {seed}");
    }
}

#[test]
fn what_the_runs_are_about_happens() {
    let reports: Vec<SessionReport> = (1..=30).map(|seed| run_sessions(&SessionSettings::draw(seed))).collect();
    let sum = reports.iter().fold(SessionCounts::default(), |sum, report| sum + report.counts);
    assert!(sum.delivered > 1000 && sum.published > 100, "{sum:?}");
    assert!(sum.gaps > 0 && sum.reads > 10 && sum.resyncs > 0 && sum.sent_away > 10, "{sum:?}");
}

#[test]
fn a_cursor_that_is_not_advanced_is_noticed() {
    assert_missed(busy, SessionBreakage { keeps_cursors: true, ..SessionBreakage::default() }, &["came again", "came"]);
}

#[test]
fn a_gap_that_is_not_stated_is_noticed() {
    assert_missed(lossy, SessionBreakage { hides_gaps: true, ..SessionBreakage::default() }, &["was not said"]);
}

#[test]
fn a_run_of_the_log_that_gets_lost_is_noticed() {
    assert_missed(behind, SessionBreakage { loses_log_runs: true, ..SessionBreakage::default() }, &["a hole"]);
}

#[test]
fn a_session_that_is_not_told_of_a_run_is_noticed() {
    assert_missed(busy, SessionBreakage { loses_marks: true, ..SessionBreakage::default() }, &["late", "waits for"]);
}

#[test]
fn a_slow_reader_that_holds_up_the_others_is_noticed() {
    let broken = SessionBreakage { waits_for_blocked: true, ..SessionBreakage::default() };
    assert_missed(beside_a_stuck_one, broken, &["is late", "waits for"]);
}

#[test]
fn a_reader_that_reads_nothing_and_is_kept_is_noticed() {
    let broken = SessionBreakage { keeps_stuck_readers: true, ..SessionBreakage::default() };
    assert_missed(beside_a_stuck_one, broken, &["reads nothing"]);
}

#[test]
fn a_reader_that_is_resynchronised_again_and_again_is_noticed() {
    let broken = SessionBreakage { resyncs_for_ever: true, ..SessionBreakage::default() };
    assert_missed(pausing, broken, &["was resynchronised"]);
}

#[test]
fn requests_that_are_read_without_a_limit_are_noticed() {
    assert_missed(flooded, SessionBreakage { reads_on: true, ..SessionBreakage::default() }, &["wait for the relay"]);
}

#[test]
fn a_session_that_stays_in_its_groups_is_noticed() {
    let broken = SessionBreakage { leaves_no_group: true, ..SessionBreakage::default() };
    assert_missed(beside_a_stuck_one, broken, &["still in groups"]);
}

fn busy(seed: u64) -> SessionSettings {
    SessionSettings::calm(seed)
}

/// Logs lose what slow newcomers want to read.
fn lossy(seed: u64) -> SessionSettings {
    let trims = (5..35).map(|i| Duration::from_millis(100 * i)).collect();
    SessionSettings { trims, ring_bytes: 4096, ..with_peer(seed, Reader::Slow(1024)) }
}

/// A reader that is slower than what comes.
fn behind(seed: u64) -> SessionSettings {
    SessionSettings { ring_bytes: 16 * 1024, ..with_peer(seed, Reader::Slow(600)) }
}

/// A reader that falls behind, catches up, and falls behind again.
fn pausing(seed: u64) -> SessionSettings {
    SessionSettings { ring_bytes: 4096, ..with_peer(seed, Reader::Pausing(Duration::from_millis(500))) }
}

fn beside_a_stuck_one(seed: u64) -> SessionSettings {
    let until = Duration::from_secs(8);
    SessionSettings { until, ..with_peer(seed, Reader::Stuck(Duration::from_millis(500))) }
}

fn flooded(seed: u64) -> SessionSettings {
    let mut settings = SessionSettings { relay_delay: Duration::from_secs(5), ..with_peer(seed, Reader::Fast) };
    settings.peers.iter_mut().for_each(|peer| peer.habit = Habit::Flood);
    settings
}

/// Two such readers before the others.
fn with_peer(seed: u64, reader: Reader) -> SessionSettings {
    let mut settings = SessionSettings::calm(seed);
    let peer = PeerSettings { at: Duration::ZERO, is_text: false, reader, habit: Habit::Client };
    settings.peers.splice(0..0, [peer; 2]);
    settings
}

/// Whole, the mechanism holds; without it the judge says one of `words` for one seed at least.
fn assert_missed(settings: impl Fn(u64) -> SessionSettings, breakage: SessionBreakage, words: &[&str]) {
    let reports = |breakage| -> Vec<SessionReport> {
        (1..=8).map(|seed| run_sessions(&SessionSettings { breakage, ..settings(seed) })).collect()
    };
    let whole = reports(SessionBreakage::default());
    assert!(whole.iter().all(|report| report.failure.is_none()), "{whole:#?}");
    let broken = reports(breakage);
    let is_seen = |report: &SessionReport| {
        report.failure.as_ref().is_some_and(|failure| words.iter().any(|words| failure.contains(words)))
    };
    assert!(broken.iter().any(is_seen), "nobody noticed {breakage:?}: {broken:#?}");
}
