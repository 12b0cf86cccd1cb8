//! Throughput: exactly so many messages in flight, each complete when every listener of its group has it.

use std::{thread, time::Duration};

use gaung_tests::load::{
    audience::{Audience, Shape},
    closed_loop::drive,
    figure::Outcome,
    stretch::{SETTLE, Stretch},
};

use super::target::Target;

/// A message of a slow group may be far behind the newest.
const UNDER_WAY: usize = 1 << 15;

/// What is asked of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FanOut {
    pub(super) groups: usize,
    /// Of each group.
    pub(super) listeners: usize,
    pub(super) speakers: usize,
    /// Messages in flight, over all groups.
    pub(super) window: usize,
    /// Bytes of a payload.
    pub(super) size: usize,
}

impl FanOut {
    /// Starts a server, measures it for `length`, and waits until all that was published has come.
    ///
    /// # Errors
    /// The server cannot be started or refuses something. What it loses is in the outcome.
    pub(super) fn run(&self, target: Target, length: Duration) -> anyhow::Result<Outcome> {
        let server = target.start(self.groups)?;
        let shape = Shape {
            groups: self.groups,
            listeners: self.listeners,
            speakers: self.speakers,
            size: self.size,
            under_way: (self.window * 8).max(UNDER_WAY),
        };
        let mut audience = Audience::gather(&server, shape)?;
        thread::sleep(SETTLE);
        audience.let_speak(&server)?;
        let mut stretch = Stretch::new(length);
        let published = drive(&mut audience, self.window, |audience, _| stretch.look(&server, audience))?;
        let mut outcome = stretch.outcome();
        audience.finish(published, &mut outcome);
        Ok(outcome)
    }
}
