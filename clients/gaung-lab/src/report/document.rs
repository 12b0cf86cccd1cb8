//! A report before it is a page or a text.

use crate::{claims::Verdict, words::Language};

/// Blocks one below the other.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Document {
    pub(super) language: Language,
    pub(super) title: String,
    pub(super) blocks: Vec<Block>,
}

/// A part of a document. Text may have `code` between backticks, and nothing else.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Block {
    /// Of a section.
    Heading(String),
    /// Within one.
    Subheading(String),
    Text(String),
    List(Vec<String>),
    /// Commands, one a line.
    Commands(String),
    Table(Table),
    Figure(Figure),
    /// A sentence of the analysis, with what it is worth in words.
    Claim {
        verdict: Verdict,
        worth: String,
        sentence: String,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    /// Empty for none.
    pub(super) caption: String,
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
    /// From this column on there are numbers.
    pub(super) numbers_from: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    /// Of its file, without the ending.
    pub(super) name: String,
    pub(super) svg: String,
    pub(super) caption: String,
}

impl Table {
    /// Without a caption.
    pub(super) const fn plain(head: Vec<String>, rows: Vec<Vec<String>>, numbers_from: usize) -> Self {
        Self { caption: String::new(), head, rows, numbers_from }
    }
}

impl Document {
    /// Name and picture of each figure.
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
