//! Sans-IO engines.

mod transmit;

pub use transmit::{Destination, Transmit};
