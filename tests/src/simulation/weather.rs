//! How bad the network is, and how a link loses.

use rand::{Rng as _, rngs::SmallRng};

/// How a link loses datagrams.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// It does not.
    None,
    /// Each by itself, with this probability.
    Independent(f64),
    /// In bursts (Gilbert–Elliott): everything is lost while the link is bad.
    Bursts {
        /// Probability of turning bad at a datagram.
        begin: f64,
        /// Probability of turning good at a datagram.
        end: f64,
    },
}

impl Loss {
    /// Of all datagrams, in the long run.
    pub(super) fn share(self) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Independent(probability) => probability,
            Self::Bursts { begin, end } => begin / (begin + end),
        }
    }
}

/// What the network does to datagrams. Probabilities from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weather {
    /// At the relay's way out: lost for everybody at once.
    pub egress: Loss,
    /// On the way to each member, apart from the others.
    pub down: Loss,
    /// From each member, publisher or attacker to the relay.
    pub up: Loss,
    /// Of NAKs, on top of `up`.
    pub nak_loss: f64,
    /// Shortest and longest time on the way, µs; a datagram can overtake another within it.
    pub delay_us: (u64, u64),
    /// Held back for up to 20 ms more.
    pub late: f64,
    /// Arrives twice.
    pub double: f64,
    /// Some bytes changed, cut off or added where the UDP checksum does not see it.
    pub corrupt: f64,
}

impl Weather {
    /// A good LAN.
    pub const FAIR: Self = Self {
        egress: Loss::None,
        down: Loss::None,
        up: Loss::None,
        nak_loss: 0.0,
        delay_us: (50, 150),
        late: 0.0,
        double: 0.0,
        corrupt: 0.0,
    };
}

/// One direction of one link.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Channel {
    is_bad: bool,
}

impl Channel {
    /// Whether the next datagram is lost.
    pub(super) fn loses(&mut self, loss: Loss, rng: &mut SmallRng) -> bool {
        match loss {
            Loss::None => {
                self.is_bad = false;
                false
            }
            Loss::Independent(probability) => rng.random_bool(probability),
            Loss::Bursts { begin, end } => {
                self.is_bad = rng.random_bool(if self.is_bad { 1.0 - end } else { begin });
                self.is_bad
            }
        }
    }
}
