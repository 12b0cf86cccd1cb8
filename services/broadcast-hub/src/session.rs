//! One TCP session: it reads requests, and is written to from its cursors. Lives on one shard's thread.

mod ask;
mod framed;
mod hearing;
mod input;
mod output;
mod publish;
mod subscription;
mod text;
mod tickets;
mod web;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_engine::{Fanout, FanoutLimits};
use gaung_proto::GroupId;
use tokio::{
    net::TcpStream,
    sync::{Notify, mpsc},
    task::yield_now,
    time::sleep_until,
};

use crate::{
    admission::Admitted,
    history::{HistoryPart, HistoryPlace},
    hub::Hub,
    inbox::{AnswerBody, Port},
    shard::Shard,
};

use self::{ask::Ask, framed::Framed, input::Heard, output::Flow, subscription::Subscription, text::Text, web::Web};

/// A session. Its own task reads and waits; the shard writes to it directly when a group has something new.
pub(crate) struct Session {
    pub(crate) id: u64,
    shard: Rc<Shard>,
    stream: TcpStream,
    address: IpAddr,
    dialect: Dialect,
    fan: RefCell<Fanout>,
    /// Boxed, for a table has room for four where most sessions have one.
    subscriptions: RefCell<HashMap<GroupId, Box<Subscription>>>,
    asks: RefCell<HashMap<u64, Ask>>,
    history: RefCell<Option<HistoryChannel>>,
    /// Until what was read from the log is written.
    history_places: RefCell<Vec<Arc<HistoryPlace>>>,
    next_number: Cell<u64>,
    in_flight_bytes: Cell<usize>,
    in_flight_requests: Cell<usize>,
    /// The socket takes nothing at the moment.
    blocked: Cell<bool>,
    /// The connection is of no use any more.
    dead: Cell<bool>,
    /// No more is read; what waits is written until then.
    ending: Cell<Option<Instant>>,
    /// When the socket last took something, or had nothing to take.
    progress: Cell<Instant>,
    heard: Cell<Instant>,
    wake: Notify,
    admitted: RefCell<Admitted>,
}

/// What is spoken on the session's port.
enum Dialect {
    // Apart from the session, so that one kind need not have the other's size.
    Framed(Box<Framed>),
    Text(Box<Text>),
}

struct HistoryChannel {
    sender: mpsc::Sender<HistoryPart>,
    receiver: mpsc::Receiver<HistoryPart>,
}

/// Parts of history read ahead for one session.
const HISTORY_AHEAD: usize = 2;
/// Bytes of history waiting to be written, about.
const FEED_BYTES: usize = 256 * 1024;
/// Answers that wait before no more requests are read.
const CONTROL_PAUSE_BYTES: usize = 256 * 1024;
/// Publish requests in flight before no more requests are read.
const IN_FLIGHT_BYTES: usize = 4 * 1024 * 1024;
const IN_FLIGHT_REQUESTS: usize = 16 * 1024;
/// A closed session's peer may go on sending for so long; its last words are not lost to a reset.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

impl Session {
    pub(crate) fn new(
        shard: Rc<Shard>,
        stream: TcpStream,
        address: IpAddr,
        port: Port,
        admitted: Admitted,
        now: Instant,
    ) -> Rc<Self> {
        let hub = &shard.hub;
        let (dialect, is_dead) = match port {
            Port::Framed(handshake) => (Dialect::Framed(Box::new(Framed::new(handshake, now, None))), false),
            Port::Web { handshake, early } => {
                let framed = Framed::new(handshake, now, Some(Web::new()));
                let is_dead = !framed.take_in(&early);
                (Dialect::Framed(Box::new(framed)), is_dead)
            }
            Port::Text => (Dialect::Text(Box::new(Text::new(hub.client_number()))), false),
        };
        Rc::new(Self {
            id: hub.session_id(),
            stream,
            address,
            dialect,
            fan: RefCell::new(Fanout::new(FanoutLimits::default())),
            subscriptions: RefCell::default(),
            asks: RefCell::default(),
            history: RefCell::default(),
            history_places: RefCell::default(),
            next_number: Cell::new(1),
            in_flight_bytes: Cell::new(0),
            in_flight_requests: Cell::new(0),
            blocked: Cell::new(false),
            dead: Cell::new(is_dead),
            ending: Cell::new(None),
            progress: Cell::new(now),
            heard: Cell::new(now),
            wake: Notify::new(),
            admitted: RefCell::new(admitted),
            shard,
        })
    }

    /// The session from its first word to its end.
    pub(crate) async fn run(self: Rc<Self>) {
        let gauge = match &self.dialect {
            Dialect::Framed(framed) if framed.web.is_some() => &self.hub().figures.web_sessions,
            Dialect::Framed(_) => &self.hub().figures.framed_sessions,
            Dialect::Text(_) => &self.hub().figures.text_sessions,
        };
        gauge.inc();
        self.hub().figures.sessions_opened.inc();
        self.begin();
        while !self.is_over(Instant::now()) {
            self.turn().await;
        }
        self.leave_all();
        self.close().await;
        gauge.dec();
        self.shard.remove(self.id);
    }

    /// A group has something new, or has ended: writes at once.
    pub(crate) fn marked(self: &Rc<Self>, group: GroupId) {
        self.mark(group);
        if self.pump() != Flow::Idle || self.dead.get() {
            self.wake.notify_one();
        }
    }

    /// A request of this session is answered.
    pub(crate) fn answered(self: &Rc<Self>, body: AnswerBody) {
        match body {
            AnswerBody::Published(published) => self.published(published),
            AnswerBody::Found(found) => self.found(found),
        }
        // Answers come in crowds: the session's own task writes them together.
        self.wake.notify_one();
    }

