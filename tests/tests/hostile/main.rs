//! One hostile host on a LAN: it fills, lies, floods and stalls, while honest people go on talking.
//!
//! Each attack is bounded in time and rate. While it lasts honest messages have to be acknowledged and heard, newcomers
//! have to be let in, and five seconds after it everything has to be as before. Each prints one row: how late messages
//! were (median and 99th percentile), and the server's memory. Attacks run one at a time, for they load the machine:
//!
//! ```sh
//! cargo test --release -p gaung-tests --test hostile -- --nocapture
//! ```
#![allow(missing_docs)]

mod filling;
mod flooding;
mod forging;
mod lying;
mod stalling;

use std::sync::{Mutex, PoisonError};

use gaung_tests::{
    hostile::{Attacker, GROUP, Harm, HostileLan},
    requires::{self, Need},
};

/// What somebody new does while an attack lasts; each command has to succeed.
const NEWCOMERS: [&[&str]; 5] = [
    &["group", "list"],
    &["group", "create", "newcomers"],
    &["send", "newcomers", "halo"],
    &["history", "newcomers"],
    &["listen", GROUP, "--lane", "tcp", "--count", "1", "--json"],
];

/// How much the server's memory may grow by in an attack, in MiB: streams, requests under way and their answers have
/// budgets of 64 MiB each, and an allocator keeps some of what was freed.
const MEMORY_MIB: u64 = 256;

static ALONE: Mutex<()> = Mutex::new(());

/// Lets honest people suffer an attack, and holds what they notice to the bounds. Does nothing where no namespaces can be
/// made.
fn suffer(name: &str, attack: impl FnOnce(Attacker) + Send) -> Option<Harm> {
    if !requires::has(name, &[Need::Namespaces]) {
        return None;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let harm = HostileLan::start(&[]).suffer(&NEWCOMERS, attack);
    println!("{name}: {harm}");
    harm.assert_small(MEMORY_MIB);
    Some(harm)
}

/// The same of an attack by forged datagrams: until messages are signed they are shown, but no true one is lost, and soon
/// after all is as before.
fn suffer_forgery(name: &str, attack: impl FnOnce(Attacker) + Send) {
    if !requires::has(name, &[Need::Namespaces]) {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let harm = HostileLan::start(&[]).suffer_forgery(attack);
    println!("{name}: {harm}");
    harm.assert_recovered(MEMORY_MIB);
}
