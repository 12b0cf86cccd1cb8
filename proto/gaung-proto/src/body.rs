//! The bodies behind a datagram's header, one type each. Every `decode` checks all bytes; every length is bounded.

mod data;
mod log_state;
mod member;
mod nak;
mod publish;

pub use data::{Broadcast, Data, Parity, ShardFields};
pub use log_state::{Heartbeat, Migrate};
pub use member::{Probe, Status};
pub use nak::{Nak, NakRange, Ncf};
pub use publish::{Puback, Publish, PublishOutcome};

/// What a relay gives a peer to prove that it hears at its address; sent back in NAK, STATUS and PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cookie(pub u64);
