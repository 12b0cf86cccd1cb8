//! What black-box tests share: fresh programs, processes whose output is awaited, running deployments, and the gate of
//! tests that need more than a user's machine may have; and the seeded simulation.

pub mod browser;
pub mod capture;
pub mod clock;
pub mod crowd;
pub mod day;
pub mod deployment;
pub mod eve;
pub mod histogram;
pub mod hostile;
pub mod impair;
pub mod in_process;
pub mod lab;
pub mod load;
pub mod process;
pub mod programs;
pub mod pty;
pub mod reorder;
pub mod requires;
pub mod reserved_port;
pub mod services;
pub mod simulation;
pub mod tcpdump;
pub mod terminal;
pub mod wiretap;
