//! The completion of a word by Tab.

/// The candidates for the word before the cursor, and which of them is in the line now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Completion {
    start: usize,
    /// At least one candidate, each with the punctuation after it.
    candidates: Vec<String>,
    at: usize,
}

impl Completion {
    /// Starts with the first candidate; `None` if there is none. `start` is the byte at which the word begins.
    pub(crate) fn begin(start: usize, candidates: Vec<String>) -> Option<Self> {
        (!candidates.is_empty()).then_some(Self { start, candidates, at: 0 })
    }

    /// Goes on to the next candidate, or back to the one before.
    pub(crate) fn advance(&mut self, back: bool) {
        let count = self.candidates.len();
        self.at = (self.at + if back { count - 1 } else { 1 }) % count;
    }

    /// Returns the byte at which the word begins, and the candidate that replaces it.
    pub(crate) fn replacement(&self) -> (usize, &str) {
        (self.start, &self.candidates[self.at])
    }
}
