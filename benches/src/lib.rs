//! Whole processes measured from outside: Gaung and what people would take instead, in turn, by one generator.
//!
//! `benches/README.md` says what is measured and how to read it. A [`Contest`](contest::Contest) is a few entries, each
//! a server under a load; in each round they run one after another, and the medians of the rounds are compared.

pub mod arguments;
mod contest;
mod contests;
mod dialect;
mod durable;
mod fan_out;
mod latency;
mod multicast;
pub mod multicast_peer;
mod program;
mod report;
mod target;

pub use self::program::run;
