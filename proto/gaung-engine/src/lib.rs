//! Sans-IO engines.

mod ring;
mod transmit;

pub use ring::{HotRing, Pushed, Read};
pub use transmit::{Destination, Transmit};
