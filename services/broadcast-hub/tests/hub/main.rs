//! The hub over loopback, with doubles of registry and relay.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, unreachable_pub)]

mod bad_input;
mod broadcast;
mod client;
mod devices;
mod framed;
mod moderation;
mod page;
mod page_tickets;
mod proof;
mod receipts;
mod registry;
mod relay;
mod server;
mod shares;
mod site;
mod slow;
mod text;
mod tls;
mod world;
