//! A whole relay over loopback: gRPC, plain sockets, and a registry double.
#![allow(clippy::unwrap_used)]

mod claimants;
mod claims;
mod datagrams;
mod errors;
mod failing;
mod local;
mod memory;
mod moderation;
mod moving;
mod private_groups;
mod publishing;
mod receipts;
mod retention;
mod secure;
mod support;
mod unread;
