//! Sessions where nothing happens: the memory each takes, and the processor time of all.

use std::{thread, time::Duration};

use super::{
    audience::{Audience, Shape},
    figure::{Figure, Outcome},
    server::Server,
    stretch::{Mark, SETTLE},
    usage::{allow_many_files, resident_kib},
};

/// Processor time is counted for so long.
const AT_LEAST: Duration = Duration::from_secs(5);

/// How many sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idle {
    /// All in one group.
    pub listeners: usize,
}

impl Idle {
    /// Connects them and waits.
    ///
    /// # Errors
    /// The server does not take them all.
    pub fn run(&self, server: &Server, length: Duration) -> anyhow::Result<Outcome> {
        let empty_kib = resident_kib(&server.processes)?;
        let shape = Shape { groups: 1, listeners: self.listeners, speakers: 0, size: 0, under_way: 1 };
        let mut audience = Audience::gather(server, shape)?;
        thread::sleep(SETTLE);
        let begin = Mark::now(server, 0)?;
        thread::sleep(length.max(AT_LEAST));
        let end = Mark::now(server, 0)?;
        let mut outcome = Outcome::default();
        outcome.set(Figure::Cpu, begin.cores_upto(end));
        outcome.set(Figure::SessionKib, (resident_kib(&server.processes)? - empty_kib) / self.listeners as f64);
        // A session that the server has ended would cost nothing.
        audience.turn(Duration::ZERO)?;
        audience.finish(0, &mut outcome);
        Ok(outcome)
    }

    /// Cores that `gaung up` uses while they are there, and KiB of its memory for each of them.
    ///
    /// # Errors
    /// It does not take them all.
    pub fn cost(&self) -> anyhow::Result<(f64, f64)> {
        allow_many_files()?;
        let outcome = self.run(&Server::up(false, 1)?, AT_LEAST)?;
        anyhow::ensure!(outcome.faults.is_empty(), "{}", outcome.faults.join("; "));
        Ok((outcome.figures[&Figure::Cpu], outcome.figures[&Figure::SessionKib]))
    }
}
