//! Listening: one ordered stream of events for several groups.

mod cursor;
mod drive;
mod hub;
pub(crate) mod hub_choice;
mod member;
mod presence;
mod reading;
mod sink;
#[cfg(test)]
pub(crate) mod test_doubles;

use std::{net::SocketAddrV4, sync::Arc, time::Duration};

use gaung_engine::{LanePolicy, ReceiverConfig};
use gaung_net::{
    SocketError,
    driver::{Driver, DriverHandle, DriverSockets, SocketUse},
    interface::LinkWatch,
    multicast::{DataSocket, GroupSocket},
};
use gaung_proto::{Content, GroupName, LogId, Seq, SeqRange, block::Message, net::Lane};
use rand::Rng as _;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use self::{
    cursor::Cursor,
    drive::{Command, Input, Members, NewEngine, OWN_SOCKET},
    member::{Member, State, log_status, relay_address},
    sink::{Queued, Sink},
};
use crate::{
    client::{Client, Inner},
    error::ClientError,
    group::{Format, GroupInfo},
    interfaces,
    registry::{By, Joined},
};

/// Which lane may bring the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LaneChoice {
    /// Multicast where it is heard, else the hub; moves between them by itself.
    #[default]
    Auto,
    /// Multicast alone; gaps that multicast cannot repair are read from the log.
    Multicast,
    /// The hub alone.
    Tcp,
}

/// The first message that a listener is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StartAt {
    /// The oldest message that is kept.
    Oldest,
    /// The next message to be logged.
    #[default]
    Next,
    /// The message with this seq; of what follows, messages that are no longer kept are reported as [`Event::Lost`].
    Seq(Seq),
}

/// What to listen to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenOptions {
    /// One or more groups.
    pub groups: Vec<GroupName>,
    /// By which lane.
    pub lane: LaneChoice,
    /// From where, in each of them.
    pub from: StartAt,
}

/// What happens to a listener. Within a group, messages come in seq order, each once.
#[derive(Debug, Clone)]
pub enum Event {
    /// The group is being listened to; everything from `next_seq` on will come. Once per group.
    Ready {
        /// Which group.
        group: Arc<GroupInfo>,
        /// The first seq that will come.
        next_seq: Seq,
        /// By which lane.
        lane: Lane,
    },
    /// A message. In text groups heard by multicast its seq is 0: unknown.
    Message {
        /// Which group.
        group: Arc<GroupInfo>,
        /// The message with its place.
        message: Message,
        /// Its payload, read.
        content: Content,
        /// How it came.
        lane: Lane,
    },
    /// Messages are missing and have been asked for.
    Gap {
        /// Which group.
        group: Arc<GroupInfo>,
        /// Which messages.
        range: SeqRange,
    },
    /// They have come.
    GapFilled {
        /// Which group.
        group: Arc<GroupInfo>,
        /// Which messages.
        range: SeqRange,
    },
    /// They cannot be had any more, and were skipped.
    Lost {
        /// Which group.
        group: Arc<GroupInfo>,
        /// Which messages.
        range: SeqRange,
    },
    /// These, which were delivered, were forged, or some of them: the log has other messages, or none yet. What it has from
    /// the first of them on comes next, also what was true before.
    Forged {
        /// Which group.
        group: Arc<GroupInfo>,
        /// Which messages.
        range: SeqRange,
    },
    /// Messages come by another lane from here on; by [`Lane::History`] those that multicast does not bring, where it alone is
    /// allowed.
    LaneChanged {
        /// Which group.
        group: Arc<GroupInfo>,
        /// By which lane now.
        lane: Lane,
        /// Why, for people.
        why: String,
    },
    /// The group's log was replaced; seqs start again at 1.
    HistoryLost {
        /// Which group, as it is now.
        group: Arc<GroupInfo>,
        /// The log that is no more.
        old_log: LogId,
    },
    /// A server was lost; it is being sought, for ever.
    Reconnecting {
        /// Which group.
        group: Arc<GroupInfo>,
        /// Why, for people.
        why: String,
    },
    /// It was found again; nothing is missing.
    Reconnected {
        /// Which group.
        group: Arc<GroupInfo>,
    },
    /// The group is no more, or this device may not read it any more. Nothing follows for it.
    GroupGone {
        /// Which group.
        group: Arc<GroupInfo>,
        /// Why, for people.
        why: String,
    },
}

