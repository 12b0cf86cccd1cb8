//! What sessions cost where nothing happens.
#![allow(clippy::unwrap_used, missing_docs)]

use gaung_tests::load::idle::Idle;

/// Of one core, for everything that `gaung up` does; this build is not optimised.
const CORES: f64 = 0.05;
/// Twice what an optimised build may take of each.
const KIB: f64 = 8.0;

#[test]
fn a_thousand_idle_sessions_cost_next_to_nothing() {
    let (cores, kib) = Idle { listeners: 1000 }.cost().unwrap();
    assert!(cores < CORES, "{cores:.3} cores");
    assert!(kib < KIB, "{kib:.2} KiB a session");
}
