//! A completion by Tab that is under way.

/// The words that can replace the one before the cursor, and which of them stands there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Completion {
    start: usize,
    /// At least one, each with what follows it.
    candidates: Vec<String>,
    at: usize,
}

impl Completion {
    /// Starts with the first candidate; `None` if there is none. `start`: the byte at which the word begins.
    pub(crate) fn begin(start: usize, candidates: Vec<String>) -> Option<Self> {
        (!candidates.is_empty()).then_some(Self { start, candidates, at: 0 })
    }

    /// Goes on to the next candidate, or back to the one before.
    pub(crate) fn advance(&mut self, back: bool) {
        let count = self.candidates.len();
        self.at = (self.at + if back { count - 1 } else { 1 }) % count;
    }

    /// The byte at which the word begins, and what stands there.
    pub(crate) fn replacement(&self) -> (usize, &str) {
        (self.start, &self.candidates[self.at])
    }
}
