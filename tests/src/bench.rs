//! Whole processes measured from outside: Gaung and what people would take instead, in turn, by one generator.
//!
//! `tests/bench/README.md` says what is measured and how to read it. A [`Contest`](contest::Contest) is a few entries, each
//! a server under a load; in each round they run one after another, and the medians of the rounds are compared.

pub mod arguments;
mod audience;
mod closed_loop;
mod connection;
mod contest;
mod contests;
mod dialect;
mod durable;
pub mod fairness;
mod fan_out;
mod figure;
pub mod idle;
mod latency;
mod ledger;
mod multicast;
mod program;
mod report;
mod slow;
mod stamp;
mod stretch;
mod target;
mod usage;

pub use self::program::run;
