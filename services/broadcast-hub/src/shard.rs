//! One worker thread with its own connections. A publish wakes it once, however many of its sessions want it.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use gaung_proto::GroupId;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::TcpStream,
    sync::{Notify, oneshot},
    task::{LocalSet, spawn_local, yield_now},
    time::{interval, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{
    hub::Hub,
    inbox::{Arrival, Inbox, Waiting},
    relays::RelayLink,
    session::Session,
};

/// A shard's state, of its own thread alone.
pub(crate) struct Shard {
    pub(crate) hub: Arc<Hub>,
    pub(crate) index: usize,
    /// For reading into, by one session at a time.
    pub(crate) scratch: RefCell<Vec<u8>>,
    sessions: RefCell<HashMap<u64, Rc<Session>>>,
    members: RefCell<HashMap<GroupId, HashMap<u64, Rc<Session>>>>,
    emptied: Notify,
    /// Relays whose queues were given something that they were not told of yet.
    submitted: RefCell<Vec<Arc<RelayLink>>>,
    submits: Notify,
    /// Of [`TURN_BYTES`].
    spent: Cell<usize>,
}

const SCRATCH: usize = 64 * 1024;
const SWEEP: Duration = Duration::from_millis(500);
/// Bytes written before other tasks and threads get a turn: some hundred microseconds.
const TURN_BYTES: usize = 1024 * 1024;
/// A write costs as much as to copy so many bytes more.
const WRITE_BYTES: usize = 16 * 1024;

/// Starts the shard's thread. The receiver gets its end; an error means that it panicked.
pub(crate) fn spawn(hub: Arc<Hub>, index: usize, stop: CancellationToken) -> anyhow::Result<oneshot::Receiver<()>> {
    let (ended, end) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a shard's runtime")?;
    let body = move || {
        let shard = Rc::new(Shard {
            hub,
            index,
            scratch: RefCell::new(vec![0; SCRATCH]),
            sessions: RefCell::default(),
            members: RefCell::default(),
            emptied: Notify::new(),
            submitted: RefCell::default(),
            submits: Notify::new(),
            spent: Cell::new(0),
        });
        LocalSet::new().block_on(&runtime, shard.serve(stop));
        // Nobody may wait for the end any more.
        let _ = ended.send(());
    };
    thread::Builder::new().name(format!("hub-shard-{index}")).spawn(body).context("a shard's thread")?;
    Ok(end)
}

impl Shard {
    async fn serve(self: Rc<Self>, stop: CancellationToken) {
        let mut sweep = interval(SWEEP);
        let mut deadline = None;
        loop {
            tokio::select! {
                () = self.inbox().filled() => self.handle(self.inbox().take()).await,
                () = self.submits.notified() => self.submitted.take().iter().for_each(|link| link.publish.wake()),
                _ = sweep.tick() => self.each_session(|session| session.sweep(Instant::now())),
                () = stop.cancelled(), if deadline.is_none() => {
                    deadline = Some(tokio::time::Instant::now() + self.hub.config.drain);
                    self.each_session(|session| session.end("the hub is stopping", false));
                }
                () = self.emptied.notified(), if deadline.is_some() => {}
                () = sleep_until(deadline.unwrap_or_else(tokio::time::Instant::now)), if deadline.is_some() => break,
            }
            if deadline.is_some() && self.sessions.borrow().is_empty() {
                break;
            }
        }
        debug!(shard = self.index, left = self.sessions.borrow().len(), "shard ends");
    }

    /// The session wants to be written to when the group has something new.
    pub(crate) fn enter(&self, group: GroupId, session: &Rc<Session>) {
        self.members.borrow_mut().entry(group).or_default().insert(session.id, session.clone());
    }

    pub(crate) fn leave(&self, group: GroupId, session: u64) {
        let mut members = self.members.borrow_mut();
        if let Some(sessions) = members.get_mut(&group) {
            sessions.remove(&session);
            if sessions.is_empty() {
                members.remove(&group);
            }
        }
    }

    /// Something waits for the relay: it is woken once for what all sessions submit in a turn of the runtime.
    pub(crate) fn submitted(&self, link: Arc<RelayLink>) {
        let mut submitted = self.submitted.borrow_mut();
        if !submitted.iter().any(|known| Arc::ptr_eq(known, &link)) {
            submitted.push(link);
        }
        self.submits.notify_one();
    }

    /// The session has ended.
    pub(crate) fn remove(&self, session: u64) {
        let mut sessions = self.sessions.borrow_mut();
        sessions.remove(&session);
        if sessions.is_empty() {
            self.emptied.notify_one();
        }
    }

    /// A session has written so many bytes.
    pub(crate) fn spend(&self, bytes: usize) {
        self.spent.set(self.spent.get() + bytes);
    }

    /// Whether others are due after one more session.
    fn ends_turn(&self) -> bool {
        let spent = self.spent.get() + WRITE_BYTES;
        let is_over = spent >= TURN_BYTES;
        self.spent.set(if is_over { 0 } else { spent });
        is_over
    }

    fn inbox(&self) -> &Inbox {
        &self.hub.shards[self.index]
    }

    async fn handle(self: &Rc<Self>, waiting: Waiting) {
        for arrival in waiting.arrivals {
            self.open(arrival);
        }
        for answer in waiting.answers {
            let session = self.sessions.borrow().get(&answer.session).cloned();
            if let Some(session) = session {
                session.answered(answer.body);
            }
        }
        if waiting.everyone {
            self.each_session(Session::everyone_known);
        }
        for group in waiting.marked {
            let members: Vec<Rc<Session>> = match self.members.borrow().get(&group) {
                Some(members) => members.values().cloned().collect(),
                None => continue,
            };
            for session in members {
                session.marked(group);
                if self.ends_turn() {
                    thread::yield_now();
                    yield_now().await;
                }
            }
        }
    }

    fn open(self: &Rc<Self>, arrival: Arrival) {
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
        let socket = SockRef::from(&arrival.stream);
        // A socket that refuses these still works.
        let _ = socket.set_tcp_nodelay(true);
        let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES);
        let _ = socket.set_tcp_keepalive(&keepalive);
        let stream = match TcpStream::from_std(arrival.stream) {
            Ok(stream) => stream,
            Err(error) => {
                debug!(%error, "a connection cannot be used");
                return;
            }
        };
        let session =
            Session::new(self.clone(), stream, arrival.address, arrival.port, arrival.admitted, Instant::now());
        self.sessions.borrow_mut().insert(session.id, session.clone());
        spawn_local(session.run());
    }

    fn each_session(&self, mut act: impl FnMut(&Rc<Session>)) {
        let sessions: Vec<Rc<Session>> = self.sessions.borrow().values().cloned().collect();
        sessions.iter().for_each(&mut act);
    }
}

/// What the system holds unsent for a slow reader; the rest stays in the ring, where all share it.
const UNSENT_BYTES: u32 = 256 * 1024;
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
