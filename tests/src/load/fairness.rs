//! Some listeners read slowly or not at all: what the others get, and what becomes of the slow.

use std::time::{Duration, Instant};

use super::{
    audience::{Audience, Shape},
    closed_loop::drive,
    figure::{Figure, Outcome},
    server::Server,
    slow::SlowListeners,
    stretch::Stretch,
};

/// Those who read 1 KiB/s are measured for so long.
const AT_LEAST: Duration = Duration::from_secs(10);
/// Payload that leaves the slow behind what hub and system hold in memory, several times.
const ENOUGH_BYTES: u64 = 64 << 20;
/// From the oldest message under way to the newest; there is one group.
const UNDER_WAY: usize = 1 << 12;

/// Who listens, and to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fairness {
    /// Listeners that read all at once.
    pub keen: usize,
    /// Listeners that read 1 KiB/s.
    pub sipping: usize,
    /// Listeners that read nothing.
    pub stopped: usize,
    /// Messages in flight: published, and not heard by all that are keen.
    pub window: usize,
    /// Bytes of a payload.
    pub size: usize,
}

/// What became of the slow.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Messages lost, repeated or out of order, by anyone; keen sessions that ended; a standstill.
    pub faults: Vec<String>,
    /// Slow listeners whose session lasted.
    pub caught_up: usize,
    /// How often a slow listener was sent away and came back.
    pub came_back: usize,
    /// How often of these it was told where to resume.
    pub told_where: usize,
}

impl Fairness {
    /// Measures the keen; afterwards lets the slow catch up.
    ///
    /// # Errors
    /// The server cannot be measured, or a slow listener does not get on.
    pub fn run(&self, server: &Server, length: Duration) -> anyhow::Result<Outcome> {
        let mut stretch = None;
        let (mut outcome, published, mut slow) = self.drive(server, |audience, published| {
            let stretch = stretch.get_or_insert_with(|| Stretch::new(length.max(AT_LEAST)));
            Ok(stretch.look(server, audience)? && published * self.size as u64 >= ENOUGH_BYTES)
        })?;
        if let Some(stretch) = stretch {
            outcome = stretch.outcome().and(outcome);
        }
        if self.sipping + self.stopped > 0 {
            slow.catch_up(published, &mut outcome)?;
        }
        Ok(outcome)
    }

    /// The same for so many messages, and at least so long, over a hub that holds `ring` of a group in memory and ends a
    /// session that takes nothing for `stall_secs`.
    ///
    /// # Errors
    /// The services do not start, or a slow listener does not get on.
    pub fn over_a_small_ring(
        &self,
        ring: &str,
        messages: u64,
        length: Duration,
        stall_secs: u64,
    ) -> anyhow::Result<Verdict> {
        let server = Server::apart(&["--ring", ring, "--stall", &format!("{stall_secs}s")], 1)?;
        let begun = Instant::now();
        let has_ended = |published| published >= messages && begun.elapsed() >= length;
        let (mut outcome, published, mut slow) = self.drive(&server, |_, published| Ok(has_ended(published)))?;
        slow.catch_up(published, &mut outcome)?;
        let count = |figure| outcome.figures.get(&figure).map_or(0, |value| *value as usize);
        let [caught_up, came_back, told_where] = [Figure::CaughtUp, Figure::CameBack, Figure::ToldWhere].map(count);
        Ok(Verdict { faults: outcome.faults, caught_up, came_back, told_where })
    }

    /// Gives what the keen got, how many messages were published, and the slow as they are then.
    fn drive(
        &self,
        server: &Server,
        mut has_ended: impl FnMut(&mut Audience, u64) -> anyhow::Result<bool>,
    ) -> anyhow::Result<(Outcome, u64, SlowListeners)> {
        let shape = Shape { groups: 1, listeners: self.keen, speakers: 1, size: self.size, under_way: UNDER_WAY };
        let mut audience = Audience::gather(server, shape)?;
        let mut slow = SlowListeners::gather(server, self.sipping, self.stopped, self.keen)?;
        audience.let_speak(server)?;
        let published = drive(&mut audience, self.window, |audience, published| {
            slow.sip()?;
            has_ended(audience, published)
        })?;
        let mut outcome = Outcome::default();
        audience.finish(published, &mut outcome);
        Ok((outcome, published, slow))
    }
}
