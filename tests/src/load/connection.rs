//! One connection of the generator: what has come and is not whole yet, what could not be written yet.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use rustls::ClientConfig;
use socket2::{Domain, Socket, Type};

use super::{
    dialect::{Dialect, Heard, Role},
    link::Link,
};

/// Bytes of a read; holds the longest item of any dialect and much more besides.
pub const BUFFER: usize = 1 << 20;
/// Connections from one source address: below what a hub lets in from one, and a small part of its ports.
const PER_ADDRESS: usize = 2000;
/// How long a server may take to greet.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection that has been greeted.
#[derive(Debug)]
pub struct Connection {
    link: Link,
    role: Role,
    unread: Vec<u8>,
    unsent: Vec<u8>,
    /// The epoll tells when it can be written to.
    awaits_room: bool,
}

/// What became of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// So many bytes came.
    Read(usize),
    /// Nothing is there at the moment.
    Empty,
    /// The server has ended the connection.
    Ended,
}

/// How to connect.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Of the server, on loopback.
    pub server: SocketAddr,
    /// Which connection of its role it is.
    pub index: usize,
    /// Bytes that the system holds unread, at most; `None`: what it finds right.
    pub receive_buffer: Option<usize>,
    /// By which TLS is spoken; `None`: plaintext.
    pub tls: Option<&'a Arc<ClientConfig>>,
}

impl Connection {
    /// Connects, greets and waits until the server is ready; later reads and writes do not wait.
    ///
    /// `hear` is told what came together with that.
    /// # Errors
    /// The server is not there, or does not want the connection.
    pub fn open(
        place: Place<'_>,
        role: Role,
        dialect: &dyn Dialect,
        buffer: &mut [u8],
        mut hear: impl FnMut(Heard),
    ) -> anyhow::Result<Self> {
        let stream = connect(place)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let link = Link::begin(stream, place.tls)?;
        let mut connection =
            Self { link, role, unread: Vec::new(), unsent: dialect.greeting(place.index, role), awaits_room: false };
        connection.flush()?;
        let mut is_ready = false;
        while !is_ready {
            let flow = connection.read(dialect, buffer, |heard| {
                is_ready |= heard == Heard::Ready;
                hear(heard);
            })?;
            ensure!(matches!(flow, Flow::Read(_)), "the server did not greet connection {}: {flow:?}", place.index);
        }
        connection.link.socket().set_nonblocking(true)?;
        Ok(connection)
    }

    /// One read. Tells `hear` all that is whole by then, and answers what is asked.
    ///
    /// # Errors
    /// What the dialect does not understand.
    pub fn read(&mut self, dialect: &dyn Dialect, buffer: &mut [u8], hear: impl FnMut(Heard)) -> anyhow::Result<Flow> {
        self.read_some(dialect, buffer, BUFFER, hear)
    }

    /// The same, of so many bytes at most.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_some(
        &mut self,
        dialect: &dyn Dialect,
        buffer: &mut [u8],
        limit: usize,
        mut hear: impl FnMut(Heard),
    ) -> anyhow::Result<Flow> {
        let held = self.unread.len();
        buffer[..held].copy_from_slice(&self.unread);
        let upto = buffer.len().min(held.saturating_add(limit));
        let read = match self.link.read(&mut buffer[held..upto]) {
            Ok(0) => return Ok(Flow::Ended),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Flow::Empty),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(Flow::Ended),
            Err(error) => return Err(error.into()),
        };
        let all = &buffer[..held + read];
        let used = dialect.scan(self.role, all, &mut |heard| {
            if let Heard::Ask(answer) = heard {
                self.unsent.extend_from_slice(answer);
            } else {
                hear(heard);
            }
        })?;
        self.unread.clear();
        self.unread.extend_from_slice(&all[used..]);
        self.flush()?;
        Ok(Flow::Read(read))
    }

    /// From now on a read waits, at most so long.
    ///
    /// # Errors
    /// The connection is of no use.
    pub fn wait_for_reads(&self, patience: Duration) -> anyhow::Result<()> {
        self.link.socket().set_read_timeout(Some(patience))?;
        self.link.socket().set_nonblocking(false)?;
        Ok(())
    }

    /// The socket of a connection without TLS once more, for a thread that writes while another reads.
    ///
    /// # Errors
    /// The system has no more files.
    pub fn voice(&self) -> io::Result<TcpStream> {
        self.link.socket().try_clone()
    }

    /// Bytes to be written, to which more may be added before [`Self::send`].
    pub const fn unsent(&mut self) -> &mut Vec<u8> {
        &mut self.unsent
    }

    /// Writes what the system takes, and lets `epoll` tell when it takes what is left. To be called after each read, too.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send(&mut self, epoll: &Epoll, token: u64) -> anyhow::Result<()> {
        self.flush()?;
        let must_wait = !self.unsent.is_empty();
        if must_wait != self.awaits_room {
            let mut wanted = EpollFlags::EPOLLIN;
            wanted.set(EpollFlags::EPOLLOUT, must_wait);
            epoll.modify(self.link.socket(), &mut EpollEvent::new(wanted, token))?;
            self.awaits_room = must_wait;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut written = 0;
        while written < self.unsent.len() {
            match self.link.write(&self.unsent[written..]) {
                Ok(some) => written += some,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // Its end is seen, and judged, where it is read.
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                    written = self.unsent.len();
                }
                Err(error) => return Err(error),
            }
        }
        self.unsent.drain(..written);
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.socket().as_fd()
    }
}

/// Many connections come from several addresses of loopback, as many people do.
fn connect(place: Place<'_>) -> anyhow::Result<TcpStream> {
    let socket =
        Socket::new(Domain::IPV4, Type::STREAM, None).context("no socket; is the limit of open files high?")?;
    if let Some(bytes) = place.receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    let source = Ipv4Addr::new(127, 0, 1, 1 + (place.index / PER_ADDRESS) as u8);
    socket.bind(&SocketAddr::new(IpAddr::V4(source), 0).into())?;
    socket.connect(&place.server.into()).with_context(|| format!("connecting to {}", place.server))?;
    Ok(socket.into())
}
