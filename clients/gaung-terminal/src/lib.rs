//! Text for terminals: foreign text without control characters, columns, tables, colours.
//!
//! The command, the chat and the doctor write to the same terminals; they share this crate, so that no foreign
//! text reaches one of them raw.

pub mod names;
pub mod sanitise;
pub mod style;
pub mod table;
pub mod wrap;
