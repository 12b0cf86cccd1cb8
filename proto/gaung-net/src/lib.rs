//! The data plane's sockets: which interfaces to use ([`interface`]), multicast and broadcast sockets, framed TCP, TLS
//! to the services of a site ([`tls`]), how services are found ([`discovery`]), the thread that drives an engine ([`driver`]),
//! and the pause between attempts to reach a service ([`backoff`]).
//!
//! No protocol decision is made here. Linux only, IPv4 only; every quirk of its sockets that the rest of the project
//! would otherwise have to know stands in this crate.

pub mod backoff;
pub mod broadcast;
pub mod discovery;
pub mod driver;
pub mod frame_io;
pub mod interface;
mod local_names;
pub mod multicast;
pub mod probe;
mod socket;
pub mod tls;

pub use local_names::local_names;
pub use socket::{SenderAddr, SocketError};
