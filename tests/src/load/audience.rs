//! The generator: one thread that holds all listeners and speakers in one epoll.

use std::{
    io::{ErrorKind, Write as _},
    iter,
    net::TcpStream,
    os::fd::AsFd as _,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};
use rustls::ClientConfig;

use super::{
    connection::{BUFFER, Connection, Flow, Place},
    dialect::{Dialect, Heard, Role, Speaker},
    figure::Outcome,
    ledger::{Deal, Expected, Ledger},
    server::Server,
    stamp::Stamp,
};
use crate::clock::now_ns;

/// Connections that are looked at in one turn.
const EVENTS: usize = 512;

/// How many listen and speak.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Each is heard by listeners of its own.
    pub groups: usize,
    /// Of each group.
    pub listeners: usize,
    /// Each publishes to all groups.
    pub speakers: usize,
    /// Bytes of a payload.
    pub size: usize,
    /// From the oldest message that is not complete to the newest, at most.
    pub under_way: usize,
}

impl Shape {
    /// Who publishes which message to which group.
    #[must_use]
    pub const fn deal(&self) -> Deal {
        Deal { speakers: self.speakers, groups: self.groups }
    }
}

/// All who listen and speak.
#[derive(Debug)]
pub struct Audience {
    shape: Shape,
    dialect: Arc<dyn Dialect>,
    epoll: Epoll,
    listeners: Vec<Listener>,
    speakers: Vec<Connection>,
    /// What each speaker has said to each group.
    said: Vec<Vec<u64>>,
    buffer: Vec<u8>,
    /// Who has which message.
    pub ledger: Ledger,
    /// Bytes that came to listeners.
    pub bytes: u64,
    /// Why sessions ended.
    ended: Vec<String>,
}

#[derive(Debug)]
struct Listener {
    connection: Connection,
    expected: Expected,
    /// What the server said at the end.
    last_words: Option<String>,
}

/// Speakers to one group, apart from the thread that hears.
#[derive(Debug)]
pub struct Voices {
    dialect: Arc<dyn Dialect>,
    size: usize,
    streams: Vec<TcpStream>,
    said: u64,
    words: Vec<u8>,
}

