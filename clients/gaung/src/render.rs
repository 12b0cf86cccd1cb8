//! How things look: messages as lines and as JSON, tables, times, colours, and remote text made harmless.

pub(crate) mod json;
pub(crate) mod line;
pub(crate) mod time;