    /// `everyone` may be known by now.
    pub(crate) fn everyone_known(self: &Rc<Self>) {
        match &self.dialect {
            Dialect::Framed(framed) => self.welcome(framed),
            Dialect::Text(_) => self.join_everyone(),
        }
        self.wake.notify_one();
    }

    /// Checks all that has a time limit.
    pub(crate) fn sweep(self: &Rc<Self>, now: Instant) {
        let limits = &self.hub().config.limits;
        let stalled = now.saturating_duration_since(self.progress.get()) >= limits.stall;
        if self.blocked.get() && stalled && self.ending.get().is_none() {
            self.hub().figures.stalled.inc();
            self.end("nothing was read for too long", false);
        }
        if self.admitted.borrow().is_evicted() {
            self.evict();
        }
        self.sweep_history(now);
        match &self.dialect {
            Dialect::Framed(framed) => self.sweep_framed(framed, now),
            Dialect::Text(_) => self.sweep_text(now),
        }
        self.sweep_subscriptions(now);
        if !self.blocked.get() && !self.is_flushed() {
            self.wake.notify_one();
        }
    }

    /// Its place went to an address that holds fewer.
    fn evict(&self) {
        if self.ending.get().is_none() {
            self.hub().figures.evicted.inc();
            self.end("the hub is full and your address has the most sessions; try again later", false);
        }
    }

    /// Says why, where to resume, and ends once that is written.
    pub(crate) fn end(&self, reason: &str, is_final: bool) {
        if self.ending.get().is_some() {
            return;
        }
        let last = match &self.dialect {
            Dialect::Framed(_) => framed::bye(reason, self.resumes(), is_final),
            Dialect::Text(_) => text::bye(reason),
        };
        self.ending.set(Some(Instant::now() + self.hub().config.limits.linger));
        let mut fan = self.fan.borrow_mut();
        fan.remove_all();
        fan.push_last(last);
        drop(fan);
        self.make_room();
        self.wake.notify_one();
    }

    fn hub(&self) -> &Arc<Hub> {
        &self.shard.hub
    }

    fn begin(self: &Rc<Self>) {
        match &self.dialect {
            Dialect::Framed(framed) => self.frames(framed),
            Dialect::Text(text) => {
                self.control(text::welcome(text));
                self.join_everyone();
            }
        }
    }

    /// Writes what can be written, then waits for one thing to happen and handles it.
    async fn turn(self: &Rc<Self>) {
        let flow = self.pump();
        self.settle();
        self.leave_history();
        if flow == Flow::More {
            if self.may_read() {
                self.hear();
            }
            yield_now().await;
            return;
        }
        if flow == Flow::Settle || self.is_over(Instant::now()) {
            return;
        }
        let due = self.due();
        tokio::select! {
            biased;
            () = self.wake.notified() => {}
            _ = self.stream.writable(), if flow == Flow::Blocked => {
                self.blocked.set(false);
            }
            part = self.history_part(), if self.wants_history() => self.history_came(part),
            _ = self.stream.readable(), if self.may_read() => {
                if self.hear() == Heard::More {
                    yield_now().await;
                }
            }
            () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => self.text_silence(),
        }
    }

    /// When a line ends by silence, or an ending session is cut.
    fn due(&self) -> Option<Instant> {
        self.ending.get().or_else(|| self.text_due())
    }

    fn is_over(&self, now: Instant) -> bool {
        let Some(deadline) = self.ending.get() else { return self.dead.get() };
        self.dead.get() || self.is_flushed() || deadline <= now
    }

    fn is_flushed(&self) -> bool {
        self.fan.borrow().is_flushed() && self.web().is_none_or(Web::is_flushed)
    }

    /// What lies between the frames and a browser.
    fn web(&self) -> Option<&Web> {
        match &self.dialect {
            Dialect::Framed(framed) => framed.web.as_ref(),
            Dialect::Text(_) => None,
        }
    }

    /// Its last words are said, or cannot be.
    fn is_closing(&self) -> bool {
        self.dead.get() || self.ending.get().is_some()
    }

    fn may_read(&self) -> bool {
        self.ending.get().is_none()
            && !self.input_ended()
            && self.in_flight_bytes.get() < IN_FLIGHT_BYTES
            && self.in_flight_requests.get() < IN_FLIGHT_REQUESTS
            && self.fan.borrow().control_bytes() < CONTROL_PAUSE_BYTES
    }

    fn wants_history(&self) -> bool {
        self.ending.get().is_none() && self.history.borrow().is_some() && self.fan.borrow().feed_bytes() < FEED_BYTES
    }

    async fn history_part(&self) -> HistoryPart {
        poll_fn(|cx| match self.history.borrow_mut().as_mut() {
            Some(channel) => channel.receiver.poll_recv(cx).map(|part| part.expect("the session holds a sender")),
            None => std::task::Poll::Pending,
        })
        .await
    }

    fn history_sender(&self) -> mpsc::Sender<HistoryPart> {
        let mut history = self.history.borrow_mut();
        let channel = history.get_or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(HISTORY_AHEAD);
            HistoryChannel { sender, receiver }
        });
        channel.sender.clone()
    }

    fn number(&self) -> u64 {
        let number = self.next_number.get();
        self.next_number.set(number + 1);
        number
    }

    /// Queues a control frame or line.
    fn control(&self, frame: Bytes) {
        if self.ending.get().is_some() {
            return;
        }
        let queued = self.fan.borrow_mut().push_control(frame);
        if queued.is_err() {
            self.hub().figures.control_full.inc();
            self.end("too many answers wait unread", false);
        }
    }
}
