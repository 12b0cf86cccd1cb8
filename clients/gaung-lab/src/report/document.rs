//! The content of a report, apart from its format.

use crate::{claims::Verdict, words::Language};

/// A document: a title and blocks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Document {
    pub(super) language: Language,
    pub(super) title: String,
    pub(super) blocks: Vec<Block>,
}

/// A part of a document. Text may have `code` between backticks, and nothing else.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Block {
    /// The heading of a section.
    Heading(String),
    /// A heading within a section.
    Subheading(String),
    Text(String),
    List(Vec<String>),
    /// Command lines.
    Commands(String),
    Table(Table),
    Figure(Figure),
    /// A claim: its sentence, and its verdict in words.
    Claim {
        verdict: Verdict,
        worth: String,
        sentence: String,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    /// The caption; empty for none.
    pub(super) caption: String,
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
    /// The first column of numbers.
    pub(super) numbers_from: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    /// The name of its file, without the extension.
    pub(super) name: String,
    pub(super) svg: String,
    pub(super) caption: String,
}

impl Table {
    /// Makes a table without a caption.
    pub(super) const fn plain(head: Vec<String>, rows: Vec<Vec<String>>, numbers_from: usize) -> Self {
        Self { caption: String::new(), head, rows, numbers_from }
    }
}

impl Document {
    /// Iterates over the name and SVG of each figure.
    pub(super) fn figures(&self) -> impl Iterator<Item = (&str, &str)> {
        self.blocks.iter().filter_map(|block| match block {
            Block::Figure(figure) => Some((figure.name.as_str(), figure.svg.as_str())),
            Block::Heading(_)
            | Block::Subheading(_)
            | Block::Text(_)
            | Block::List(_)
            | Block::Commands(_)
            | Block::Table(_)
            | Block::Claim { .. } => None,
        })
    }
}
