//! A day of a private group in virtual time: tickets, leases, clocks that are set, machines that sleep and processes that
//! are killed. What decides is the product's own: the registry over its store, the judges and stores of tickets, reading
//! rights, publishers, the sequencer with its client windows, the log and its retention. What is left out is what other
//! tests have: sockets and datagrams.
//!
//! [`DaySettings::draw`] makes a day from one seed, [`run_day`] runs it second by second.

mod device;
mod hub;
mod judge;
mod machine;
mod registry;
mod relay;
mod settings;
mod world;

pub use judge::{DEAF_OR_MUTE, DayCounts};
pub use settings::{DaySettings, Disturbance, Node, TimedDisturbance};
pub use world::{DayReport, run_day};
