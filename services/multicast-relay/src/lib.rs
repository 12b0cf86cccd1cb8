//! The relay: gives every message of a group its sequence number, makes it durable, and multicasts it.
//!
//! A publish request goes from gRPC (`rpc`) or UDP (`ingress`) to the worker thread that owns its group (`worker`). The
//! worker sequences it, hands it to the log, and once the log calls back sends it, pushes it to the followers' ring and
//! answers. The keeper (`keeper`) opens, ends and reopens groups as the
//! registry (`registry`) and the disk demand.

mod access;
mod budget;
mod clock;
mod commands;
pub mod config;
mod directory;
mod failed_openings;
mod feed;
mod group;
mod identity;
mod ingress;
mod keeper;
mod local;
mod lookup;
mod metrics;
mod opening;
mod policies;
mod registry;
mod reports;
mod rpc;
mod sockets;
mod start;
mod worker;

pub use budget::LogBudget;
pub use config::{Config, DEFAULT_RATE_MBIT, LogKind, RelayArgs, Segmentation};
pub use local::{LocalAck, LocalGroup, LocalPublishError, LocalPublisher};
pub use start::{Bound, bind, bind_on};
