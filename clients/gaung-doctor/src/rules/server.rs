//! Judges a server's security.

use super::{
    super::{
        facts::{Facts, ServerProof},
        finding::{ServerTrouble, Trouble},
    },
    Findings,
};

const DAY: i64 = 24 * 60 * 60;
/// A certificate is renewed daily: an older one is of a server whose clock is behind, or which renews nothing.
const OLDEST: i64 = 3 * DAY;
/// Clocks that are set by hand differ by so much.
const AHEAD: i64 = DAY / 2;
/// Days before and after its issue for which a certificate is valid.
const VALID_DAYS: i64 = 400;

pub(super) fn judge(facts: &Facts, findings: &mut Findings) {
    let Some(server) = &facts.server else { return };
    let mut say = |trouble| findings.of_machine(Trouble::Server { address: server.address.clone(), trouble });
    match &server.proof {
        ServerProof::Site { certificate_age: Some(age) } if !(-AHEAD..=OLDEST).contains(age) => {
            let days = age / DAY;
            say(ServerTrouble::ClocksDiffer { days, refused_by_browsers: days.abs() >= VALID_DAYS });
        }
        ServerProof::Site { .. } => {}
        ServerProof::OtherSite { shown, expected } => {
            say(ServerTrouble::OtherSite { shown: shown.clone(), expected: expected.clone() });
        }
        ServerProof::NoTls => say(ServerTrouble::NoTls),
        ServerProof::NotAsked => say(ServerTrouble::NotAsked),
    }
    if server.takes_plaintext {
        say(ServerTrouble::TakesPlaintext);
    }
}