/// The stream of events. Dropping it leaves the groups.
#[derive(Debug)]
pub struct Listener {
    events: mpsc::Receiver<Queued>,
    members: TaskTracker,
    stop: CancellationToken,
    /// Drives the engines for as long as the listener is.
    driver: DriverHandle<Command>,
}

impl Listener {
    /// The next event; `None` once every group is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await.map(|queued| queued.event)
    }

    /// Leaves the groups and waits until the registry knows, at most 2 s.
    pub async fn close(self) {
        self.stop.cancel();
        self.members.close();
        // Whoever does not answer must not hold a person up.
        let _ = timeout(CLOSING, self.members.wait()).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

const CLOSING: Duration = Duration::from_secs(2);
/// More are not useful to one person, and each costs a membership.
const MAX_GROUPS: usize = 256;

pub(crate) async fn start(client: &Client, options: ListenOptions) -> Result<Listener, ClientError> {
    if options.groups.is_empty() || options.groups.len() > MAX_GROUPS {
        return Err(ClientError::Usage(format!("give 1 to {MAX_GROUPS} groups to listen to")));
    }
    let own = DataSocket::open_unicast(0).map_err(|error| ClientError::Failed(error.to_string()))?;
    let sockets = DriverSockets::new().data(OWN_SOCKET, own, SocketUse { receive: true, multicast: false });
    let driver = Driver::spawn("gaung-listen", sockets, Members::default())
        .map_err(|error| ClientError::Failed(format!("cannot start the receiving thread: {error}")))?;
    let stop = CancellationToken::new();
    let (sink, events) = sink::channel(stop.clone());
    let members = TaskTracker::new();
    let watch = interfaces::watch(client.inner.settings.iface.as_deref())?;
    let listener = Listener { events, members, stop, driver };
    for (slot, name) in (0..).zip(&options.groups) {
        let door = Door { inner: &client.inner, sink: &sink, listener: &listener, watch: &watch, slot };
        // Whoever stands inside already leaves when the listener is dropped.
        door.enter(name, options.lane, options.from).await?;
    }
    Ok(listener)
}

/// What a group needs to enter a listener.
struct Door<'a> {
    inner: &'a Arc<Inner>,
    sink: &'a Sink,
    listener: &'a Listener,
    watch: &'a LinkWatch,
    slot: u32,
}

