//! A network on one machine, in namespaces that live no longer than the process which holds them: to be used
//! ([`up`], [`shell`]) and to be measured.
//!
//! A command makes namespaces for processes, mounts and networks ([`isolation`]) and starts itself again as their first
//! process. The kernel ends all processes of such a namespace with the first one, and a network namespace with its last
//! process: whatever ends the first process, SIGKILL too, nothing is left. On the machine itself nothing is made but a
//! file that says which labs run ([`running`]).

mod agent;
mod capture;
pub mod claims;
mod clock;
mod error;
mod experiment;
mod inside;
mod isolation;
mod machine;
pub mod measure;
mod mounts;
pub mod network;
pub mod report;
mod running;
mod runtime_folder;
pub mod samples;
mod services;
pub mod shell;
pub mod status;
mod supervise;
pub mod up;
pub mod words;

pub use error::Refusal;
pub use inside::run as inside;
pub use running::{LabName, Running, RunningHost};