impl Voices {
    /// Publishes the next message, which is due at a time.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn say(&mut self, due_ns: u64) -> anyhow::Result<()> {
        let number = self.said;
        let count = self.streams.len() as u64;
        let index = (number % count) as usize;
        self.words.clear();
        let speaker = Speaker { index, group: 0, said: number / count, size: self.size };
        self.dialect.publish(speaker, &mut iter::once(Stamp { number, due_ns }), &mut self.words);
        self.said += 1;
        let (mut stream, mut left) = (&self.streams[index], &self.words[..]);
        while !left.is_empty() {
            match stream.write(left) {
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => wait_writable(stream)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn wait_writable(stream: &TcpStream) -> anyhow::Result<()> {
    poll(&mut [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE)?;
    Ok(())
}

impl Audience {
    /// Connects the listeners; the speakers follow by [`Self::let_speak`].
    ///
    /// # Errors
    /// The server does not take all of them.
    pub fn gather(server: &Server, shape: Shape) -> anyhow::Result<Self> {
        let mut audience = Self {
            shape,
            dialect: Arc::clone(&server.dialect),
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            listeners: Vec::new(),
            speakers: Vec::new(),
            said: vec![vec![0; shape.groups]; shape.speakers],
            buffer: vec![0; BUFFER],
            ledger: Ledger::new(shape.deal(), shape.listeners, shape.under_way),
            bytes: 0,
            ended: Vec::new(),
        };
        for index in 0..shape.groups * shape.listeners {
            let group = index % shape.groups;
            let role = Role::Listener { group, from_seq: 0 };
            let connection = audience.open(server, server.tls.as_ref(), index, role)?;
            audience.epoll.add(&connection, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
            let expected = audience.ledger.expected(group);
            audience.listeners.push(Listener { connection, expected, last_words: None });
        }
        Ok(audience)
    }

    /// Connects the speakers.
    ///
    /// # Errors
    /// The server does not take all of them.
    pub fn let_speak(&mut self, server: &Server) -> anyhow::Result<()> {
        for index in 0..self.shape.speakers {
            let connection = self.open(server, None, index, Role::Speaker)?;
            let token = (self.listeners.len() + index) as u64;
            self.epoll.add(&connection, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
            self.speakers.push(connection);
        }
        Ok(())
    }

    fn open(
        &mut self,
        server: &Server,
        tls: Option<&Arc<ClientConfig>>,
        index: usize,
        role: Role,
    ) -> anyhow::Result<Connection> {
        let place = Place { server: server.address, index, receive_buffer: None, tls };
        // Nobody speaks yet.
        let ignore = |_| ();
        Connection::open(place, role, &*self.dialect, &mut self.buffer, ignore)
            .with_context(|| format!("connection {index} as {role:?}"))
    }

    /// Publishes the messages from `from` on, below `upto`, all due at one time.
    ///
    /// # Errors
    /// A connection is broken.
    pub fn publish(&mut self, from: u64, upto: u64, due_ns: u64) -> anyhow::Result<()> {
        if from == upto {
            return Ok(());
        }
        let deal = self.shape.deal();
        for index in 0..self.shape.speakers {
            for group in 0..self.shape.groups {
                let numbers = deal.numbers(index, group, from, upto);
                let count = numbers.clone().count() as u64;
                if count == 0 {
                    continue;
                }
                let said = &mut self.said[index][group];
                let speaker = Speaker { index, group, said: *said, size: self.shape.size };
                *said += count;
                let mut stamps = numbers.map(|number| Stamp { number, due_ns });
                self.dialect.publish(speaker, &mut stamps, self.speakers[index].unsent());
            }
            self.send(index)?;
        }
        Ok(())
    }

    /// Hands the speakers' voices to a thread of their own; their answers are still heard here.
    ///
    /// # Errors
    /// The system has no more files.
    pub fn voices(&self) -> anyhow::Result<Voices> {
        let streams = self.speakers.iter().map(Connection::voice).collect::<Result<_, _>>()?;
        Ok(Voices { dialect: Arc::clone(&self.dialect), size: self.shape.size, streams, said: 0, words: Vec::new() })
    }

    fn send(&mut self, index: usize) -> anyhow::Result<()> {
        let token = (self.listeners.len() + index) as u64;
        self.speakers[index].send(&self.epoll, token)
    }

    /// Waits until something comes, at most so long, and hears it.
    ///
    /// # Errors
    /// What the dialect does not understand.
    pub fn turn(&mut self, patience: Duration) -> anyhow::Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let patience = EpollTimeout::try_from(patience)?;
        let count = match self.epoll.wait(&mut events, patience) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        for event in &events[..count] {
            let token = event.data() as usize;
            match token.checked_sub(self.listeners.len()) {
                None => self.listen(token)?,
                Some(speaker) => self.hear_speaker(speaker)?,
            }
        }
        Ok(())
    }

    fn listen(&mut self, index: usize) -> anyhow::Result<()> {
        let Self { listeners, ledger, dialect, buffer, .. } = self;
        let Listener { connection, expected, last_words } = &mut listeners[index];
        let mut now = None;
        let flow = connection.read(&**dialect, buffer, |heard| match heard {
            Heard::Message { stamp, .. } => ledger.deliver(expected, stamp, *now.get_or_insert_with(now_ns)),
            Heard::Gap { first, last } => ledger.gap(last + 1 - first),
            Heard::Bye { reason, .. } => *last_words = Some(reason),
            Heard::Ready | Heard::Taken(_) | Heard::Ask(_) => {}
        })?;
        match flow {
            Flow::Read(bytes) => self.bytes += bytes as u64,
            Flow::Empty => {}
            Flow::Ended => {
                self.epoll.delete(self.listeners[index].connection.as_fd())?;
                let words = self.listeners[index].last_words.take();
                self.ended.push(words.unwrap_or_else(|| "no reason given".to_owned()));
            }
        }
        Ok(())
    }

    fn hear_speaker(&mut self, index: usize) -> anyhow::Result<()> {
        let flow = self.speakers[index].read(&*self.dialect, &mut self.buffer, |_| ())?;
        anyhow::ensure!(flow != Flow::Ended, "the server ends the connection of a speaker");
        self.send(index)
    }

    /// What is to be told at the end, when `published` messages should have reached everybody.
    pub fn finish(&self, published: u64, outcome: &mut Outcome) {
        self.ledger.finish(published, outcome);
        if let Some(reason) = self.ended.first() {
            outcome.faults.push(format!("{} sessions ended: {reason}", self.ended.len()));
        }
    }
}
