//! What covers the conversation until it is closed.

use gaung_proto::Seq;

/// Something that covers the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Overlay {
    /// The keys and commands.
    Help {
        /// The first row that is shown.
        top: usize,
    },
    /// A message and its receipt.
    Info {
        /// The message.
        seq: Seq,
        /// The first row that is shown.
        top: usize,
    },
    /// Rows that are only read, or of which one is chosen.
    List(List),
}

/// A list of rows under a title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List {
    /// The title.
    pub(crate) title: String,
    /// The rows.
    pub(crate) rows: Vec<ListRow>,
    /// The index of the selected row, or of the first one shown if none can be selected.
    pub(crate) at: usize,
    /// Whether more rows may come.
    pub(crate) busy: bool,
    /// The number of the request whose answers fill it; `None` if it is complete.
    pub(crate) number: Option<u64>,
}

/// One row of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListRow {
    /// The text, without control characters.
    pub(crate) text: String,
    /// The message to which Enter jumps.
    pub(crate) seq: Option<Seq>,
}

impl ListRow {
    /// Makes a row that is only read.
    pub(crate) const fn text(text: String) -> Self {
        Self { text, seq: None }
    }
}

impl List {
    /// Returns whether a row can be selected.
    pub(crate) fn is_choice(&self) -> bool {
        self.rows.iter().any(|row| row.seq.is_some())
    }
}
