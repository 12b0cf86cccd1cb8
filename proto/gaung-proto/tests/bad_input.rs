//! What came from the network may be anything: no decoder panics, and what it takes it has understood.
#![allow(missing_docs)]

mod subjects;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use subjects::Subject;

const PIECES: usize = 10_000;
const SEED: u64 = 0x6761_756e_6701;

#[test]
fn random_values_come_back_as_they_went() {
    for subject in subjects::all() {
        let mut rng = StdRng::seed_from_u64(SEED);
        for turn in 0..1000 {
            let bytes = (subject.sample)(&mut rng);
            let again = (subject.decode)(&bytes).map(|decoded| decoded.again);
            assert_eq!(again, Some(bytes), "{} seed {SEED} turn {turn}", subject.name);
        }
    }
}

#[test]
fn random_bytes_never_panic() {
    for subject in subjects::all() {
        let mut rng = StdRng::seed_from_u64(SEED);
        for _ in 0..PIECES {
            let len = rng.random_range(0..1500);
            let mut bytes = subjects::random_bytes(&mut rng, len);
            subject.takes(&bytes);
            keep_the_beginning(&subject, &mut rng, &mut bytes);
            subject.takes(&bytes);
        }
    }
}

#[test]
fn one_mutated_field_never_panics() {
    for subject in subjects::all() {
        let mut rng = StdRng::seed_from_u64(SEED);
        let mut refused = 0;
        for _ in 0..PIECES {
            let mut bytes = (subject.sample)(&mut rng);
            mutate(&mut rng, &mut bytes);
            refused += usize::from(!subject.takes(&bytes));
        }
        println!("{}: {refused} of {PIECES} refused", subject.name);
    }
}

#[test]
fn every_cut_of_a_valid_value_is_survived() {
    for subject in subjects::all() {
        let mut rng = StdRng::seed_from_u64(SEED);
        let bytes = (subject.sample)(&mut rng);
        for len in 0..bytes.len().min(4096) {
            subject.takes(&bytes[..len]);
        }
    }
}

/// Random bytes seldom get past the magic number; let some.
fn keep_the_beginning(subject: &Subject, rng: &mut StdRng, bytes: &mut [u8]) {
    let valid = (subject.sample)(rng);
    let kept = rng.random_range(0..=bytes.len().min(valid.len()).min(48));
    bytes[..kept].copy_from_slice(&valid[..kept]);
}

/// Changes one field of 1, 2, 4 or 8 bytes, or the length.
fn mutate(rng: &mut StdRng, bytes: &mut Vec<u8>) {
    let width = 1 << rng.random_range(0..4);
    if bytes.len() < width || rng.random_range(0..16) == 0 {
        let len = rng.random_range(0..=bytes.len() + 16);
        bytes.resize(len, rng.random());
        return;
    }
    // Most fields stand near the beginning.
    let span = bytes.len() - width + 1;
    let span = if rng.random() { span } else { span.min(96) };
    let at = rng.random_range(0..span);
    let field = &mut bytes[at..at + width];
    match rng.random_range(0..5) {
        0 => field.fill(0),
        1 => field.fill(0xff),
        2 => rng.fill(field),
        3 => field[width - 1] = field[width - 1].wrapping_add(1),
        _ => field[rng.random_range(0..width)] ^= 1 << rng.random_range(0..8),
    }
}
