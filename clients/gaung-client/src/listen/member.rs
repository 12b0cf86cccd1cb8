//! One group of a listener: turns its engine's events into the listener's and chooses its lane.

use std::{net::SocketAddrV4, ops::ControlFlow, sync::Arc, time::Duration};

use bytes::Bytes;
use gaung_engine::{LaneTrouble, ReceiverEvent};
use gaung_net::interface::{Link, LinkWatch};
use gaung_proto::{
    ClientId, ClientSeq, Content, ContentType, DeviceId, GroupTag, Kind, LogId, Seq,
    block::{Author, Message, SentAt},
    body::Cookie,
    net::Lane,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::{AbortHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::{
    cursor::DeliveryCursor,
    drive::{EngineCommand, EngineEvent, EngineInput, EnginePort, EventInlet},
    event::Event,
    hub::{self, HubSession},
    note::{HubNote, ReadNote, TaskNote},
    options::LaneChoice,
    presence::Presence,
    reading,
    sink::EventSink,
};
use crate::{calls::GroupAccess, context::Context, error::ClientError, group::GroupInfo, group_sockets::MainSocket};

/// Shortest time between two calls to the registry that hints from the network cause.
const HINT_INTERVAL: Duration = Duration::from_secs(1);

/// A group being listened to.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) context: Arc<Context>,
    pub(super) sink: EventSink,
    pub(super) stop: CancellationToken,
    pub(super) choice: LaneChoice,
    pub(super) access: watch::Sender<GroupAccess>,
    pub(super) group: Arc<GroupInfo>,
    pub(super) relay: Option<SocketAddrV4>,
    pub(super) inlet: EventInlet,
    pub(super) port: EnginePort,
    /// The next seq that the listener has not been given.
    pub(super) cursor: Arc<DeliveryCursor>,
    pub(super) state: MemberState,
}

/// What changes of a member while it runs.
#[derive(Debug)]
pub(super) struct MemberState {
    notes: (mpsc::Sender<TaskNote>, mpsc::Receiver<TaskNote>),
    tasks: JoinSet<()>,
    hub: Option<AbortHandle>,
    /// Shows the relay that the session at a hub is the member that sent STATUS datagrams before.
    cookie: Cookie,
    lane: watch::Sender<Lane>,
    /// Whether [`Event::Ready`] was emitted.
    ready: bool,
    /// Whether [`Event::Reconnecting`] was emitted and not yet [`Event::Reconnected`].
    reconnecting: bool,
    /// Whether long messages are read from the log, where only multicast is allowed.
    long_by_history: bool,
    /// Why the lane changes, until the hub has taken over.
    lane_change: Option<String>,
    last_refresh: Option<tokio::time::Instant>,
    refresh: Arc<Notify>,
    watch: LinkWatch,
    /// Whether multicast is received where there is any.
    hears_multicast: bool,
}

impl MemberState {
    pub(super) fn new(lane: Lane, watch: LinkWatch, hears_multicast: bool) -> Self {
        Self {
            notes: mpsc::channel(16),
            tasks: JoinSet::new(),
            hub: None,
            cookie: Cookie::default(),
            lane: watch::Sender::new(lane),
            ready: false,
            reconnecting: false,
            long_by_history: false,
            lane_change: None,
            last_refresh: None,
            refresh: Arc::default(),
            watch,
            hears_multicast,
        }
    }

    pub(super) const fn hears_multicast(&self) -> bool {
        self.hears_multicast
    }

    /// The interfaces on which multicast can be received now.
    pub(super) fn links(&self) -> Vec<Link> {
        self.watch.now().links
    }
}

impl Member {
    /// Runs until the listener stops or the group is gone, then leaves the group. `session`: an open one, for the TCP
    /// lane.
    pub(super) async fn run(mut self, session: Option<HubSession>) {
        let ended = self.stop.child_token();
        let presence = Presence {
            context: Arc::clone(&self.context),
            access: self.access.subscribe(),
            lane: self.state.lane.subscribe(),
            refresh: Arc::clone(&self.state.refresh),
            notes: self.state.notes.0.clone(),
            ended: ended.clone(),
        };
        let presence = tokio::spawn(presence.keep());
        if session.is_some() {
            self.start_hub(session);
        }
        while self.step().await.is_continue() {}
        self.state.tasks.abort_all();
        self.port.remove();
        ended.cancel();
        // The runtime has reported a panic of that task.
        let _ = presence.await;
    }

    /// Runs a group that is ready at once.
    pub(super) async fn run_ready(mut self) {
        if self.emit_ready(Lane::Multicast).await.is_continue() {
            self.run(None).await;
        }
    }

    async fn step(&mut self) -> ControlFlow<()> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => ControlFlow::Break(()),
            Some(note) = self.state.notes.1.recv() => self.handle_note(note).await,
            event = self.inlet.next() => match event {
                Some(event) => self.handle_event(event).await,
                None => self.emit_gone("its receiving thread has ended".to_owned()).await,
            },
            selection = self.state.watch.changed() => self.handle_links(selection.links).await,
            // A task has sent its note before it ended.
            Some(_) = self.state.tasks.join_next() => ControlFlow::Continue(()),
        }
    }

    async fn handle_event(&mut self, event: EngineEvent) -> ControlFlow<()> {
        let group = Arc::clone(&self.group);
        match event {
            EngineEvent::Receiver(ReceiverEvent::Message { message, lane }) => {
                let carrying = *self.state.lane.borrow();
                self.emit_ready(carrying).await?;
                let next = message.seq.next();
                let content = Content::decode(message.content_type, &message.payload);
                self.emit(Event::Message { group, message, content, lane }).await?;
                self.cursor.set(next);
                ControlFlow::Continue(())
            }
            EngineEvent::Receiver(ReceiverEvent::Gap(range)) => self.emit(Event::Gap { group, range }).await,
            EngineEvent::Receiver(ReceiverEvent::GapFilled(range)) => {
                self.emit(Event::GapFilled { group, range }).await
            }
            EngineEvent::Receiver(ReceiverEvent::Lost(range)) => {
                self.cursor.advance(range.last.next());
                self.emit(Event::Lost { group, range }).await
            }
            EngineEvent::Receiver(ReceiverEvent::Forged(range)) => {
                self.cursor.set(range.first);
                self.emit(Event::Forged { group, range }).await
            }
            EngineEvent::Receiver(ReceiverEvent::NeedHistory(range)) => {
                let (access, port, notes) =
                    (self.access.borrow().clone(), self.port.clone(), self.state.notes.0.clone());
                let (context, log) = (Arc::clone(&self.context), group.log);
                self.state.tasks.spawn(async move {
                    let note = reading::read(context, access, log, range, port).await;
                    // The receiver is gone once the listener has stopped.
                    let _ = notes.send(TaskNote::Read(note)).await;
                });
                ControlFlow::Continue(())
            }
            EngineEvent::Receiver(ReceiverEvent::LaneUp) => self.handle_lane_up().await,
            EngineEvent::Receiver(ReceiverEvent::LaneDown { why: why @ LaneTrouble::TooLong { .. }, .. })
                if self.choice == LaneChoice::Multicast =>
            {
                self.state.long_by_history = true;
                self.emit(Event::LaneChanged { group, lane: Lane::History, why: describe(why) }).await
            }
            EngineEvent::Receiver(ReceiverEvent::LaneDown { why, cookie }) => {
                self.state.cookie = cookie.unwrap_or_default();
                self.handle_lane_down(describe(why)).await
            }
            EngineEvent::Receiver(ReceiverEvent::Stale) => {
                self.refresh_registry();
                ControlFlow::Continue(())
            }
            EngineEvent::Receiver(ReceiverEvent::Moved { to, generation }) => {
                let group = GroupInfo { addr: to, generation, lapsed: false, ..(*self.group).clone() };
                self.access.send_modify(|access| access.group = group.clone());
                self.group = Arc::new(group);
                // The registry decides, because anybody can send such a notice.
                self.refresh_registry();
                ControlFlow::Continue(())
            }
            EngineEvent::NoSocket(why) => self.handle_lane_down(why).await,
            EngineEvent::Changed { old_log } => self.emit(Event::HistoryLost { group, old_log }).await,
            EngineEvent::Text { from, text } => {
                let (message, content) = text_message(from, text);
                self.emit(Event::Message { group, message, content, lane: Lane::Multicast }).await
            }
        }
    }

    async fn handle_note(&mut self, note: TaskNote) -> ControlFlow<()> {
        match note {
            TaskNote::Joined(Ok(access)) => self.handle_access(*access).await,
            TaskNote::Joined(Err(error @ (ClientError::NotFound(_) | ClientError::NotAllowed(_)))) => {
                self.emit_gone(error.to_string()).await
            }
            // Messages are still carried without the registry.
            TaskNote::Joined(Err(_)) => ControlFlow::Continue(()),
            TaskNote::Read(ReadNote::Done) => self.emit_reconnected().await,
            TaskNote::Read(ReadNote::Failed { why }) => {
                self.refresh_registry();
                self.emit_reconnecting(why).await
            }
            TaskNote::Read(ReadNote::Stale) => {
                self.refresh_registry();
                ControlFlow::Continue(())
            }
            TaskNote::Hub(HubNote::Up { log }) => self.handle_hub_up(log).await,
            TaskNote::Hub(HubNote::Down { why }) => {
                self.refresh_registry();
                self.emit_reconnecting(why).await
            }
            TaskNote::Hub(HubNote::Refused { why }) => {
                self.refresh_registry();
                self.emit_reconnecting(why).await
            }
        }
    }

    /// Multicast is received: messages come by it from now on.
    async fn handle_lane_up(&mut self) -> ControlFlow<()> {
        if let Some(hub) = self.state.hub.take() {
            hub.abort();
        }
        self.state.lane_change = None;
        let was = self.state.lane.send_replace(Lane::Multicast);
        self.emit_ready(Lane::Multicast).await?;
        if was != Lane::Multicast || std::mem::take(&mut self.state.long_by_history) {
            let (group, why) = (Arc::clone(&self.group), "multicast is heard".to_owned());
            self.emit(Event::LaneChanged { group, lane: Lane::Multicast, why }).await?;
        }
        self.emit_reconnected().await
    }

    /// Multicast is not received or is bad: messages come by the hub from now on, where that is allowed.
    async fn handle_lane_down(&mut self, why: String) -> ControlFlow<()> {
        match self.choice {
            LaneChoice::Auto => {
                // The group may have moved to another address.
                self.refresh_registry();
                if self.state.hub.is_none() {
                    self.state.lane_change = Some(why);
                    self.start_hub(None);
                }
                ControlFlow::Continue(())
            }
            LaneChoice::Multicast => {
                self.emit_ready(Lane::Multicast).await?;
                self.refresh_registry();
                self.emit_reconnecting(why).await
            }
            LaneChoice::Tcp => ControlFlow::Continue(()),
        }
    }

    async fn handle_hub_up(&mut self, log: LogId) -> ControlFlow<()> {
        // Multicast was back before the hub had taken over.
        if self.state.hub.is_none() {
            return ControlFlow::Continue(());
        }
        if log != self.group.log {
            let group = GroupInfo { log, ..(*self.group).clone() };
            self.change(group, self.relay).await;
            self.refresh_registry();
        }
        let was = self.state.lane.send_replace(Lane::Tcp);
        self.emit_ready(Lane::Tcp).await?;
        let why = self.state.lane_change.take();
        if was != Lane::Tcp
            && let Some(why) = why
        {
            let group = Arc::clone(&self.group);
            self.emit(Event::LaneChanged { group, lane: Lane::Tcp, why }).await?;
        }
        self.emit_reconnected().await
    }

    async fn handle_access(&mut self, access: GroupAccess) -> ControlFlow<()> {
        let relay = access.relay_datagram_addr().await;
        let group = access.group.clone();
        self.access.send_replace(access);
        // A relay that is not listed just now is most likely where it was.
        let relay = relay.or(self.relay);
        let moved = group.tag() != self.group.tag() || group.heard_at() != self.group.heard_at();
        if group.log != self.group.log || moved || relay != self.relay {
            self.change(group, relay).await;
        } else if group != *self.group {
            self.group = Arc::new(group);
        }
        ControlFlow::Continue(())
    }

    /// This machine's interfaces or addresses have changed.
    async fn handle_links(&mut self, links: Vec<Link>) -> ControlFlow<()> {
        if self.state.hears_multicast {
            self.port.command(EngineCommand::Links { slot: self.port.slot(), links }).await;
        }
        let context = Arc::clone(&self.context);
        self.state.tasks.spawn(async move {
            // It may be another network, where the server has another address.
            let _ = context.server.search_again().await;
        });
        self.refresh_registry();
        ControlFlow::Continue(())
    }

    /// Applies another log, address or relay of the group.
    async fn change(&mut self, group: GroupInfo, relay: Option<SocketAddrV4>) {
        let new_log = group.log != self.group.log;
        let main = match group.heard_at() {
            _ if !self.state.hears_multicast || group.heard_at() == self.group.heard_at() => MainSocket::Keep,
            Some(addr) => MainSocket::Open(addr.socket_addr(), self.state.links()),
            None => MainSocket::Close,
        };
        let (log, tag): (LogId, GroupTag) = (group.log, group.tag());
        self.access.send_modify(|access| access.group = group.clone());
        self.group = Arc::new(group);
        self.relay = relay;
        self.port.input(EngineInput::Change { log, tag, relay, next: Seq::FIRST, main }).await;
        if !new_log {
            return;
        }
        self.cursor.set(Seq::FIRST);
        if let Some(hub) = self.state.hub.take() {
            hub.abort();
            self.start_hub(None);
            return;
        }
        let access = self.access.borrow().clone();
        if let Ok(status) = access.log_status(&self.context.trust).await
            && status.log == log
        {
            self.port.input(EngineInput::Head { head: status.head }).await;
        }
    }

    fn start_hub(&mut self, session: Option<HubSession>) {
        let task = hub::run(
            session,
            Arc::clone(&self.context),
            self.access.subscribe(),
            Arc::clone(&self.cursor),
            self.port.clone(),
            self.state.notes.0.clone(),
            self.state.cookie,
        );
        self.state.hub = Some(self.state.tasks.spawn(task));
    }

    /// Asks the registry for the group's data because something in the network contradicts what is known of it.
    fn refresh_registry(&mut self) {
        let now = tokio::time::Instant::now();
        if self.state.last_refresh.is_some_and(|last| now.duration_since(last) < HINT_INTERVAL) {
            return;
        }
        self.state.last_refresh = Some(now);
        self.state.refresh.notify_one();
    }

    async fn emit_ready(&mut self, lane: Lane) -> ControlFlow<()> {
        if std::mem::replace(&mut self.state.ready, true) {
            return ControlFlow::Continue(());
        }
        let next_seq = self.cursor.next();
        self.emit(Event::Ready { group: Arc::clone(&self.group), next_seq, lane }).await
    }

    async fn emit_reconnecting(&mut self, why: String) -> ControlFlow<()> {
        if std::mem::replace(&mut self.state.reconnecting, true) {
            return ControlFlow::Continue(());
        }
        self.emit(Event::Reconnecting { group: Arc::clone(&self.group), why }).await
    }

    async fn emit_reconnected(&mut self) -> ControlFlow<()> {
        if !std::mem::replace(&mut self.state.reconnecting, false) {
            return ControlFlow::Continue(());
        }
        self.emit(Event::Reconnected { group: Arc::clone(&self.group) }).await
    }

    async fn emit_gone(&mut self, why: String) -> ControlFlow<()> {
        let _ = self.emit(Event::GroupGone { group: Arc::clone(&self.group), why }).await;
        ControlFlow::Break(())
    }

    async fn emit(&self, event: Event) -> ControlFlow<()> {
        if self.sink.send(event).await { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// Makes a message of a datagram of a text group; its seq and its author are unknown.
fn text_message(from: SocketAddrV4, text: Bytes) -> (Message, Content) {
    let content = Content { author_name: format!("udp:{from}"), kind: Kind::Text(text.clone()) };
    let message = Message {
        seq: Seq::ZERO,
        author: Author { device: DeviceId::NONE, client: ClientId::NONE },
        client_seq: ClientSeq(0),
        content_type: ContentType::Text,
        sent_at: SentAt(0),
        payload: text,
    };
    (message, content)
}

/// Describes for people why multicast does not carry messages.
fn describe(why: LaneTrouble) -> String {
    match why {
        LaneTrouble::NotHeard => "multicast is not heard here".to_owned(),
        LaneTrouble::HeartbeatLost => "multicast is not heard any more".to_owned(),
        LaneTrouble::Loss { percent } => format!("{percent} % of the multicast datagrams are lost"),
        LaneTrouble::TooLong { bytes } => format!(
            "multicast datagrams of some {bytes} bytes do not arrive and shorter ones do: a link on the way has a small MTU"
        ),
        LaneTrouble::Forged => "somebody on this network sends forged messages in the relay's name".to_owned(),
    }
}
