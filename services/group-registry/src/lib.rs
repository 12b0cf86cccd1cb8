//! The registry of groups.
pub mod address;
pub mod book;
pub mod challenge;
mod claims;
pub mod create;
pub mod invites;
mod locks;
pub mod members;
pub mod now;
pub mod owner;
pub mod presence;
pub mod records;
pub mod registry;
pub mod reports;
pub mod services;
pub mod store;
mod view;
