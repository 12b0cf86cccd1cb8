//! A seeded simulation of hub sessions: the real session core, dialects and rings, over a simulated log, registry, relay
//! and network. Readers are fast, slow, stuck or dying, and some peers mean harm; a model of each peer judges every byte.
//!
//! [`SessionSettings::draw`] makes the settings of a run from one seed, [`run_sessions`] runs them. The same settings give
//! the same run.

mod hub;
mod judge;
mod peer;
mod requests;
mod settings;
mod shell;
mod world;

pub use settings::{Habit, PeerSettings, Reader, SessionBreakage, SessionSettings};
pub use world::{SessionCounts, SessionReport, run_sessions};
