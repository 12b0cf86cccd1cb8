//! Text for terminals: foreign text without control characters, columns, tables, colours.
//!
//! The command, its chat and its doctor write to the same terminals; this crate is what they share, so that no foreign
//! text reaches one of them raw.

pub mod names;
pub mod sanitise;
pub mod style;
pub mod table;
pub mod wrap;
