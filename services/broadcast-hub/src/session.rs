//! The shell of a session: its socket and its task, around the pure [`SessionCore`]. It stays on one shard's thread.

mod access;
mod socket;

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Instant,
};

use bytes::Bytes;
use gaung_proto::ClientId;
use gaung_site::PeerIdentity;
use prometheus_client::metrics::gauge::Gauge;
use service_kit::secure::PeerDevice;
use tokio::{
    sync::{Notify, mpsc},
    task::yield_now,
    time::sleep_until,
};
use tracing::debug;

use crate::{
    admission::{Admitted, Handshake},
    dialect::{Framed, Text, TextIdentity, WebSocket},
    history::{HistoryItem, HistoryPart, HistoryPlace},
    inbox::{AnswerBody, SessionPort},
    page_sessions::PageSession,
    session_core::{Dialect, EndReason, Pressure, SessionCore, Surroundings},
};

use self::{access::SessionAccess, socket::SocketInput};
pub(crate) use self::{
    access::{SessionNumbers, SessionServices, ShardContext},
    socket::SessionSocket,
};

/// A session. Its own task reads and waits; the shard writes to it directly when a group has new messages.
pub(crate) struct Session {
    pub(crate) id: u64,
    context: Rc<ShardContext>,
    socket: SessionSocket,
    address: IpAddr,
    /// Who the peer has proven to be.
    peer: PeerIdentity,
    wake: Notify,
    // Never borrowed while something is awaited.
    state: RefCell<SessionState>,
}

struct SessionState {
    core: SessionCore,
    dialect: Box<dyn Dialect>,
    /// The place among the sessions that have not said hello; `None` once the peer has.
    handshake: Option<Box<Handshake>>,
    admitted: Admitted,
    history: Option<HistoryChannel>,
    /// What the peer's HTTP requests are known by, once it has proven its device.
    page: Option<PageSession>,
    /// Places of log reads, held until what was read is written.
    history_places: Vec<Arc<HistoryPlace>>,
    is_input_ended: bool,
    is_end_noted: bool,
}

struct HistoryChannel {
    sender: mpsc::Sender<HistoryPart>,
    receiver: mpsc::Receiver<HistoryPart>,
}

/// Why a turn of writing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriteOutcome {
    /// Everything is written.
    Idle,
    /// The socket is full.
    Blocked,
    /// The turn's budget is used up, and other sessions are due.
    More,
    /// A cursor has to be recovered.
    CursorsBehind,
}

/// What the session's task waits for.
#[derive(Debug, Clone, Copy)]
struct SessionWait {
    outcome: WriteOutcome,
    may_read: bool,
    wants_history: bool,
    due: Option<Instant>,
    is_over: bool,
}

/// Parts of the log that are read ahead for one session.
const HISTORY_AHEAD: usize = 2;
/// Most writes of one turn.
const WRITES: usize = 4;

impl Session {
    /// Creates a session on an admitted connection; returns with it the bytes that its peer has sent already.
    pub(crate) fn new(
        id: u64,
        context: Rc<ShardContext>,
        socket: SessionSocket,
        address: IpAddr,
        peer: PeerIdentity,
        port: SessionPort,
        admitted: Admitted,
    ) -> (Rc<Self>, Bytes) {
        let device = PeerDevice::of_peer(peer, context.services.plaintext);
        let is_exposed = matches!(port, SessionPort::Web { is_exposed: true, .. });
        let mut early = Bytes::new();
        let (dialect, handshake): (Box<dyn Dialect>, _) = match port {
            SessionPort::Framed(handshake) => (Box::new(Framed::default()), Some(handshake)),
            SessionPort::Web { handshake, early: read, is_exposed: _ } => {
                early = read;
                (Box::new(WebSocket::new()), Some(handshake))
            }
            SessionPort::Text => (Box::new(Text::new(text_identity(&context, &socket))), None),
        };
        let state = SessionState {
            core: SessionCore::new(context.services.limits.clone(), device, rand::random(), Instant::now())
                .for_open_groups(is_exposed),
            dialect,
            handshake: handshake.map(Box::new),
            admitted,
            history: None,
            page: None,
            history_places: Vec::new(),
            is_input_ended: false,
            is_end_noted: false,
        };
        let wake = Notify::new();
        (Rc::new(Self { id, context, socket, address, peer, wake, state: RefCell::new(state) }), early)
    }

    /// Runs the session from its first byte to its end; `early` was read before.
    pub(crate) async fn run(self: Rc<Self>, early: Bytes, gauge: Gauge) {
        gauge.inc();
        self.act(|core, around| {
            core.open(around);
            if !around.dialect.handle_bytes(around.now, &early) {
                core.handle_lost(around.now);
            }
        });
        drop(early);
        self.take_input(SessionSocket::read_decrypted);
        while self.turn().await {}
        self.act(SessionCore::leave_all);
        self.close().await;
        gauge.dec();
    }

    /// Writes at once what a marked group has: new messages, or its end.
    pub(crate) fn marked(&self, group: gaung_proto::GroupId) {
        let outcome = self.act(|core, around| {
            core.mark(group, around);
            core.handle_decoded(around);
            self.pump(core, around)
        });
        if outcome != WriteOutcome::Idle {
            self.wake.notify_one();
        }
    }

