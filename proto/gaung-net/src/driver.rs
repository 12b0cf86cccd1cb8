//! The thread that owns sockets and one engine.
//!
//! A [`Driver`] holds no protocol decision: it hands in commands, datagrams and the passing of time, and after a batch of
//! them sends what the engine wants sent and opens and closes the sockets it wants. A failed send is counted, never
//! the end of the loop. Datagrams leave and come several in a system call where the system can ([`Batching`]); one alone
//! waits for no other.

mod batch;
mod counters;
mod handle;
mod outbox;
mod receive;
mod sockets;
#[cfg(test)]
mod tests;

use std::{io, net::SocketAddrV4, sync::Arc, thread, time::Instant};

use gaung_engine::Transmit;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::{prctl::set_timerslack, time::TimeSpec},
};
use tokio::sync::mpsc;
use tracing::{debug, error};

use crate::{
    interface::Link,
    multicast::DataSocket,
    socket::{SenderAddr, SocketError},
};

pub use batch::Batching;
pub use counters::{Counters, SendFailure};
pub use handle::{CommandSender, DriverHandle, DriverPanicked, SendCommandError};
pub use sockets::{DriverSockets, SocketUse};

use self::{
    handle::DriverFlags,
    outbox::Outbox,
    receive::ReceivedBatch,
    sockets::{ReaderId, SocketTable},
};

/// A socket of one driver; whoever opens it chooses the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u32);

/// A socket to open or close while the driver runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketChange {
    /// Send from a socket that was opened elsewhere, and perhaps receive from it.
    Adopt {
        /// The socket's number from now on; one that is open under it is closed first.
        id: SocketId,
        /// The data socket to open.
        socket: DataSocket,
        /// What to do with it.
        usage: SocketUse,
    },
    /// Join a multicast group and receive from it.
    OpenGroup {
        /// The socket's number from now on. One that is open under it for the same group stays so and is joined on these
        /// links instead; another one is closed first.
        id: SocketId,
        /// The group's address and port.
        group: SocketAddrV4,
        /// Where to join; at least one, unless the group is open under this number.
        links: Vec<Link>,
    },
    /// Receive broadcasts to a port, on all interfaces.
    OpenBroadcast {
        /// The socket's number from now on; one that is open under it is closed first.
        id: SocketId,
        /// The UDP port that is bound.
        port: u16,
    },
    /// Close a socket; unknown numbers are ignored.
    Close(SocketId),
}

/// An engine that a driver drives, or several behind one front that routes between them.
///
/// After one or several inputs (`handle_*`), at most 64, the driver calls `poll_transmit` and `poll_socket_change` until
/// both are empty, before it waits also `poll_timeout`. Of a socket that is to be closed, datagrams may still come
/// until then. While a socket is full (`EAGAIN`) the driver keeps up to 65 transmits and polls no more until they have
/// left; inputs still arrive meanwhile, so what waits inside must be bounded there.
pub trait Drive: Send + 'static {
    /// Commands that other threads may send.
    type Command: Send + 'static;

    /// Handles a command of another thread.
    fn handle_command(&mut self, now: Instant, command: Self::Command);
    /// Handles a datagram: 0 to 2048 bytes, longer ones cut there; nothing in it has been checked.
    fn handle_datagram(&mut self, now: Instant, socket: SocketId, from: SenderAddr, bytes: &[u8]);
    /// Handles the time of [`Self::poll_timeout`]; may also be called early.
    fn handle_timeout(&mut self, now: Instant);
    /// What became of an [`SocketChange::OpenGroup`] or [`SocketChange::OpenBroadcast`]: the links that failed (none:
    /// all is well), or why there is no such socket.
    fn handle_socket(&mut self, now: Instant, socket: SocketId, outcome: Result<Vec<Link>, SocketError>);
    /// Returns the next datagram to send.
    fn poll_transmit(&mut self) -> Option<Transmit>;
    /// Returns the next socket to open or close.
    fn poll_socket_change(&mut self) -> Option<SocketChange>;
    /// Returns when [`Self::handle_timeout`] is wanted, if at all.
    fn poll_timeout(&self) -> Option<Instant>;
}

/// Starts one thread that drives an engine over sockets.
#[derive(Debug)]
pub struct Driver;

impl Driver {
    /// Commands that wait at most; then [`CommandSender::send`] gives them back.
    pub const COMMAND_QUEUE: usize = 1024;

    /// Starts a thread named `name` that owns `sockets` and `drive` until the handle stops it.
    ///
    /// # Errors
    /// If the system has no thread or file descriptor left.
    pub fn spawn<D: Drive>(name: &str, sockets: DriverSockets, drive: D) -> io::Result<DriverHandle<D::Command>> {
        let shared = Arc::new(DriverFlags::new()?);
        let counters = Arc::new(Counters::default());
        let (sender, commands) = mpsc::channel(Self::COMMAND_QUEUE);
        let (alive, ended) = tokio::sync::watch::channel(());
        let turn = DriverLoop {
            drive,
            commands,
            shared: Arc::clone(&shared),
            outbox: Outbox::new(Arc::clone(&counters)),
            sockets: SocketTable::new(sockets, Arc::clone(&counters)),
            received: ReceivedBatch::new(),
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _alive = alive;
            turn.run();
        })?;
        Ok(DriverHandle::new(CommandSender::new(sender, Arc::clone(&shared)), thread, shared, counters, ended))
    }
}

