//! Listeners who read slowly, or not at all, and who want everything in the end.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;

use super::{
    connection::{BUFFER, Connection, Flow, Place},
    dialect::{Dialect, Heard, Role},
    figure::{Figure, Outcome},
    server::Server,
};
use crate::clock::now_ns;

/// What the system of a slow listener holds for it: as little as a small device's.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// A slow listener reads so much at a time.
const SIP: usize = 256;
/// Between two sips: 1 KiB/s.
const PAUSE: Duration = Duration::from_millis(250);
/// Nothing comes for so long although something is missing.
const PATIENCE: Duration = Duration::from_secs(20);
/// A listener that reads as fast as it can and is sent away more often is not let catch up.
const RETURNS: u32 = 10;

/// All slow listeners of group 0.
#[derive(Debug)]
pub(super) struct SlowListeners {
    dialect: Arc<dyn Dialect>,
    buffer: Vec<u8>,
    /// Those who read a little come first.
    listeners: Vec<SlowListener>,
    sipping: usize,
    sipped_ns: u64,
}

/// One, and how far it is.
#[derive(Debug)]
struct SlowListener {
    place: Place<'static>,
    connection: Connection,
    progress: Progress,
    has_ended: bool,
}

#[derive(Debug, Default)]
struct Progress {
    /// The message it needs next.
    number: u64,
    /// Its place in the log, once one has come.
    seq: Option<u64>,
    disordered: u64,
    gaps: u64,
    /// Where the server said that it should resume; `None` if it has not said goodbye.
    resume: Option<u64>,
    returns: u32,
    told_where: u32,
}

impl SlowListeners {
    /// Connects them, `sipping` reading 1 KiB/s and `stopped` nothing, before anything is published. `first_index`: of
    /// the listeners' connections.
    ///
    /// # Errors
    /// The server does not take them.
    pub(super) fn gather(server: &Server, sipping: usize, stopped: usize, first_index: usize) -> anyhow::Result<Self> {
        let (dialect, mut buffer) = (Arc::clone(&server.dialect), vec![0; BUFFER]);
        let mut listeners = Vec::new();
        for index in first_index..first_index + sipping + stopped {
            let place = Place { server: server.address, index, receive_buffer: Some(RECEIVE_BUFFER), tls: None };
            let role = Role::Listener { group: 0, from_seq: 0 };
            let connection = Connection::open(place, role, &*dialect, &mut buffer, |_| ())?;
            listeners.push(SlowListener { place, connection, progress: Progress::default(), has_ended: false });
        }
        Ok(Self { dialect, buffer, listeners, sipping, sipped_ns: now_ns() })
    }

    /// Lets those who read a little do so, if it is time.
    ///
    /// # Errors
    /// What the dialect does not understand.
    pub(super) fn sip(&mut self) -> anyhow::Result<()> {
        if now_ns() - self.sipped_ns < PAUSE.as_nanos() as u64 {
            return Ok(());
        }
        self.sipped_ns = now_ns();
        for listener in self.listeners[..self.sipping].iter_mut().filter(|listener| !listener.has_ended) {
            listener.read(&*self.dialect, &mut self.buffer, SIP)?;
        }
        Ok(())
    }

    /// Lets each read as fast as it can until it has all that was published, coming back where it is sent away.
    ///
    /// # Errors
    /// A listener does not get on.
    pub(super) fn catch_up(&mut self, published: u64, outcome: &mut Outcome) -> anyhow::Result<()> {
        for listener in &mut self.listeners {
            listener.catch_up(published, &*self.dialect, &mut self.buffer)?;
            let progress = &listener.progress;
            outcome.fault(progress.disordered, "messages missed, repeated or out of order by a slow listener");
            outcome.fault(progress.gaps, "messages that a slow listener was told to be lost");
        }
        let all = self.listeners.len() as f64;
        let sum =
            |count: fn(&Progress) -> u32| self.listeners.iter().map(|l| f64::from(count(&l.progress))).sum::<f64>();
        let came_back = self.listeners.iter().filter(|listener| listener.progress.returns > 0).count() as f64;
        outcome.set(Figure::CaughtUp, all - came_back);
        outcome.set(Figure::CameBack, sum(|progress| progress.returns));
        outcome.set(Figure::ToldWhere, sum(|progress| progress.told_where));
        Ok(())
    }
}

impl SlowListener {
    /// Reads at most `limit` bytes; false if nothing came.
    fn read(&mut self, dialect: &dyn Dialect, buffer: &mut [u8], limit: usize) -> anyhow::Result<bool> {
        let progress = &mut self.progress;
        let flow = self.connection.read_some(dialect, buffer, limit, |heard| progress.hear(heard))?;
        self.has_ended |= flow == Flow::Ended;
        Ok(flow != Flow::Empty)
    }

    fn catch_up(&mut self, published: u64, dialect: &dyn Dialect, buffer: &mut [u8]) -> anyhow::Result<()> {
        self.connection.wait_for_reads(PATIENCE)?;
        while self.progress.number < published {
            if self.has_ended {
                self.come_back(dialect, buffer)?;
            }
            let came = self.read(dialect, buffer, usize::MAX)?;
            ensure!(came, "a slow listener has {} of {published} messages, and no more come", self.progress.number);
        }
        Ok(())
    }

    /// Where it was told to, or else after what it has.
    fn come_back(&mut self, dialect: &dyn Dialect, buffer: &mut [u8]) -> anyhow::Result<()> {
        let progress = &mut self.progress;
        progress.returns += 1;
        ensure!(progress.returns <= RETURNS, "a slow listener is sent away again and again");
        progress.told_where += u32::from(progress.resume.is_some());
        let own = progress.seq.unwrap_or(1);
        let from_seq = progress.resume.take().unwrap_or(own);
        if from_seq > own {
            // What the server thinks was written before its goodbye must have come before it.
            progress.gaps += from_seq - own;
        }
        let role = Role::Listener { group: 0, from_seq };
        self.connection = Connection::open(self.place, role, dialect, buffer, |heard| progress.hear(heard))?;
        self.has_ended = false;
        self.connection.wait_for_reads(PATIENCE)
    }
}

impl Progress {
    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Message { stamp, seq } => self.message(stamp.number, seq),
            Heard::Gap { first, last } => self.gaps += last + 1 - first,
            Heard::Bye { resume, .. } => self.resume = resume,
            Heard::Ready | Heard::Taken(_) | Heard::Ask(_) => {}
        }
    }

    fn message(&mut self, number: u64, seq: u64) {
        if self.seq.is_some_and(|next| seq < next) {
            // A run is sent whole: its beginning is here already.
            return;
        }
        if number != self.number || self.seq.is_some_and(|next| seq != next) {
            self.disordered += 1;
        }
        (self.number, self.seq) = (number + 1, Some(seq + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::stamp::Stamp;

    fn heard(number: u64, seq: u64) -> Heard {
        Heard::Message { stamp: Stamp { number, due_ns: 0 }, seq }
    }

    #[test]
    fn what_is_here_already_is_dropped_and_what_is_missed_is_seen() {
        let mut progress = Progress::default();
        for (number, seq) in [(0, 4), (1, 5), (0, 4), (1, 5), (2, 6)] {
            progress.hear(heard(number, seq));
        }
        assert_eq!((progress.number, progress.seq, progress.disordered), (3, Some(7), 0));
        progress.hear(heard(4, 8));
        assert_eq!((progress.number, progress.seq, progress.disordered), (5, Some(9), 1));
        progress.hear(Heard::Gap { first: 9, last: 11 });
        assert_eq!(progress.gaps, 3);
    }
}
