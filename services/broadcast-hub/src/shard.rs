//! One worker thread with its own sessions. A publish wakes it once, however many of its sessions are in the group.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc, thread, time::Duration};

use anyhow::Context as _;
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
    admission::Admission,
    inbox::{Inbox, InboxContents, Inboxes, NewConnection},
    session::{Session, SessionServices, SessionSocket, ShardContext},
    session_core::EndReason,
};

/// What all shards use of the hub.
#[derive(Clone)]
pub(crate) struct ShardParts {
    pub(crate) services: Arc<SessionServices>,
    pub(crate) inboxes: Inboxes,
    pub(crate) admission: Arc<Admission>,
    /// How long sessions may take to end at a stop.
    pub(crate) drain: Duration,
}

/// A shard's sessions. Only its own thread reaches them.
struct Shard {
    context: Rc<ShardContext>,
    parts: ShardParts,
    sessions: RefCell<HashMap<u64, Rc<Session>>>,
    emptied: Notify,
}

/// How often sessions are checked for time limits and evictions.
const SWEEP: Duration = Duration::from_millis(500);

/// Starts the shard's thread. The receiver reports its end; a receive error means that the thread panicked.
pub(crate) fn spawn(parts: ShardParts, index: usize, stop: CancellationToken) -> anyhow::Result<oneshot::Receiver<()>> {
    let (ended, end) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a shard's runtime")?;
    let body = move || {
        let context = Rc::new(ShardContext::new(parts.services.clone(), index));
        let shard = Rc::new(Shard { context, parts, sessions: RefCell::default(), emptied: Notify::new() });
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
                () = self.context.wake_relays() => {}
                _ = sweep.tick() => self.sweep(),
                () = stop.cancelled(), if deadline.is_none() => {
                    deadline = Some(tokio::time::Instant::now() + self.parts.drain);
                    self.each_session(|session| session.end(EndReason::HubStopping));
                }
                () = self.emptied.notified(), if deadline.is_some() => {}
                () = sleep_until(deadline.unwrap_or_else(tokio::time::Instant::now)), if deadline.is_some() => break,
            }
            if deadline.is_some() && self.sessions.borrow().is_empty() {
                break;
            }
        }
        debug!(shard = self.context.index, left = self.sessions.borrow().len(), "shard ends");
    }

    fn inbox(&self) -> &Inbox {
        self.parts.inboxes.of(self.context.index)
    }

    async fn handle(self: &Rc<Self>, contents: InboxContents) {
        for connection in contents.connections {
            self.open(connection);
        }
        for answer in contents.answers {
            if let Some(session) = self.session(answer.session) {
                session.answered(answer.body);
            }
        }
        if contents.is_everyone_known {
            self.each_session(Session::everyone_known);
        }
        for group in contents.marked {
            for id in self.context.members(group) {
                let Some(session) = self.session(id) else { continue };
                session.marked(group);
                if self.context.ends_turn() {
                    thread::yield_now();
                    yield_now().await;
                }
            }
        }
    }

    /// Begins a session on a new connection.
    fn open(self: &Rc<Self>, connection: NewConnection) {
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
        let socket = SockRef::from(&connection.stream);
        // A socket that refuses these options still works.
        let _ = socket.set_tcp_nodelay(true);
        let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES);
        let _ = socket.set_tcp_keepalive(&keepalive);
        let NewConnection { stream, tls, address, peer, port, admitted } = connection;
        let socket = match TcpStream::from_std(stream) {
            Ok(stream) => SessionSocket::new(stream, tls),
            Err(error) => {
                debug!(%error, "a connection cannot be used");
                return;
            }
        };
        let SessionServices { figures, numbers, .. } = &*self.context.services;
        figures.sessions_opened.inc();
        let (id, gauge) = (numbers.session_id(), port.gauge(figures));
        let (session, early) = Session::new(id, self.context.clone(), socket, address, peer, port, admitted);
        self.sessions.borrow_mut().insert(id, session.clone());
        let shard = self.clone();
        spawn_local(async move {
            session.run(early, gauge).await;
            shard.remove(id);
        });
    }

    fn remove(&self, session: u64) {
        let mut sessions = self.sessions.borrow_mut();
        sessions.remove(&session);
        if sessions.is_empty() {
            self.emptied.notify_one();
        }
    }

    fn sweep(&self) {
        let is_nearly_full = self.parts.admission.is_nearly_full();
        self.each_session(|session| session.sweep(is_nearly_full));
    }

    fn session(&self, id: u64) -> Option<Rc<Session>> {
        self.sessions.borrow().get(&id).cloned()
    }

    fn each_session(&self, mut act: impl FnMut(&Session)) {
        let sessions: Vec<Rc<Session>> = self.sessions.borrow().values().cloned().collect();
        sessions.iter().for_each(|session| act(session));
    }
}

/// Bytes that the system holds unsent for a slow reader; the rest stays in the ring, which all readers share.
const UNSENT_BYTES: u32 = 256 * 1024;
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
