//! A seeded simulation of the whole path of a message, in virtual time: publishers, relay with its log, a bad network,
//! members with their three lanes, and those who mean harm. A much simpler model judges every run.
//!
//! [`Settings::draw`] makes the settings of a run from one seed, [`run`] runs them. Nothing else goes in: the same
//! settings give the same run, event by event ([`Report::trace`]).

mod attacker;
mod clock;
mod day;
mod disk;
mod draw;
mod event;
mod faults;
mod figures;
mod lanes;
mod limits;
mod member;
mod model;
mod network;
mod publisher;
mod relay;
mod seeds;
pub mod session;
mod settings;
mod trace;
mod weather;
mod world;

pub use figures::Figures;
pub use seeds::{Failure, Tally, run_seeds, seeds_of};
pub use settings::{
    Attack, AttackKind, Breakage, DiskSettings, Fault, Mix, PayloadSizes, Settings, Target, TimedFault, Traffic,
};
pub use weather::{Loss, Weather};
pub use world::{Counts, Report, run};
