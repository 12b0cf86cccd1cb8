//! Seeded random commands against the real registry, whose process dies at any point between command, transaction and
//! answer: no id, name or address is used twice, nothing acknowledged is lost, nothing refused happened, and watchers
//! miss no revision. And proof that the judge is not asleep.
//!
//! A failure prints its seed; `GAUNG_SEED=N` runs that seed alone.
#![allow(clippy::unwrap_used)]

mod crashing_store;
mod judge;
mod world;

use crashing_store::Sabotage;
use world::{Counts, run};

/// Seeds of each run of the tests.
const SEEDS: u64 = 300;
/// Seeds in which a removed safety has to be noticed at least once.
const SABOTAGED_SEEDS: u64 = 60;

#[test]
fn whatever_is_asked_and_whenever_it_dies_the_registry_keeps_its_promises() {
    let seeds: Vec<u64> = match std::env::var("GAUNG_SEED") {
        Ok(seed) => vec![seed.parse().expect("GAUNG_SEED is a number")],
        Err(_) => {
            let first = rand::random::<u32>().into();
            (first..first + SEEDS).collect()
        }
    };
    let mut sum = Counts::default();
    for &seed in &seeds {
        let counts = run(seed, Sabotage::None).unwrap_or_else(|what| panic!("GAUNG_SEED={seed}: {what}"));
        sum.made += counts.made;
        sum.deleted += counts.deleted;
        sum.regained += counts.regained;
        sum.refused += counts.refused;
        sum.crashes += counts.crashes;
        sum.watched += counts.watched;
    }
    println!("{} seeds: {sum:?}", seeds.len());
    if seeds.len() > 1 {
        let least = [sum.made, sum.deleted, sum.regained, sum.refused, sum.crashes, sum.watched].into_iter().min();
        assert!(least > Some(SEEDS / 4), "something hardly happened: {sum:?}");
    }
}

fn assert_noticed(sabotage: Sabotage, what: &str) {
    let found: Vec<String> = (0..SABOTAGED_SEEDS).filter_map(|seed| run(seed, sabotage).err()).collect();
    assert!(found.iter().any(|found| found.contains(what)), "{sabotage:?}: {found:?}");
}

#[test]
fn an_answer_before_the_commit_is_noticed() {
    assert_noticed(Sabotage::AnswersBeforeCommit, "became None by");
}

#[test]
fn half_a_commit_is_noticed() {
    assert_noticed(Sabotage::HalfCommits, "a watcher knows");
}

#[test]
fn a_quarantine_that_is_skipped_is_noticed() {
    assert_noticed(Sabotage::SkipsQuarantine, "has an address that rests");
}

#[test]
fn a_follower_with_a_clock_of_its_own_is_noticed() {
    assert_noticed(Sabotage::AppliesLater, "gives a follower");
}

#[test]
fn a_name_that_is_not_kept_is_noticed() {
    assert_noticed(Sabotage::ForgetsNames, "Name(");
}
