//! Exactly so many messages in flight: the next is published when one is complete.

use super::{
    audience::Audience,
    stretch::{STANDSTILL, TURN},
};
use crate::clock::now_ns;

/// Publishes until `has_ended`, then waits until all is complete, or nothing comes any more; gives how many were published.
///
/// `has_ended` is told how many were published so far, and is asked before each turn.
/// # Errors
/// Of a connection, or of `has_ended`.
pub fn drive(
    audience: &mut Audience,
    window: usize,
    mut has_ended: impl FnMut(&mut Audience, u64) -> anyhow::Result<bool>,
) -> anyhow::Result<u64> {
    let mut published = 0;
    let mut watch = Watch::new();
    loop {
        if !has_ended(audience, published)? {
            let upto = audience.ledger.completed + window as u64;
            audience.publish(published, upto, now_ns())?;
            published = upto;
        } else if audience.ledger.completed == published {
            return Ok(published);
        }
        audience.turn(TURN)?;
        if watch.stands_still(audience) {
            return Ok(published);
        }
    }
}

/// Sees when nothing is delivered any more.
#[derive(Debug)]
pub struct Watch {
    delivered: u64,
    since_ns: u64,
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

impl Watch {
    /// Begins to watch.
    #[must_use]
    pub fn new() -> Self {
        Self { delivered: 0, since_ns: now_ns() }
    }

    /// To be asked after each turn.
    pub fn stands_still(&mut self, audience: &Audience) -> bool {
        if audience.ledger.delivered > self.delivered {
            *self = Self { delivered: audience.ledger.delivered, since_ns: now_ns() };
        }
        now_ns() - self.since_ns > STANDSTILL.as_nanos() as u64
    }
}
