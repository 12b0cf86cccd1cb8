//! Acknowledged publishing: many speakers, each with so many messages that are not acknowledged yet; nobody listens.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use gaung_tests::{
    clock::now_ns,
    histogram::Histogram,
    load::{
        connection::{BUFFER, Connection, Flow, Place},
        dialect::{Dialect, Heard, Role, Speaker},
        figure::{Figure, Outcome},
        server::Server,
        stamp::Stamp,
        stretch::{Mark, STANDSTILL, TURN, WARM_UP},
    },
};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::target::Target;

/// A server that syncs for each message may take seconds for what is in flight.
const AT_LEAST: Duration = Duration::from_secs(4);

/// What is asked of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Durable {
    pub(super) speakers: usize,
    /// Messages of each that are not acknowledged yet.
    pub(super) window: usize,
    /// Bytes of a payload.
    pub(super) size: usize,
}

impl Durable {
    /// Starts a server, measures it for `length`, and waits until all that was published is acknowledged.
    ///
    /// # Errors
    /// The server cannot be started, refuses a message, or stands still.
    pub(super) fn run(&self, target: Target, length: Duration) -> anyhow::Result<Outcome> {
        let server = target.start(1)?;
        let length = length.max(AT_LEAST);
        let mut choir = Choir::gather(self, &server)?;
        let begun = now_ns();
        let since = || Duration::from_nanos(now_ns() - begun);
        while since() < WARM_UP {
            choir.turn(true)?;
        }
        choir.waits = Histogram::default();
        let begin = Mark::now(&server, choir.acknowledged)?;
        while since() < WARM_UP + length {
            choir.turn(true)?;
        }
        let end = Mark::now(&server, choir.acknowledged)?;
        let mut outcome = Outcome::default();
        begin.upto(end, Figure::Acknowledged, &mut outcome);
        let milliseconds = |quantile| Some(choir.waits.quantile(quantile)? as f64 / 1e6);
        outcome.set(Figure::AckP50, milliseconds(0.5));
        outcome.set(Figure::AckP99, milliseconds(0.99));
        while choir.acknowledged < choir.published {
            choir.turn(false)?;
        }
        Ok(outcome)
    }
}

/// All speakers.
#[derive(Debug)]
struct Choir {
    dialect: Arc<dyn Dialect>,
    load: Durable,
    epoll: Epoll,
    voices: Vec<Voice>,
    buffer: Vec<u8>,
    published: u64,
    acknowledged: u64,
    waits: Histogram,
    heard_ns: u64,
}

#[derive(Debug)]
struct Voice {
    connection: Connection,
    said: u64,
    /// When each message that is not acknowledged was published.
    waiting: VecDeque<u64>,
}

impl Choir {
    fn gather(load: &Durable, server: &Server) -> anyhow::Result<Self> {
        let mut choir = Self {
            dialect: Arc::clone(&server.dialect),
            load: *load,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            voices: Vec::new(),
            buffer: vec![0; BUFFER],
            published: 0,
            acknowledged: 0,
            waits: Histogram::default(),
            heard_ns: now_ns(),
        };
        for index in 0..load.speakers {
            let place = Place { server: server.address, index, receive_buffer: None, tls: None };
            let connection = Connection::open(place, Role::Speaker, &*server.dialect, &mut choir.buffer, |_| ())?;
            choir.epoll.add(&connection, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
            choir.voices.push(Voice { connection, said: 0, waiting: VecDeque::new() });
        }
        for index in 0..load.speakers {
            choir.speak(index)?;
        }
        Ok(choir)
    }

    /// Waits until something is acknowledged, and publishes as much again, if `more`.
    fn turn(&mut self, more: bool) -> anyhow::Result<()> {
        let mut events = [EpollEvent::empty(); 64];
        let count = self.epoll.wait(&mut events, EpollTimeout::try_from(TURN)?)?;
        for event in &events[..count] {
            let index = event.data() as usize;
            self.hear(index)?;
            if more {
                self.speak(index)?;
            } else {
                self.send(index)?;
            }
        }
        anyhow::ensure!(now_ns() - self.heard_ns < STANDSTILL.as_nanos() as u64, "nothing is acknowledged any more");
        Ok(())
    }

    fn hear(&mut self, index: usize) -> anyhow::Result<()> {
        let Voice { connection, waiting, .. } = &mut self.voices[index];
        let (mut taken, now) = (0, now_ns());
        let flow = connection.read(&*self.dialect, &mut self.buffer, |heard| match heard {
            Heard::Taken(count) => taken += count,
            Heard::Ready | Heard::Message { .. } | Heard::Ask(_) | Heard::Gap { .. } | Heard::Bye { .. } => {}
        })?;
        anyhow::ensure!(flow != Flow::Ended, "the server ends the connection of a speaker");
        anyhow::ensure!(taken <= waiting.len() as u64, "more is acknowledged than was published");
        for published_ns in waiting.drain(..taken as usize) {
            self.waits.add(now - published_ns);
        }
        if taken > 0 {
            self.acknowledged += taken;
            self.heard_ns = now;
        }
        Ok(())
    }

    fn speak(&mut self, index: usize) -> anyhow::Result<()> {
        let Voice { connection, said, waiting } = &mut self.voices[index];
        let room = self.load.window - waiting.len();
        if room > 0 {
            let due_ns = now_ns();
            let speaker = Speaker { index, group: 0, said: *said, size: self.load.size };
            let mut stamps = (*said..).take(room).map(|number| Stamp { number, due_ns });
            self.dialect.publish(speaker, &mut stamps, connection.unsent());
            waiting.extend(std::iter::repeat_n(due_ns, room));
            *said += room as u64;
            self.published += room as u64;
        }
        self.send(index)
    }

    fn send(&mut self, index: usize) -> anyhow::Result<()> {
        self.voices[index].connection.send(&self.epoll, index as u64)
    }
}