impl Door<'_> {
    async fn enter(&self, name: &GroupName, lane: LaneChoice, from: StartAt) -> Result<(), ClientError> {
        let joined = self.inner.join(&By::Name(name.clone()), Some(&Lane::Tcp.to_string())).await?;
        let without_address = joined.group.lapsed && !joined.group.private;
        match (lane, joined.group.private, joined.group.format) {
            (LaneChoice::Multicast, false, _) if without_address => Err(ClientError::Unreachable(format!(
                "{name} has no multicast address: its relay was away for a day, and gets one when it is back; wait, or \
                 use --lane tcp"
            ))),
            (LaneChoice::Auto, false, Format::Proto) if without_address => {
                // It may get one while it is listened to.
                self.by_hub(joined, from, true).await
            }
            (LaneChoice::Multicast, true, _) => Err(ClientError::Usage(format!(
                "{name} is private and carried by TCP alone; leave --lane out or use --lane tcp"
            ))),
            (LaneChoice::Multicast, false, Format::Text) => self.by_text(joined).await,
            (LaneChoice::Auto | LaneChoice::Tcp, _, Format::Text)
            | (LaneChoice::Auto | LaneChoice::Tcp, true, Format::Proto)
            | (LaneChoice::Tcp, false, Format::Proto) => self.by_hub(joined, from, false).await,
            (LaneChoice::Auto | LaneChoice::Multicast, false, Format::Proto) => {
                self.by_multicast(joined, lane, from).await
            }
        }
    }

    async fn by_multicast(&self, mut joined: Joined, lane: LaneChoice, from: StartAt) -> Result<(), ClientError> {
        let auto = lane == LaneChoice::Auto;
        match self.try_joining(&joined) {
            Ok(()) => {}
            Err(ClientError::Failed(why)) if auto => {
                debug!(why, "no multicast here for now");
                return self.by_hub(joined, from, true).await;
            }
            Err(error) => return Err(error),
        }
        let status = match log_status(&joined).await {
            Ok(status) => status,
            Err(ClientError::Unreachable(_)) if auto => return self.by_hub(joined, from, true).await,
            Err(error) => return Err(error),
        };
        joined.group.log = status.log;
        let next = match from {
            StartAt::Oldest => status.oldest.max(Seq::FIRST),
            StartAt::Next => status.head.next(),
            StartAt::Seq(seq) => seq.max(Seq::FIRST),
        };
        let policy = if auto { LanePolicy::Auto } else { LanePolicy::MulticastOnly };
        let relay = relay_address(&joined).await;
        let engine = NewEngine::Proto(Box::new(self.config(&joined, next, relay, policy)));
        let state = State::new(Lane::Multicast, self.watch.clone(), true);
        let member = self.member(joined, lane, relay, next, state, engine).await?;
        if next < status.oldest {
            member.port.input(Input::Trimmed { oldest: status.oldest }).await;
        }
        if next <= status.head {
            member.port.input(Input::Head { head: status.head }).await;
        }
        self.listener.members.spawn(member.run(None));
        Ok(())
    }

    /// `listens`: whether to hear multicast all the same, to move there when it comes; not for groups that have none.
    async fn by_hub(&self, mut joined: Joined, from: StartAt, listens: bool) -> Result<(), ClientError> {
        let wanted = match from {
            StartAt::Oldest => Seq::FIRST,
            StartAt::Next => Seq::ZERO,
            StartAt::Seq(seq) => seq.max(Seq::FIRST),
        };
        let session = hub::open(self.inner, &joined, wanted).await?;
        joined.group.log = session.log;
        let next = session.next.max(wanted);
        let (choice, policy) = match listens {
            true => (LaneChoice::Auto, LanePolicy::Auto),
            false => (LaneChoice::Tcp, LanePolicy::TcpOnly),
        };
        let relay = if listens { relay_address(&joined).await } else { None };
        let engine = NewEngine::Proto(Box::new(self.config(&joined, next, relay, policy)));
        let state = State::new(Lane::Tcp, self.watch.clone(), listens);
        let member = self.member(joined, choice, relay, next, state, engine).await?;
        self.listener.members.spawn(member.run(Some(session)));
        Ok(())
    }

    /// A text group by multicast: no seq, no repair, nothing but what arrives.
    async fn by_text(&self, joined: Joined) -> Result<(), ClientError> {
        self.try_joining(&joined)?;
        let state = State::new(Lane::Multicast, self.watch.clone(), true);
        let member = self.member(joined, LaneChoice::Multicast, None, Seq::ZERO, state, NewEngine::Text).await?;
        self.listener.members.spawn(member.run_ready());
        Ok(())
    }

    /// That the group can be heard now is tried, so that whoever asks learns at once.
    fn try_joining(&self, joined: &Joined) -> Result<(), ClientError> {
        match GroupSocket::open(joined.group.addr.socket_addr(), &self.watch.now().links) {
            Ok(_) => Ok(()),
            Err(SocketError::NoInterface) => Err(ClientError::Failed(format!(
                "cannot hear {}: {}",
                joined.group.name,
                interfaces::why_none(self.watch)
            ))),
            Err(error) => Err(ClientError::Failed(format!("cannot hear {}: {error}", joined.group.name))),
        }
    }

    async fn member(
        &self,
        joined: Joined,
        choice: LaneChoice,
        relay: Option<SocketAddrV4>,
        next: Seq,
        state: State,
        engine: NewEngine,
    ) -> Result<Member, ClientError> {
        let heard_at = joined.group.heard_at().filter(|_| state.listens());
        let hear = heard_at.map(|addr| (addr.socket_addr(), state.links()));
        let (out, inlet, port) = drive::connect(self.slot, self.listener.driver.sender());
        if !port.command(Command::Add { slot: port.slot(), engine, hear, out }).await {
            return Err(ClientError::Failed("the receiving thread has ended".to_owned()));
        }
        let group = Arc::new(joined.group.clone());
        Ok(Member {
            inner: Arc::clone(self.inner),
            sink: self.sink.clone(),
            stop: self.listener.stop.clone(),
            choice,
            joined: watch::Sender::new(joined),
            group,
            relay,
            inlet,
            port,
            cursor: Arc::new(Cursor::new(next)),
            state,
        })
    }

    fn config(&self, joined: &Joined, next: Seq, relay: Option<SocketAddrV4>, policy: LanePolicy) -> ReceiverConfig {
        ReceiverConfig {
            group: joined.group.id,
            log: joined.group.log,
            tag: joined.group.tag(),
            next,
            sender: self.inner.client_id.into(),
            device: self.inner.device.id(),
            relay,
            policy,
            history: true,
            rng_seed: rand::rng().random(),
        }
    }
}
