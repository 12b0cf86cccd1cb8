//! What every message of a measurement says: its number, and when it was due.

/// Bytes of a stamp; no message is shorter.
pub const STAMP: usize = 16;

/// The first bytes of a payload; the rest fills it up to the size that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Counted from 0 over all publishers and groups.
    pub number: u64,
    /// When it should have been published, CLOCK_MONOTONIC ns: latency counts from here, also if publishing was late.
    pub due_ns: u64,
}

impl Stamp {
    /// Appends a payload of `size` bytes.
    ///
    /// # Panics
    /// If `size` is less than [`STAMP`].
    pub fn write(self, size: usize, out: &mut Vec<u8>) {
        assert!(size >= STAMP, "the loads' sizes hold a stamp");
        let end = out.len() + size;
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.due_ns.to_be_bytes());
        out.resize(end, b'x');
    }

    /// Reads a payload's; `None` if it is too short for one.
    #[must_use]
    pub fn read(payload: &[u8]) -> Option<Self> {
        let (number, rest) = payload.split_first_chunk::<8>()?;
        let due = rest.first_chunk::<8>()?;
        Some(Self { number: u64::from_be_bytes(*number), due_ns: u64::from_be_bytes(*due) })
    }
}
