//! The registry: which groups exist, on which address, who may use them, and where relays and hubs are.
//!
//! [`bind`] opens the store and binds the ports, [`Bound::run`] serves. The rules stand in [`registry::Registry`] and
//! the modules around it, apart from sockets and gRPC; [`create`] says how a group is made so that a stop at any
//! moment does no harm, [`lease`] and [`regain`] how it loses its address and gets another.

pub mod address;
pub mod book;
mod bound;
pub mod challenge;
mod checked;
mod claims;
mod config;
pub mod create;
mod everyone;
mod figures;
pub mod invites;
pub mod lease;
pub mod limits;
mod locks;
mod maker;
mod member_index;
pub mod members;
pub mod now;
pub mod owner;
pub mod presence;
mod probe;
pub mod records;
pub mod regain;
pub mod registry;
pub mod reports;
mod rpc;
pub mod services;
mod standby;
mod status;
pub mod store;
mod twins;
mod view;
pub mod viewer;
mod watch;

pub use bound::{Bound, bind};
pub use config::{Config, RegistryArgs};
