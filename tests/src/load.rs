//! Servers under load: many listeners and speakers in one thread, and what comes to whom. Tests hold Gaung to it, and the
//! benches hold it against other servers by the same parts.

pub mod audience;
pub mod closed_loop;
pub mod connection;
pub mod dialect;
pub mod fairness;
pub mod figure;
pub mod idle;
pub mod ledger;
pub mod link;
pub mod server;
mod slow;
pub mod stamp;
pub mod stretch;
pub mod usage;
