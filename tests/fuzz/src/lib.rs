//! What each fuzz target does with its input. Each `run` panics where a promise is broken, and on nothing else; the
//! committed corpus goes through the same functions in an ordinary test.

pub mod codecs;
pub mod member;
pub mod relay;
mod script;
pub mod trust;