/// Most commands of one turn, so that sockets and timers get theirs.
const COMMANDS_PER_TURN: usize = 256;
/// Datagrams of one socket in one turn; more only if they came in one system call.
const DATAGRAMS_PER_TURN: usize = 64;
/// Most inputs after which outputs are taken: what they cause leaves together, and little of it waits.
const INPUTS_PER_DRAIN: usize = 64;

struct DriverLoop<D: Drive> {
    drive: D,
    commands: mpsc::Receiver<D::Command>,
    shared: Arc<DriverFlags>,
    outbox: Outbox,
    sockets: SocketTable,
    received: ReceivedBatch,
}

impl<D: Drive> DriverLoop<D> {
    fn run(mut self) {
        // The default slack lets the kernel delay each wake-up by 50 µs, a quarter of the time that a message may wait.
        if let Err(errno) = set_timerslack(1) {
            debug!(%errno, "timer slack stays as it is");
        }
        self.drain_outputs();
        loop {
            let more_commands = self.take_commands();
            if self.shared.is_stopping() {
                return;
            }
            let more_datagrams = self.take_datagrams();
            self.take_timeout();
            if let Err(errno) = self.wait(more_commands || more_datagrams) {
                error!(%errno, "driver cannot wait for its sockets and ends");
                return;
            }
        }
    }

    /// Returns true if there may be more.
    fn take_commands(&mut self) -> bool {
        self.shared.rearm();
        for taken in 1..=COMMANDS_PER_TURN {
            let Ok(command) = self.commands.try_recv() else {
                self.drain_outputs();
                return false;
            };
            self.drive.handle_command(Instant::now(), command);
            if taken % INPUTS_PER_DRAIN == 0 {
                self.drain_outputs();
            }
        }
        true
    }

    /// Returns true if there may be more.
    fn take_datagrams(&mut self) -> bool {
        let mut more = false;
        for id in self.sockets.readable() {
            let mut budget = DATAGRAMS_PER_TURN;
            // The drive may close it meanwhile.
            while budget > 0 && self.sockets.is_readable(id) {
                // Packets that cannot be taken apart count too: a flood of them must not keep the thread here.
                budget = budget.saturating_sub(self.take_batch(id, budget).max(1));
            }
            more |= self.sockets.is_readable(id);
        }
        more
    }

    /// Hands in what one system call receives; returns how many datagrams that are.
    fn take_batch(&mut self, id: ReaderId, budget: usize) -> usize {
        let count = self.sockets.receive(id, budget, &mut self.received);
        let received = std::mem::take(&mut self.received);
        let mut now = Instant::now();
        for (taken, (from, bytes)) in (1..=count).zip(received.datagrams()) {
            self.drive.handle_datagram(now, id.socket, from, bytes);
            if taken % INPUTS_PER_DRAIN == 0 || taken == count {
                self.drain_outputs();
                now = Instant::now();
            }
        }
        self.received = received;
        count
    }

    fn take_timeout(&mut self) {
        let now = Instant::now();
        if self.drive.poll_timeout().is_some_and(|due| due <= now) {
            self.drive.handle_timeout(now);
        }
        self.drain_outputs();
    }

    fn drain_outputs(&mut self) {
        loop {
            self.outbox.send(Instant::now(), &mut self.sockets, || self.drive.poll_transmit());
            let Some(change) = self.drive.poll_socket_change() else { return };
            if let Some((id, outcome)) = self.sockets.change(change) {
                self.drive.handle_socket(Instant::now(), id, outcome);
            }
        }
    }

    fn wait(&mut self, busy: bool) -> Result<(), Errno> {
        let mut fds = Vec::with_capacity(1 + self.sockets.len());
        fds.push(PollFd::new(self.shared.as_fd(), PollFlags::POLLIN));
        let ids = self.sockets.poll_fds(self.outbox.blocked_on(), &mut fds);
        let now = Instant::now();
        let until = |due: Instant| due.saturating_duration_since(now);
        let due = [self.drive.poll_timeout(), self.outbox.expires()].into_iter().flatten().min();
        let timeout = if busy { Some(TimeSpec::new(0, 0)) } else { due.map(until).map(TimeSpec::from_duration) };
        match ppoll(&mut fds, timeout, None) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(()),
            Err(errno) => return Err(errno),
        }
        let fired: Vec<PollFlags> = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::POLLIN)).collect();
        drop(fds);
        if !fired[0].is_empty() {
            self.shared.clear();
        }
        for (id, flags) in ids.into_iter().zip(&fired[1..]) {
            // A pending error (of an ICMP message) ends every wait at once until a read has taken it.
            self.sockets.mark(id, flags.intersects(PollFlags::POLLIN | PollFlags::POLLERR));
        }
        Ok(())
    }
}
