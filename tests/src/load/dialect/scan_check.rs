//! What the tests of every dialect do: scan stamped messages that come whole, and byte by byte.

use super::{Dialect, Heard, Role};
use crate::load::stamp::Stamp;

const DUE_NS: u64 = 7;
const PAYLOAD_BYTES: usize = 40;

/// Returns a payload of 40 bytes with the stamp `number`.
#[must_use]
pub fn stamped_payload(number: u64) -> Vec<u8> {
    let mut payload = Vec::new();
    Stamp { number, due_ns: DUE_NS }.write(PAYLOAD_BYTES, &mut payload);
    payload
}

/// Returns what a listener hears of [`stamped_payload`] under `seq`.
#[must_use]
pub const fn stamped_message(number: u64, seq: u64) -> Heard {
    Heard::Message { stamp: Stamp { number, due_ns: DUE_NS }, seq }
}

/// Returns what is heard if the bytes come whole.
///
/// # Panics
/// If it is not the same when they come one by one, or the dialect refuses them.
pub fn scan_whole_and_split(dialect: &dyn Dialect, role: Role, bytes: &[u8]) -> Vec<Heard> {
    let scan = |bytes: &[u8], heard: &mut Vec<Heard>| {
        dialect.scan(role, bytes, &mut |one| heard.push(one)).expect("the dialect understands what is sent")
    };
    let (mut whole, mut pieces, mut from) = (Vec::new(), Vec::new(), 0);
    assert_eq!(scan(bytes, &mut whole), bytes.len());
    for upto in 0..=bytes.len() {
        from += scan(&bytes[from..upto], &mut pieces);
    }
    assert_eq!((&pieces, from), (&whole, bytes.len()));
    whole
}
