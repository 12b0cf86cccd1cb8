//! Listeners that read slowly or not at all: the others go on, and the slow miss nothing in the end.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use gaung_tests::load::fairness::Fairness;

/// What the hub holds of a group in memory is at least twice what is in flight, so that a keen listener is never behind it.
const LOAD: Fairness = Fairness { keen: 20, sipping: 3, stopped: 3, window: 32, size: 1024 };
const SLOW: usize = LOAD.sipping + LOAD.stopped;
/// Eight times as much as the systems at both ends of a connection hold of it.
const MESSAGES: u64 = 6000;
const NEVER_STALLS: u64 = 600;

#[test]
fn slow_readers_are_resynchronised_from_the_log_and_delay_nobody() {
    // Who only waited for the processor must not count as slow a second time within a minute.
    let verdict = LOAD.over_a_small_ring("512KiB", MESSAGES, Duration::ZERO, NEVER_STALLS).unwrap();
    assert!(verdict.faults.is_empty(), "{verdict:?}");
    assert_eq!((verdict.caught_up, verdict.came_back), (SLOW, 0), "nobody is sent away for having been slow once");
}

#[test]
fn an_unresponsive_reader_is_disconnected_and_resumes_without_a_loss() {
    let verdict = LOAD.over_a_small_ring("64KiB", MESSAGES, Duration::from_secs(4), 1).unwrap();
    assert!(verdict.faults.is_empty(), "{verdict:?}");
    assert!(verdict.came_back >= LOAD.stopped, "who reads nothing for a second has to come back: {verdict:?}");
    assert_eq!(verdict.told_where, verdict.came_back, "each was told where to resume: {verdict:?}");
    assert!(verdict.caught_up <= LOAD.sipping, "{verdict:?}");
}
