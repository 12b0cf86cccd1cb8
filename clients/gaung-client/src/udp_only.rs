//! A member that uses datagrams alone, without registry and log. It knows a group's address and learns the rest from
//! the relay's heartbeats. Public groups of format `proto` only; a gap that repair cannot fill is lost.

mod drive;

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use gaung_engine::{DatagramOutcome, DatagramPublisher, ReceiverEvent};
use gaung_net::{
    driver::{CommandSender, Driver, DriverHandle, DriverSockets, SocketUse},
    interface::{Link, LinkWatch, data_body},
    multicast::{DataSocket, GroupSocket},
};
use gaung_proto::{
    Content, DeviceId, DisplayName, GroupAddr, GroupId, LogId, Seq, SeqRange, block::Message, body::PublishOutcome,
    limits::MAX_DATA_BODY, net::Lane,
};
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};

use self::drive::{OWN_SOCKET, PublishRequest, SessionCommand, SessionDrive, SessionEvent};
use crate::{
    error::ClientError,
    event_queue::{self, EventReceiver},
    group_sockets::GroupSockets,
    interfaces,
    publish::PublishError,
};

/// How to join a session.
#[derive(Debug, Clone)]
pub struct UdpOnlyOptions {
    /// The group's address and port.
    pub group: GroupAddr,
    /// The interface, by name or IPv4 address; `None`: every one that is fit for multicast.
    pub iface: Option<String>,
    /// Shown beside what is published.
    pub name: Option<DisplayName>,
    /// The device that publishes; [`DeviceId::NONE`] for none.
    pub device: DeviceId,
    /// How long to wait for the group's first heartbeat; 5 s is good, they come once a second, and every 2 s where nobody listens.
    pub patience: Duration,
}

/// An event of a session.
#[derive(Debug, Clone)]
pub enum UdpOnlyEvent {
    /// A message, in seq order, once.
    Message {
        /// The message with its place.
        message: Message,
        /// Its payload, read.
        content: Content,
        /// Always [`Lane::Multicast`].
        lane: Lane,
    },
    /// Messages are missing and have been requested.
    Gap(SeqRange),
    /// These messages were missing and have come.
    GapFilled(SeqRange),
    /// These messages cannot be had, and were skipped.
    Lost(SeqRange),
    /// These delivered messages, or some of them, were forged: the log has others, or none yet. Its messages from the
    /// first of them on come next.
    Forged(SeqRange),
    /// The log was replaced; seqs start again at 1.
    HistoryLost(LogId),
    /// No datagram of the relay has come for some time.
    Silent,
    /// Datagrams of the relay come again.
    Heard,
    /// The group has this address now.
    Moved(GroupAddr),
}

/// A running session; dropping it leaves the group.
#[derive(Debug)]
pub struct UdpOnlySession {
    group: GroupId,
    log: LogId,
    next_seq: Seq,
    events: EventReceiver<SessionEvent>,
    publisher: UdpOnlyPublisher,
    begun: bool,
    driver: DriverHandle<SessionCommand>,
}

/// Limits the messages that wait to be published.
const PUBLISH_REQUESTS: usize = 64;
/// How long a message is sent again; far less than the 24 h for which relays remember what they have logged.
const GIVE_UP_AFTER: Duration = Duration::from_secs(3600);

impl UdpOnlySession {
    /// Joins, and waits for the first heartbeat.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if none is heard in time, [`ClientError::Usage`] for a bad interface.
    pub async fn join(options: UdpOnlyOptions) -> Result<Self, ClientError> {
        let failed = |error: &dyn std::fmt::Display| ClientError::Failed(error.to_string());
        let watch = interfaces::watch(options.iface.as_deref())?;
        let links = watch.now().links;
        let max_payload = Arc::new(AtomicUsize::new(max_payload(&links)));
        let own = DataSocket::open_unicast(0).map_err(|error| failed(&error))?;
        let group = GroupSocket::open(options.group.socket_addr(), &links).map_err(|error| failed(&error))?;
        let usage = SocketUse { receive: true, multicast: false };
        let group_sockets = GroupSockets::opened(0, options.group.socket_addr(), links);
        let sockets = DriverSockets::new().data(OWN_SOCKET, own, usage).group(group_sockets.main(), group);
        let (out, mut events) = event_queue::channel();
        let drive = SessionDrive::new(options.device, group_sockets, GIVE_UP_AFTER, out);
        let driver = Driver::spawn("gaung-udp-only", sockets, drive).map_err(|error| failed(&error))?;
        tokio::spawn(follow(watch, driver.sender(), Arc::clone(&max_payload), driver.ended()));
        let first = timeout(options.patience, events.next(|| {}));
        let Ok(Some(SessionEvent::Group { group, log, next })) = first.await else {
            return Err(ClientError::Unreachable(format!(
                "nothing is heard from a relay at {}; check the address and the interface, or join by the server: \
                 private groups and groups of format text cannot be joined by datagrams alone",
                options.group
            )));
        };
        let author_name = options.name.as_ref().map_or("anonymous", DisplayName::as_str).into();
        let room = Arc::new(Semaphore::new(PUBLISH_REQUESTS));
        let publisher = UdpOnlyPublisher { commands: driver.sender(), room, author_name, max_payload };
        Ok(Self { group, log, next_seq: next, events, publisher, begun: false, driver })
    }

