//! A network on one machine, in namespaces that live no longer than the process which holds them: to be used
//! ([`up`], [`shell`]) and to be measured.
//!
//! A command makes namespaces for processes, mounts and networks ([`isolation`]) and starts itself again as their first
//! process. The kernel ends all processes of such a namespace with the first one, and a network namespace with its last
//! process: whatever ends the first process, SIGKILL too, nothing is left. On the machine itself nothing is made but a
//! file that says which labs run ([`running`]), which the first process locks: a file without a lock is stale.
//!
//! - **No namespace has a name**, and the switch is a bridge in one too. Until a lab is up its first process ends with the
//!   command that asked for it (`PR_SET_PDEATHSIG`). [`shell`] enters the process namespace as well, so that a forgotten
//!   shell keeps no lab alive. What hosts write lies in memory, mounted within.
//! - **A host is a thread** that has unshared its network and its mounts ([`machine`]): sockets that it makes and processes
//!   that it starts are the host's, without `unsafe` and without `ip netns`.
//! - **Counters mean frames.** Each cable carries one datagram or segment a frame (`gso_max_segs 1`), and hosts have no IPv6,
//!   so that nobody speaks unasked.
//! - **Experiments are made of agents** ([`agent`]): processes in the hosts that the coordinator, the first process, asks in
//!   lines of JSON. The services are `gaung up`, receivers the SDK; messages carry their burst and number, and all hosts
//!   share one clock. Unicast to each is a plain UDP program of the lab's own, for Gaung has no such lane; multicast without
//!   repair is a group of bare text.
//! - **A report says what its samples support.** [`samples`] is one long table; [`claims`] are predicates over it that do no
//!   I/O, each with the figures of its sentence; [`words`] is the one catalogue, in which a text without its translation does
//!   not compile. [`report`] makes a document of both, and a page and Markdown of the document. `lab report --from` writes a
//!   measured run anew, in another language.

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
mod rights;
mod running;
mod runtime_folder;
pub mod samples;
mod services;
pub mod shell;
pub mod status;
mod supervise;
mod task;
pub mod up;
pub mod words;

pub use error::Refusal;
pub use inside::run as inside;
pub use running::{LabName, Running, RunningHost};
pub use task::{LabPlan, MeasureOutput, MeasurePlan};
