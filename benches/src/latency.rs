//! Latency: messages published at fixed times, whatever the server does; it counts from when they were due.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use gaung_tests::{
    clock::now_ns,
    load::{
        audience::{Audience, Shape, Voices},
        closed_loop::Watch,
        figure::Outcome,
        stretch::{SETTLE, Stretch, TURN, WARM_UP},
    },
};
use nix::sys::prctl::set_timerslack;

use super::target::Target;

/// So that the 99th percentile of 50 messages a second is not one of them.
const AT_LEAST: Duration = Duration::from_secs(10);
/// Sleeping is this exact, ns.
const SLACK_NS: u64 = 1000;

/// What is asked of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Latency {
    pub(super) listeners: usize,
    /// Messages a second.
    pub(super) rate: u64,
    /// Bytes of a payload.
    pub(super) size: usize,
}

impl Latency {
    /// Starts a server, measures it for `length` or 10 s, and waits until all that was published has come.
    ///
    /// # Errors
    /// As of a fan-out.
    pub(super) fn run(&self, target: Target, length: Duration) -> anyhow::Result<Outcome> {
        let length = length.max(AT_LEAST);
        let server = target.start(1)?;
        let count = ((WARM_UP + length).as_secs_f64() * self.rate as f64) as u64;
        let shape =
            Shape { groups: 1, listeners: self.listeners, speakers: 1, size: self.size, under_way: count as usize };
        let mut audience = Audience::gather(&server, shape)?;
        thread::sleep(SETTLE);
        audience.let_speak(&server)?;
        let mut stretch = Stretch::new(length);
        let published = Arc::new(AtomicU64::new(0));
        let speaking = {
            let (voices, published) = (audience.voices()?, Arc::clone(&published));
            let schedule = Schedule { begin_ns: stretch.started_ns(), rate: self.rate, count };
            thread::Builder::new().name("speaker".to_owned()).spawn(move || schedule.speak(voices, &published))?
        };
        let mut watch = Watch::new();
        loop {
            let has_ended = stretch.look(&server, &mut audience)?;
            if has_ended && speaking.is_finished() && audience.ledger.completed == published.load(Ordering::Acquire) {
                break;
            }
            audience.turn(TURN)?;
            if watch.stands_still(&audience) {
                break;
            }
        }
        speaking.join().map_err(|_| anyhow::anyhow!("the speaker panicked"))??;
        let mut outcome = stretch.outcome();
        audience.finish(published.load(Ordering::Acquire), &mut outcome);
        Ok(outcome)
    }
}

/// When messages are due.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    begin_ns: u64,
    rate: u64,
    count: u64,
}

impl Schedule {
    fn speak(self, mut voices: Voices, published: &AtomicU64) -> anyhow::Result<()> {
        set_timerslack(SLACK_NS)?;
        for number in 0..self.count {
            let due_ns = self.begin_ns + number * 1_000_000_000 / self.rate;
            thread::sleep(Duration::from_nanos(due_ns.saturating_sub(now_ns())));
            voices.say(due_ns)?;
            published.store(number + 1, Ordering::Release);
        }
        Ok(())
    }
}
