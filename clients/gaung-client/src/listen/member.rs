//! One group of a listener: its engine's events become the listener's, its lane follows what is heard.

use std::{
    net::{SocketAddr, SocketAddrV4},
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use gaung_engine::{LaneTrouble, ReceiverEvent};
use gaung_net::interface::{Link, LinkWatch};
use gaung_proto::{
    ClientId, ClientSeq, Content, ContentType, DeviceId, GroupTag, Kind, LogId, Seq,
    block::{Author, Message, SentAt},
    body::Cookie,
    net::Lane,
    pb::relay::relay_service_client::RelayServiceClient,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::{AbortHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::{
    Event, LaneChoice,
    cursor::Cursor,
    drive::{Command, FromEngine, Hear, Inlet, Input, Port},
    hub::{self, HubNote, Session},
    presence::Presence,
    reading::{self, ReadNote},
    sink::Sink,
};
use crate::{
    client::Inner,
    error::ClientError,
    group::{GroupInfo, LogStatus, ServiceKind},
    registry::{Joined, get_log, relay_of},
};

/// Between two questions to the registry because of a hint from the network.
const HINT_INTERVAL: Duration = Duration::from_secs(1);

/// What a group's other tasks tell it.
#[derive(Debug)]
pub(super) enum Note {
    Hub(HubNote),
    Read(ReadNote),
    Joined(Result<Box<Joined>, ClientError>),
}

/// A group being listened to.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) inner: Arc<Inner>,
    pub(super) sink: Sink,
    pub(super) stop: CancellationToken,
    pub(super) choice: LaneChoice,
    pub(super) joined: watch::Sender<Joined>,
    pub(super) group: Arc<GroupInfo>,
    pub(super) relay: Option<SocketAddrV4>,
    pub(super) inlet: Inlet,
    pub(super) port: Port,
    /// The next seq that the listener has not been given.
    pub(super) cursor: Arc<Cursor>,
    pub(super) state: State,
}

/// What changes while it runs.
#[derive(Debug)]
pub(super) struct State {
    notes: (mpsc::Sender<Note>, mpsc::Receiver<Note>),
    tasks: JoinSet<()>,
    hub: Option<AbortHandle>,
    /// What shows the relay that the session at a hub is the member that it heard by multicast.
    cookie: Cookie,
    lane: watch::Sender<Lane>,
    ready: bool,
    away: bool,
    /// Multicast alone is allowed, and what is long is read from the log.
    narrow: bool,
    /// Why the lane changes, until the new one stands.
    moving: Option<String>,
    hinted: Option<tokio::time::Instant>,
    hints: Arc<Notify>,
    watch: LinkWatch,
    /// Whether multicast is heard where there is any.
    listens: bool,
}

impl State {
    pub(super) fn new(lane: Lane, watch: LinkWatch, listens: bool) -> Self {
        Self {
            notes: mpsc::channel(16),
            tasks: JoinSet::new(),
            hub: None,
            cookie: Cookie::default(),
            lane: watch::Sender::new(lane),
            ready: false,
            away: false,
            narrow: false,
            moving: None,
            hinted: None,
            hints: Arc::default(),
            watch,
            listens,
        }
    }

    pub(super) const fn listens(&self) -> bool {
        self.listens
    }

    /// Where multicast can be heard now.
    pub(super) fn links(&self) -> Vec<Link> {
        self.watch.now().links
    }
}

impl Member {
    /// Runs until the listener stops or the group is gone, then leaves. `session`: open already, for the TCP lane.
    pub(super) async fn run(mut self, session: Option<Session>) {
        let ended = self.stop.child_token();
        let presence = Presence {
            inner: Arc::clone(&self.inner),
            place: self.joined.subscribe(),
            lane: self.state.lane.subscribe(),
            hints: Arc::clone(&self.state.hints),
            notes: self.state.notes.0.clone(),
            ended: ended.clone(),
        };
        let presence = tokio::spawn(presence.keep());
        if session.is_some() {
            self.start_hub(session);
        }
        while self.turn().await.is_continue() {}
        self.state.tasks.abort_all();
        self.port.remove();
        ended.cancel();
        // A panic there has been told by the runtime.
        let _ = presence.await;
    }

    /// The same for a group that is ready at once.
    pub(super) async fn run_ready(mut self) {
        if self.say_ready(Lane::Multicast).await.is_continue() {
            self.run(None).await;
        }
    }

    async fn turn(&mut self) -> ControlFlow<()> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => ControlFlow::Break(()),
            Some(note) = self.state.notes.1.recv() => self.handle_note(note).await,
            heard = self.inlet.next() => match heard {
                Some(heard) => self.handle_heard(heard).await,
                None => self.gone("its receiving thread has ended".to_owned()).await,
            },
            selection = self.state.watch.changed() => self.handle_links(selection.links).await,
            // Whatever has ended has told why before.
            Some(_) = self.state.tasks.join_next() => ControlFlow::Continue(()),
        }
    }

    async fn handle_heard(&mut self, heard: FromEngine) -> ControlFlow<()> {
        let group = Arc::clone(&self.group);
        match heard {
            FromEngine::Event(ReceiverEvent::Message { message, lane }) => {
                let carrying = *self.state.lane.borrow();
                self.say_ready(carrying).await?;
                let next = message.seq.next();
                let content = Content::decode(message.content_type, &message.payload);
                self.say(Event::Message { group, message, content, lane }).await?;
                self.cursor.set(next);
                ControlFlow::Continue(())
            }
            FromEngine::Event(ReceiverEvent::Gap(range)) => self.say(Event::Gap { group, range }).await,
            FromEngine::Event(ReceiverEvent::GapFilled(range)) => self.say(Event::GapFilled { group, range }).await,
            FromEngine::Event(ReceiverEvent::Lost(range)) => {
                self.cursor.advance(range.last.next());
                self.say(Event::Lost { group, range }).await
            }
            FromEngine::Event(ReceiverEvent::Forged(range)) => {
                self.cursor.set(range.first);
                self.say(Event::Forged { group, range }).await
            }
            FromEngine::Event(ReceiverEvent::NeedHistory(range)) => {
                let (joined, port, notes) =
                    (self.joined.borrow().clone(), self.port.clone(), self.state.notes.0.clone());
                let (inner, log) = (Arc::clone(&self.inner), group.log);
                self.state.tasks.spawn(async move {
                    let note = reading::read(inner, joined, log, range, port).await;
                    // Nobody asks any more once the listener has stopped.
                    let _ = notes.send(Note::Read(note)).await;
                });
                ControlFlow::Continue(())
            }
            FromEngine::Event(ReceiverEvent::LaneUp) => self.handle_lane_up().await,
            FromEngine::Event(ReceiverEvent::LaneDown { why: why @ LaneTrouble::TooLong { .. }, .. })
                if self.choice == LaneChoice::Multicast =>
            {
                self.state.narrow = true;
                self.say(Event::LaneChanged { group, lane: Lane::History, why: trouble(why) }).await
            }
            FromEngine::Event(ReceiverEvent::LaneDown { why, cookie }) => {
                self.state.cookie = cookie.unwrap_or_default();
                self.handle_lane_down(trouble(why)).await
            }
            FromEngine::Event(ReceiverEvent::Stale) => {
                self.ask_registry();
                ControlFlow::Continue(())
            }
            FromEngine::Event(ReceiverEvent::Moved { to, generation }) => {
                let group = GroupInfo { addr: to, generation, lapsed: false, ..(*self.group).clone() };
                self.joined.send_modify(|joined| joined.group = group.clone());
                self.group = Arc::new(group);
                // What it says counts: anybody can send a notice.
                self.ask_registry();
                ControlFlow::Continue(())
            }
            FromEngine::NoSocket(why) => self.handle_lane_down(why).await,
            FromEngine::Changed { old_log } => self.say(Event::HistoryLost { group, old_log }).await,
            FromEngine::Text { from, text } => {
                let (message, content) = text_message(from, text);
                self.say(Event::Message { group, message, content, lane: Lane::Multicast }).await
            }
        }
    }

    async fn handle_note(&mut self, note: Note) -> ControlFlow<()> {
        match note {
            Note::Joined(Ok(joined)) => self.handle_joined(*joined).await,
            Note::Joined(Err(error @ (ClientError::NotFound(_) | ClientError::NotAllowed(_)))) => {
                self.gone(error.to_string()).await
            }
            // Groups talk on without the registry.
            Note::Joined(Err(_)) => ControlFlow::Continue(()),
            Note::Read(ReadNote::Done) => self.back().await,
            Note::Read(ReadNote::Failed { why }) => {
                self.ask_registry();
                self.away(why).await
            }
            Note::Read(ReadNote::Stale) => {
                self.ask_registry();
                ControlFlow::Continue(())
            }
            Note::Hub(HubNote::Up { log }) => self.handle_hub_up(log).await,
            Note::Hub(HubNote::Down { why }) => {
                self.ask_registry();
                self.away(why).await
            }
            Note::Hub(HubNote::Refused { why }) => {
                self.ask_registry();
                self.away(why).await
            }
        }
    }

    /// Multicast is heard: it carries from here on.
    async fn handle_lane_up(&mut self) -> ControlFlow<()> {
        if let Some(hub) = self.state.hub.take() {
            hub.abort();
        }
        self.state.moving = None;
        let was = self.state.lane.send_replace(Lane::Multicast);
        self.say_ready(Lane::Multicast).await?;
        if was != Lane::Multicast || std::mem::take(&mut self.state.narrow) {
            let (group, why) = (Arc::clone(&self.group), "multicast is heard".to_owned());
            self.say(Event::LaneChanged { group, lane: Lane::Multicast, why }).await?;
        }
        self.back().await
    }

    /// Multicast is no good: the hub carries, where that is allowed.
    async fn handle_lane_down(&mut self, why: String) -> ControlFlow<()> {
        match self.choice {
            LaneChoice::Auto => {
                // The group may have moved to another address.
                self.ask_registry();
                if self.state.hub.is_none() {
                    self.state.moving = Some(why);
                    self.start_hub(None);
                }
                ControlFlow::Continue(())
            }
            LaneChoice::Multicast => {
                self.say_ready(Lane::Multicast).await?;
                self.ask_registry();
                self.away(why).await
            }
            LaneChoice::Tcp => ControlFlow::Continue(()),
        }
    }

    async fn handle_hub_up(&mut self, log: LogId) -> ControlFlow<()> {
        if self.state.hub.is_none() {
            return ControlFlow::Continue(());
        }
        if log != self.group.log {
            let group = GroupInfo { log, ..(*self.group).clone() };
            self.change(group, self.relay).await;
            self.ask_registry();
        }
        let was = self.state.lane.send_replace(Lane::Tcp);
        self.say_ready(Lane::Tcp).await?;
        let why = self.state.moving.take();
        if was != Lane::Tcp
            && let Some(why) = why
        {
            let group = Arc::clone(&self.group);
            self.say(Event::LaneChanged { group, lane: Lane::Tcp, why }).await?;
        }
        self.back().await
    }

    async fn handle_joined(&mut self, joined: Joined) -> ControlFlow<()> {
        let relay = relay_address(&joined).await;
        let group = joined.group.clone();
        self.joined.send_replace(joined);
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

    /// This machine's interfaces or addresses are others.
    async fn handle_links(&mut self, links: Vec<Link>) -> ControlFlow<()> {
        if self.state.listens {
            self.port.command(Command::Links { slot: self.port.slot(), links }).await;
        }
        let inner = Arc::clone(&self.inner);
        self.state.tasks.spawn(async move {
            // It may be another network, where the server has another address.
            let _ = inner.server.search_again().await;
        });
        self.ask_registry();
        ControlFlow::Continue(())
    }

    /// The group's log, address or relay is another one.
    async fn change(&mut self, group: GroupInfo, relay: Option<SocketAddrV4>) {
        let new_log = group.log != self.group.log;
        let hear = match group.heard_at() {
            _ if !self.state.listens || group.heard_at() == self.group.heard_at() => Hear::AsBefore,
            Some(addr) => Hear::At(addr.socket_addr(), self.state.links()),
            None => Hear::Nowhere,
        };
        let (log, tag): (LogId, GroupTag) = (group.log, group.tag());
        self.joined.send_modify(|joined| joined.group = group.clone());
        self.group = Arc::new(group);
        self.relay = relay;
        self.port.input(Input::Change { log, tag, relay, next: Seq::FIRST, hear }).await;
        if !new_log {
            return;
        }
        self.cursor.set(Seq::FIRST);
        if let Some(hub) = self.state.hub.take() {
            hub.abort();
            self.start_hub(None);
            return;
        }
        let joined = self.joined.borrow().clone();
        if let Ok(status) = log_status(&joined).await
            && status.log == log
        {
            self.port.input(Input::Head { head: status.head }).await;
        }
    }

    fn start_hub(&mut self, session: Option<Session>) {
        let task = hub::run(
            session,
            Arc::clone(&self.inner),
            self.joined.subscribe(),
            Arc::clone(&self.cursor),
            self.port.clone(),
            self.state.notes.0.clone(),
            self.state.cookie,
        );
        self.state.hub = Some(self.state.tasks.spawn(task));
    }

    /// Something in the network says that the registry knows more.
    fn ask_registry(&mut self) {
        let now = tokio::time::Instant::now();
        if self.state.hinted.is_some_and(|hinted| now.duration_since(hinted) < HINT_INTERVAL) {
            return;
        }
        self.state.hinted = Some(now);
        self.state.hints.notify_one();
    }

    async fn say_ready(&mut self, lane: Lane) -> ControlFlow<()> {
        if std::mem::replace(&mut self.state.ready, true) {
            return ControlFlow::Continue(());
        }
        let next_seq = self.cursor.next();
        self.say(Event::Ready { group: Arc::clone(&self.group), next_seq, lane }).await
    }

    async fn away(&mut self, why: String) -> ControlFlow<()> {
        if std::mem::replace(&mut self.state.away, true) {
            return ControlFlow::Continue(());
        }
        self.say(Event::Reconnecting { group: Arc::clone(&self.group), why }).await
    }

    async fn back(&mut self) -> ControlFlow<()> {
        if !std::mem::replace(&mut self.state.away, false) {
            return ControlFlow::Continue(());
        }
        self.say(Event::Reconnected { group: Arc::clone(&self.group) }).await
    }

    async fn gone(&mut self, why: String) -> ControlFlow<()> {
        let _ = self.say(Event::GroupGone { group: Arc::clone(&self.group), why }).await;
        ControlFlow::Break(())
    }

    async fn say(&self, event: Event) -> ControlFlow<()> {
        if self.sink.send(event).await { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// Where the relay of a group takes NAK, STATUS and PROBE.
pub(super) async fn relay_address(joined: &Joined) -> Option<SocketAddrV4> {
    let is_ours = |s: &&crate::group::ServiceInfo| s.kind == ServiceKind::Relay && s.id == joined.group.relay;
    let relay = joined.services.iter().find(is_ours).filter(|relay| relay.udp_port != 0)?;
    let mut found = tokio::net::lookup_host((relay.host.as_str(), relay.udp_port)).await.ok()?;
    found.find_map(|address| match address {
        SocketAddr::V4(address) => Some(address),
        SocketAddr::V6(_) => None,
    })
}

pub(super) async fn log_status(joined: &Joined) -> Result<LogStatus, ClientError> {
    let channel = relay_of(&joined.group, &joined.services)?.connect("relay").await?;
    get_log(RelayServiceClient::new(channel), joined.group.id, joined.ticket.clone()).await
}

/// A bare text heard by multicast: its place and its author are unknown.
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

fn trouble(why: LaneTrouble) -> String {
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