    /// The group's id, as its heartbeat says.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        self.group
    }

    /// The group's log.
    #[must_use]
    pub const fn log(&self) -> LogId {
        self.log
    }

    /// The first seq that comes.
    #[must_use]
    pub const fn next_seq(&self) -> Seq {
        self.next_seq
    }

    /// The next event; `None` once the sockets are unusable. Cancel safe.
    pub async fn next(&mut self) -> Option<UdpOnlyEvent> {
        loop {
            let driver = &self.driver;
            // A full command queue means that the thread is about to run anyway.
            let event = self.events.next(|| drop(driver.send(SessionCommand::Drain))).await?;
            if let Some(event) = self.event(event) {
                return Some(event);
            }
        }
    }

    /// For publishing from elsewhere while this one is read.
    #[must_use]
    pub fn publisher(&self) -> UdpOnlyPublisher {
        self.publisher.clone()
    }

    fn event(&mut self, event: SessionEvent) -> Option<UdpOnlyEvent> {
        let event = match event {
            SessionEvent::Group { .. } => return None,
            SessionEvent::Changed { log } => {
                self.log = log;
                return Some(UdpOnlyEvent::HistoryLost(log));
            }
            SessionEvent::Receiver(event) => event,
        };
        Some(match event {
            ReceiverEvent::Message { message, lane } => {
                let content = Content::decode(message.content_type, &message.payload);
                UdpOnlyEvent::Message { message, content, lane }
            }
            ReceiverEvent::Gap(range) => UdpOnlyEvent::Gap(range),
            ReceiverEvent::GapFilled(range) => UdpOnlyEvent::GapFilled(range),
            ReceiverEvent::Lost(range) => UdpOnlyEvent::Lost(range),
            ReceiverEvent::Forged(range) => UdpOnlyEvent::Forged(range),
            ReceiverEvent::LaneDown { .. } => UdpOnlyEvent::Silent,
            // The first one is the heartbeat that the session began with.
            ReceiverEvent::LaneUp if !std::mem::replace(&mut self.begun, true) => return None,
            ReceiverEvent::LaneUp => UdpOnlyEvent::Heard,
            ReceiverEvent::Moved { to, .. } => UdpOnlyEvent::Moved(to),
            ReceiverEvent::NeedHistory(_) | ReceiverEvent::Stale => return None,
        })
    }
}

/// Hands the interfaces to the session as they change, until it ends.
async fn follow(
    mut watch: LinkWatch,
    commands: CommandSender<SessionCommand>,
    longest: Arc<AtomicUsize>,
    ended: impl Future<Output = ()>,
) {
    let mut ended = pin!(ended);
    loop {
        let selection = tokio::select! {
            () = &mut ended => return,
            selection = watch.changed() => selection,
        };
        longest.store(max_payload(&selection.links), Ordering::Relaxed);
        if commands.send_wait(SessionCommand::Links(selection.links)).await.is_err() {
            return;
        }
    }
}

/// The longest message that leaves by each of the links: a PUBLISH datagram is not fragmented.
fn max_payload(links: &[Link]) -> usize {
    data_body(links) - (MAX_DATA_BODY - UdpOnlyPublisher::MAX_PAYLOAD)
}

/// Publishes one message after the other, each in one datagram.
#[derive(Debug, Clone)]
pub struct UdpOnlyPublisher {
    commands: CommandSender<SessionCommand>,
    room: Arc<Semaphore>,
    author_name: Arc<str>,
    max_payload: Arc<AtomicUsize>,
}

impl UdpOnlyPublisher {
    /// Largest encoded message: what one datagram holds beside its author. Less where the MTU is small.
    pub const MAX_PAYLOAD: usize = DatagramPublisher::MAX_PAYLOAD;

    /// Sends until the relay acknowledges; gives the seq. An empty author name is replaced by the session's.
    ///
    /// # Errors
    /// [`PublishError`]; a message over [`Self::MAX_PAYLOAD`] encoded bytes, or over what the links carry, is [`PublishError::TooLarge`].
    pub async fn publish(&self, mut content: Content) -> Result<Seq, PublishError> {
        if content.author_name.is_empty() {
            self.author_name.as_ref().clone_into(&mut content.author_name);
        }
        let (content_type, payload) = content.encode();
        let max = self.max_payload.load(Ordering::Relaxed);
        if payload.len() > max {
            return Err(PublishError::TooLarge { len: payload.len(), max });
        }
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| PublishError::Closed)?;
        let (reply, outcome) = oneshot::channel();
        let request = PublishRequest { content_type, payload, reply, _room: room };
        self.commands.send_wait(SessionCommand::Publish(request)).await.map_err(|_| PublishError::Closed)?;
        match outcome.await.map_err(|_| PublishError::Closed)? {
            DatagramOutcome::Logged(seq) => Ok(seq),
            DatagramOutcome::GaveUp => Err(PublishError::GaveUp {
                after: GIVE_UP_AFTER,
                reason: "the relay does not acknowledge datagrams".to_owned(),
            }),
            DatagramOutcome::Refused(why) => Err(refused(why)),
        }
    }
}

fn refused(why: PublishOutcome) -> PublishError {
    match why {
        PublishOutcome::NotFound => PublishError::NotFound("the group is no more".to_owned()),
        PublishOutcome::Refused => PublishError::NotAllowed(
            "the relay refuses the group's datagrams: it is private, or its log has to be reset".to_owned(),
        ),
        PublishOutcome::OutOfWindow => {
            PublishError::Refused("the relay has heard later messages of this session; start it again".to_owned())
        }
        PublishOutcome::Logged
        | PublishOutcome::NeedsCookie
        | PublishOutcome::Unavailable
        | PublishOutcome::OtherPublisher => PublishError::Refused("the relay did not take the message".to_owned()),
    }
}
