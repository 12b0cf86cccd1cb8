//! The registry: which groups exist, on which address, who may use them, and where relays and hubs are.
//!
//! Three layers, each of which knows only those above it in this list:
//! - *Tables and commands*, pure: [`tables::Tables`] holds the state, split by owner into `allocation` (names, addresses,
//!   ports, quarantine), `membership` (members, invites) and `catalogue` (groups, logs, services). Each command is a
//!   struct with its decision: `create`, `owner`, `members`, `invites`, `reports`, `services`. [`command::Command`] is
//!   any of them, encoded and decoded.
//! - *Shell*: [`registry::Registry`] applies one command in one transaction of its [`store`], then answers. What lasts
//!   seconds stays beside the tables: presence, leases, probes, nonces, rates.
//! - *Service*: [`bind`] opens the store and the `site`, which certifies the services, and binds the ports; [`Bound::run`] serves
//!   gRPC (`rpc`, `watch`) and upkeep.

pub mod address;
pub mod address_picker;
mod allocation;
mod async_registry;
mod bound;
mod caller;
mod catalogue;
pub mod challenge;
pub mod clock;
pub mod command;
mod config;
pub mod create;
mod device_limits;
pub mod disk_store;
mod enrol;
mod everyone;
pub mod feed;
mod figures;
pub mod group;
mod identity_conflicts;
pub mod invites;
pub mod lease;
pub mod limits;
pub mod lookup;
pub mod members;
mod membership;
pub mod owner;
pub mod policies;
pub mod presence;
mod probe;
mod records;
pub mod registry;
pub mod reports;
mod rpc;
pub mod services;
mod site;
mod standby;
mod status;
pub mod store;
pub mod tables;
mod token_socket;
mod upkeep;
mod validate;
pub mod viewer;
mod watch;

pub use allocation::QUARANTINE;
pub use bound::{Bound, bind};
pub use config::{Config, RegistryArgs, RegistryCommand};
pub use device_limits::DeviceRates;
pub use token_socket::request_token;
