//! What lies over the conversation until it is closed.

use gaung_proto::Seq;

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Overlay {
    /// The keys and commands.
    Help {
        /// First row shown.
        top: usize,
    },
    /// A message, and who has heard it.
    Info {
        /// Which.
        seq: Seq,
        /// First row shown.
        top: usize,
    },
    /// Rows to read, or to choose a message from.
    List(List),
}

/// Rows under a title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List {
    /// What it is.
    pub(crate) title: String,
    /// Harmless.
    pub(crate) rows: Vec<ListRow>,
    /// Which row is chosen, or the first one shown where none can be chosen.
    pub(crate) at: usize,
    /// More may come.
    pub(crate) busy: bool,
    /// The number of the request whose answers fill it; `None` if it is complete.
    pub(crate) number: Option<u64>,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListRow {
    /// Harmless.
    pub(crate) text: String,
    /// The message to jump to.
    pub(crate) seq: Option<Seq>,
}

impl ListRow {
    /// Makes a row that is only read.
    pub(crate) const fn text(text: String) -> Self {
        Self { text, seq: None }
    }
}

impl List {
    /// Rows can be chosen.
    pub(crate) fn is_choice(&self) -> bool {
        self.rows.iter().any(|row| row.seq.is_some())
    }
}