    /// Handles the answer to a request of this session.
    pub(crate) fn answered(&self, body: AnswerBody) {
        self.act(|core, around| match body {
            AnswerBody::Published(published) => core.handle_published(published, around),
            AnswerBody::Found(found) => core.handle_found(found.number, found.outcome, around),
        });
        // Many answers come at a time; the session's own task writes them together.
        self.wake.notify_one();
    }

    /// Has the session join `everyone`, which the registry has named.
    pub(crate) fn everyone_known(&self) {
        self.act(SessionCore::handle_everyone);
        self.wake.notify_one();
    }

    /// Checks time limits and evictions.
    pub(crate) fn sweep(&self, is_nearly_full: bool) {
        let pressure = {
            let state = self.state.borrow();
            Pressure {
                is_evicted: state.admitted.is_evicted(),
                is_handshake_evicted: state.handshake.as_ref().is_some_and(|handshake| handshake.is_evicted()),
                is_history_evicted: state.history_places.iter().any(|place| place.is_evicted()),
                is_nearly_full,
            }
        };
        let has_output = self.act(|core, around| {
            core.handle_sweep(pressure, around);
            !core.is_blocked() && !core.is_flushed(around.dialect)
        });
        if has_output {
            self.wake.notify_one();
        }
    }

    /// Ends the session.
    pub(crate) fn end(&self, reason: EndReason) {
        self.act(|core, around| core.end(reason, around));
    }

