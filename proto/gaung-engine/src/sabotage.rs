//! Switches that take a safety mechanism out of an engine, so that the simulation can show that it would be missed.
//!
//! Without the feature `sabotage` there is nothing to switch: every question below is answered "no" at compile time.

/// Which mechanisms are missing; none by default.
#[cfg(feature = "sabotage")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sabotage {
    /// [`Sequencer`](crate::Sequencer) takes duplicates for new.
    pub keep_duplicates: bool,
    /// [`RelaySender`](crate::RelaySender) repairs at the first NAK and gathers no others.
    pub repair_at_once: bool,
    /// [`MemberReceiver`](crate::MemberReceiver) sends NAKs without a random backoff.
    pub nack_at_once: bool,
}

#[cfg(not(feature = "sabotage"))]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sabotage(());

#[cfg(feature = "sabotage")]
impl Sabotage {
    pub(crate) const fn keeps_duplicates(self) -> bool {
        self.keep_duplicates
    }

    pub(crate) const fn repairs_at_once(self) -> bool {
        self.repair_at_once
    }

    pub(crate) const fn nacks_at_once(self) -> bool {
        self.nack_at_once
    }
}

#[cfg(not(feature = "sabotage"))]
impl Sabotage {
    pub(crate) const fn keeps_duplicates(self) -> bool {
        false
    }

    pub(crate) const fn repairs_at_once(self) -> bool {
        false
    }

    pub(crate) const fn nacks_at_once(self) -> bool {
        false
    }
}
