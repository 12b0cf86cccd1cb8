//! Every decoder of the crate with a maker of valid input for it, so that each test visits them all.

mod bodies;
mod streams;

use rand::{Rng as _, RngCore as _, rngs::StdRng};

/// A decoder under test.
pub(crate) struct Subject {
    /// Of the type it decodes.
    pub(crate) name: &'static str,
    /// Valid input, another one at each call.
    pub(crate) sample: fn(&mut StdRng) -> Vec<u8>,
    /// Decodes and reads everything there is to read; `None` if the input is refused.
    pub(crate) decode: fn(&[u8]) -> Option<Decoded>,
}

impl Subject {
    /// Whether the input is taken; what is taken must be what was sent.
    pub(crate) fn takes(&self, bytes: &[u8]) -> bool {
        let Some(Decoded { again, canonical }) = (self.decode)(bytes) else { return false };
        assert!(!canonical || again == bytes, "{}: took {bytes:02x?} for {again:02x?}", self.name);
        true
    }
}

/// What decoding gave.
pub(crate) struct Decoded {
    /// The value encoded again.
    pub(crate) again: Vec<u8>,
    /// Whether that must equal the input: the layout has one way to say a thing.
    pub(crate) canonical: bool,
}

impl Decoded {
    /// The layout has one encoding for each value.
    pub(crate) fn canonical(again: impl Into<Vec<u8>>) -> Option<Self> {
        Some(Self { again: again.into(), canonical: true })
    }

    /// Several encodings stand for the same value.
    pub(crate) fn loose(again: impl Into<Vec<u8>>) -> Option<Self> {
        Some(Self { again: again.into(), canonical: false })
    }
}

/// All decoders.
pub(crate) fn all() -> Vec<Subject> {
    let mut subjects = bodies::subjects();
    subjects.extend(streams::subjects());
    subjects
}

/// `len` random bytes.
pub(crate) fn random_bytes(rng: &mut StdRng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// Sixteen random bytes.
pub(crate) fn id(rng: &mut StdRng) -> [u8; 16] {
    rng.random()
}

/// A length that is mostly small, at times the limit itself.
pub(crate) fn length(rng: &mut StdRng, limit: usize) -> usize {
    match rng.random_range(0..8) {
        0 => limit,
        1 => 0,
        _ => rng.random_range(0..=limit.min(200)),
    }
}