    /// Calls the core, then handles requests that were decoded meanwhile, and the session's end.
    fn act<T>(&self, act: impl FnOnce(&mut SessionCore, &mut Surroundings<'_>) -> T) -> T {
        let mut state = self.state.borrow_mut();
        let SessionState { core, dialect, history, page, is_end_noted, .. } = &mut *state;
        let mut hub = SessionAccess { context: &self.context, session: self.id, address: self.address, history, page };
        let mut around = Surroundings { now: Instant::now(), hub: &mut hub, dialect: dialect.as_mut() };
        let done = act(core, &mut around);
        core.handle_decoded(&mut around);
        if let Some(reason) = core.end_reason().filter(|_| !*is_end_noted) {
            *is_end_noted = true;
            self.note_end(reason);
        }
        done
    }

    fn note_end(&self, reason: &EndReason) {
        let device = self.peer.device();
        debug!(session = self.id, address = %self.address, %device, %reason, "session ends");
        if let Some(counter) = reason.counter(&self.context.services.figures) {
            counter.inc();
        }
        self.socket.make_room();
        self.wake.notify_one();
    }

    /// Writes what can be written, then waits for one event and handles it. Returns false once the session is over.
    async fn turn(&self) -> bool {
        let wait = self.write();
        if wait.is_over {
            return false;
        }
        match wait.outcome {
            WriteOutcome::More => {
                if wait.may_read {
                    self.read();
                }
                yield_now().await;
                return true;
            }
            WriteOutcome::CursorsBehind => return true,
            WriteOutcome::Idle | WriteOutcome::Blocked => {}
        }
        tokio::select! {
            biased;
            () = self.wake.notified() => {}
            () = self.socket.writable(), if wait.outcome == WriteOutcome::Blocked => {
                self.act(|core, _| core.handle_writable());
            }
            part = self.history_part(), if wait.wants_history => self.history_came(part),
            () = self.socket.readable(), if wait.may_read => {
                if self.read() {
                    yield_now().await;
                }
            }
            () = sleep_until(wait.due.unwrap_or_else(Instant::now).into()), if wait.due.is_some() => {
                self.act(|_, around| around.dialect.handle_timeout(around.now));
            }
        }
        true
    }

    fn write(&self) -> SessionWait {
        let outcome = self.act(|core, around| {
            let outcome = self.pump(core, around);
            core.recover_cursors(around);
            outcome
        });
        let mut state = self.state.borrow_mut();
        if !state.history_places.is_empty() && !state.core.holds_log_parts() {
            state.history_places = Vec::new();
        }
        let SessionState { core, dialect, .. } = &*state;
        let now = Instant::now();
        SessionWait {
            outcome,
            may_read: core.may_read() && !state.is_input_ended,
            wants_history: state.history.is_some() && core.wants_log_parts(),
            due: core.deadline().or_else(|| dialect.poll_timeout()),
            is_over: core.is_over(now, dialect.as_ref())
                && (!self.socket.has_unsent() || core.deadline().is_some_and(|deadline| deadline <= now)),
        }
    }

    /// Writes until everything is written, the socket is full or the turn is over.
    fn pump(&self, core: &mut SessionCore, around: &mut Surroundings<'_>) -> WriteOutcome {
        if core.is_lost() {
            return WriteOutcome::Idle;
        }
        if core.is_blocked() {
            return WriteOutcome::Blocked;
        }
        for _ in 0..WRITES {
            match self.socket.flush(around.dialect.unsent()) {
                Ok(true) => {}
                Ok(false) => {
                    // None of the slices, but a part of what they were encoded to.
                    core.wrote(around.now, 0);
                    return self.blocked(core);
                }
                Err(error) => return self.write_failed(&error, core, around),
            }
            let gathered = core.gather(around);
            if gathered.slices == 0 {
                return if core.has_cursors_behind() { WriteOutcome::CursorsBehind } else { WriteOutcome::Idle };
            }
            let written = if gathered.bytes == 0 || core.wrap(gathered.bytes, around) {
                gathered.bytes
            } else {
                match self.socket.write(core.slices()) {
                    Ok(written) => written,
                    Err(error) => return self.write_failed(&error, core, around),
                }
            };
            core.wrote(around.now, written);
            self.context.spend(written);
            self.context.services.figures.writes.inc();
            self.context.services.figures.written_bytes.inc_by(written as u64);
        }
        WriteOutcome::More
    }

    fn write_failed(&self, error: &io::Error, core: &mut SessionCore, around: &Surroundings<'_>) -> WriteOutcome {
        if error.kind() != ErrorKind::WouldBlock {
            core.handle_lost(around.now);
            return WriteOutcome::Idle;
        }
        self.blocked(core)
    }

    fn blocked(&self, core: &mut SessionCore) -> WriteOutcome {
        self.context.services.figures.blocked.inc();
        core.handle_blocked();
        WriteOutcome::Blocked
    }

    /// Reads once and handles what came. Returns true if more may be there, for which other sessions have to be served first.
    fn read(&self) -> bool {
        self.take_input(SessionSocket::read)
    }

    fn take_input(&self, read: impl FnOnce(&SessionSocket, &mut [u8]) -> io::Result<SocketInput>) -> bool {
        let mut scratch = self.context.scratch.borrow_mut();
        let limit = self.state.borrow().dialect.rules().read_bytes.min(scratch.len());
        let input = match read(&self.socket, &mut scratch[..limit]) {
            Ok(input) => input,
            Err(error) => {
                if error.kind() != ErrorKind::WouldBlock {
                    self.act(|core, around| core.handle_lost(around.now));
                }
                return false;
            }
        };
        if input.bytes > 0 {
            self.received(&scratch[..input.bytes]);
        }
        if input.is_ended {
            self.input_ended();
        }
        input.may_continue && !input.is_ended
    }

    fn received(&self, bytes: &[u8]) {
        self.act(|core, around| {
            core.handle_heard(around.now);
            let goes_on = around.dialect.handle_bytes(around.now, bytes);
            core.handle_decoded(around);
            if !goes_on {
                core.handle_lost(around.now);
            }
        });
        let mut state = self.state.borrow_mut();
        state.admitted.touch(Instant::now());
        if state.core.is_greeted() {
            state.handshake = None;
        }
    }

    fn input_ended(&self) {
        self.act(|core, around| {
            let goes_on = around.dialect.handle_end();
            core.handle_decoded(around);
            if !goes_on {
                core.handle_lost(around.now);
            }
        });
        self.state.borrow_mut().is_input_ended = true;
    }

    async fn history_part(&self) -> HistoryPart {
        poll_fn(|cx| match &mut self.state.borrow_mut().history {
            Some(channel) => channel.receiver.poll_recv(cx).map(|part| part.expect("the session holds a sender")),
            None => Poll::Pending,
        })
        .await
    }

    fn history_came(&self, HistoryPart { read, group, item }: HistoryPart) {
        match item {
            HistoryItem::Begun(place) => {
                let mut state = self.state.borrow_mut();
                if state.core.is_reading(group, read) {
                    state.history_places.push(place);
                }
            }
            HistoryItem::Part(part) => self.act(|core, around| core.handle_log_part(group, read, part, around)),
        }
    }

    /// Closes the connection so that what was written last arrives.
    async fn close(&self) {
        let is_input_ended = {
            let state = self.state.borrow();
            if state.core.is_lost() {
                return;
            }
            let closing = state.dialect.closing();
            if !closing.is_empty() && !state.dialect.has_unsent() {
                // If this fails the peer sees the connection end all the same.
                let _ = self.socket.write(std::iter::once(closing));
            }
            state.is_input_ended
        };
        self.socket.close(is_input_ended).await;
    }
}

impl SessionPort {
    /// Returns the gauge of open sessions of this port.
    pub(crate) fn gauge(&self, figures: &crate::metrics::Figures) -> Gauge {
        match self {
            Self::Framed(_) => figures.framed_sessions.clone(),
            Self::Web { .. } => figures.web_sessions.clone(),
            Self::Text => figures.text_sessions.clone(),
        }
    }
}

fn text_identity(context: &ShardContext, socket: &SessionSocket) -> TextIdentity {
    let local = socket.local_addr();
    let page = |local: SocketAddr| Some(SocketAddr::new(local.ip().to_canonical(), context.services.page_port?));
    TextIdentity {
        number: context.services.numbers.client_number(),
        client: ClientId(rand::random()),
        stream_key: rand::random(),
        new_author: || ClientId(rand::random()),
        page: local.and_then(page),
    }
}
