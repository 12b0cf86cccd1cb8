//! The hub: fans every group's messages out to TCP, browser and text sessions, and those of `everyone` to the broadcast
//! lane.
//!
//! [`bind`] opens the sockets, [`Bound::run`] serves until stopped. It follows each group's log at its relay as one
//! stream of runs into a hot ring; a session owns no copies, only a cursor into the ring for each of its groups and
//! at most one half-written frame. One thread a core has its own sessions. Registry and relays may come and go:
//! sessions live on and see a pause.

mod accept;
mod admission;
mod audience;
mod bound;
mod broadcast;
mod config;
mod dialect;
mod directory;
mod failure;
mod follow;
mod followed_groups;
mod goodbye;
mod group;
mod group_table;
mod history;
mod housekeeping;
mod id;
mod inbox;
mod link_tasks;
mod metrics;
mod page;
mod page_sessions;
mod parts;
mod publish_queue;
mod publishing;
mod registry;
mod relay_connector;
mod relays;
mod rpc;
mod session;
pub mod session_core;
mod session_entry;
mod shard;
mod text_output;

pub use bound::{Bound, bind};
pub use config::{BROADCAST_RATE, BroadcastConfig, Config, HubArgs, Limits, SessionArgs};
pub use dialect::{Framed, Text, TextIdentity};
pub use directory::GroupInfo;
pub use failure::Failure;
pub use group::Group;
