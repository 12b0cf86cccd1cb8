//! Random orders of what can happen to a relay, under laws that must hold in each of them.

use super::world::{Sabotage, Violation, World};

const STEPS: usize = 150;

fn run(seed: u64, is_durable: bool, sabotage: Option<Sabotage>) -> Result<(), Violation> {
    let mut world = World::new(seed, is_durable, sabotage);
    (0..STEPS).try_for_each(|_| world.step())?;
    world.recover()
}

fn holds_in_every_order(is_durable: bool) {
    for seed in 0..300 {
        if let Err(violation) = run(seed, is_durable, None) {
            panic!("seed {seed}: {violation}");
        }
    }
}

#[test]
fn the_laws_hold_for_a_durable_log_in_every_order() {
    holds_in_every_order(true);
}

#[test]
fn the_laws_hold_for_a_memory_log_in_every_order() {
    holds_in_every_order(false);
}

#[test]
fn the_laws_see_what_is_broken() {
    for (sabotage, seen_as) in [
        (Sabotage::ForgetFormerLogs, "replaced"),
        (Sabotage::KeepDetached, "two openings"),
        (Sabotage::KeepRoutes, "not open"),
        (Sabotage::ForgetDeletions, "deleted"),
        (Sabotage::BelieveClaims, "nothing was lost"),
    ] {
        let mut violations = (0..300).filter_map(|seed| run(seed, true, Some(sabotage)).err());
        assert!(violations.any(|violation| violation.contains(seen_as)), "{sabotage:?} goes unseen");
    }
}
