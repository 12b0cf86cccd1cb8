//! The sources of messages: a member's listener, a session over datagrams alone, or broadcasts, with the same events.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use gaung_client::{
    Client, ClientError, Device, Event, Lane, LaneChoice, ListenOptions, Listener, StartAt,
    broadcast::{BroadcastListener, BroadcastMessage},
    udp_only::{UdpOnlyEvent, UdpOnlyOptions, UdpOnlyPublisher, UdpOnlySession},
};
use gaung_proto::{DeviceId, GroupAddr, GroupId, GroupName, Seq, SeqRange, name::EVERYONE};
use gaung_terminal::{names::range as range_text, sanitise::one_line};

use crate::{context::Context, render::line::ReceivedMessage};

/// How long a session over datagrams alone waits for the first heartbeat of the relay, which sends one every second.
const FIRST_HEARTBEAT: Duration = Duration::from_secs(5);

/// An event of a source.
#[derive(Debug)]
pub(crate) enum SourceEvent {
    /// From here on every message is delivered.
    Ready {
        /// The group's name, or its address where no registry is used.
        group: String,
        /// The first seq that is delivered; 0 where it is unknown.
        from: Seq,
        /// The lane of its messages.
        lane: Lane,
    },
    /// A message.
    Message(Box<ReceivedMessage>),
    /// A notice for the person.
    Notice(String),
    /// A notice that messages are missing and requested, or have come.
    Repair(String),
    /// A group does not exist any more, and why.
    GroupGone(String),
}

/// A source of messages.
#[derive(Debug)]
pub(crate) enum Source {
    /// The listener of a member.
    Member(MemberSource),
    /// A session over datagrams alone.
    UdpOnly(UdpOnlySource),
    /// The broadcasts of `everyone`.
    Broadcast(BroadcastSource),
}

impl Source {
    /// Joins groups as a member.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(crate) async fn member(
        client: &Client,
        groups: Vec<GroupName>,
        lane: LaneChoice,
        from: StartAt,
    ) -> Result<Self, ClientError> {
        let listener = client.listen(ListenOptions { groups, lane, from }).await?;
        Ok(Self::Member(MemberSource { listener, away: HashSet::new(), read: HashMap::new() }))
    }

    /// Receives the broadcasts of `everyone`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(crate) async fn broadcast(client: &Client, port: u16) -> Result<Self, ClientError> {
        let everyone: GroupName = EVERYONE.parse().expect("a valid name");
        let group_id = client.group(&everyone).await?.id;
        let listener = client.broadcast_listener(Some(port)).await?;
        Ok(Self::Broadcast(BroadcastSource { listener, group_id, is_announced: false }))
    }

    /// Returns the next event; `None` once no group is left. Cancel safe.
    ///
    /// # Errors
    /// [`ClientError`] once a socket is unusable.
    pub(crate) async fn next(&mut self) -> Result<Option<SourceEvent>, ClientError> {
        match self {
            Self::Member(member) => Ok(member.next().await),
            Self::UdpOnly(session) => Ok(session.next().await),
            Self::Broadcast(broadcast) => broadcast.next().await.map(Some),
        }
    }

    /// Leaves the groups.
    pub(crate) async fn close(self) {
        match self {
            Self::Member(member) => member.listener.close().await,
            Self::UdpOnly(_) | Self::Broadcast(_) => {}
        }
    }
}

/// The listener of a member. It reports once that a group cannot be reached, and once that it can again.
#[derive(Debug)]
pub(crate) struct MemberSource {
    listener: Listener,
    away: HashSet<GroupId>,
    /// Whether each group is ready, and the seq up to which its log is read from the start, which counts as no gap.
    read: HashMap<GroupId, (bool, Seq)>,
}

impl MemberSource {
    async fn next(&mut self) -> Option<SourceEvent> {
        loop {
            let event = self.listener.next().await?;
            if let Some(event) = self.convert(event) {
                return Some(event);
            }
        }
    }

    fn convert(&mut self, event: Event) -> Option<SourceEvent> {
        let notice = match event {
            Event::Ready { group, next_seq, lane } => {
                self.read.entry(group.id).or_default().0 = true;
                return Some(SourceEvent::Ready { group: group.name.to_string(), from: next_seq, lane });
            }
            Event::Message { group, message, content, lane } => {
                let (name, group_id, log) = (group.name.to_string(), Some(group.id), Some(group.log));
                return Some(SourceEvent::Message(Box::new(ReceivedMessage {
                    group: name,
                    group_id,
                    message,
                    content,
                    lane,
                    log,
                    is_hidden: false,
                })));
            }
            Event::GroupGone { group, why } => {
                return Some(SourceEvent::GroupGone(format!("{} is gone: {}", group.name, one_line(&why))));
            }
            Event::Gap { group, range } => {
                let (ready, upto) = self.read.entry(group.id).or_default();
                if !*ready {
                    *upto = range.last.max(*upto);
                    return None;
                }
                return Some(SourceEvent::Repair(gap(group.name.as_str(), range)));
            }
            Event::GapFilled { group, range } => {
                let (_, upto) = self.read.get(&group.id).copied().unwrap_or_default();
                return (range.last > upto).then(|| SourceEvent::Repair(filled(group.name.as_str(), range)));
            }
            Event::Lost { group, range } => lost(group.name.as_str(), range, "the log does not have them any more"),
            Event::Forged { group, range } => forged(group.name.as_str(), range),
            Event::LaneChanged { group, lane, why } => {
                format!("{} now comes by {lane}: {}", group.name, one_line(&why))
            }
            Event::HistoryLost { group, .. } => history_lost(group.name.as_str()),
            Event::Reconnecting { group, why } => {
                if !self.away.insert(group.id) {
                    return None;
                }
                format!("{} cannot be reached, trying again: {}", group.name, one_line(&why))
            }
            Event::Reconnected { group } => {
                if !self.away.remove(&group.id) {
                    return None;
                }
                format!("{} is reached again", group.name)
            }
        };
        Some(SourceEvent::Notice(notice))
    }
}

/// A session over datagrams alone, whose group is named by its address.
#[derive(Debug)]
pub(crate) struct UdpOnlySource {
    session: UdpOnlySession,
    label: String,
    device: DeviceId,
    is_announced: bool,
}

impl UdpOnlySource {
    /// Joins the group at an address.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if its relay sends no heartbeat.
    pub(crate) async fn join(context: &Context, group: GroupAddr) -> anyhow::Result<Self> {
        let device = Device::load_or_create(&context.data_dir)?.id();
        let options = UdpOnlyOptions {
            group,
            iface: context.iface.clone(),
            name: Some(context.name.clone()),
            device,
            patience: FIRST_HEARTBEAT,
        };
        let session = UdpOnlySession::join(options).await?;
        Ok(Self { session, label: group.to_string(), device, is_announced: false })
    }

    /// Returns the device that it publishes as.
    pub(crate) const fn device(&self) -> DeviceId {
        self.device
    }

    /// Returns a publisher for its group.
    pub(crate) fn publisher(&self) -> UdpOnlyPublisher {
        self.session.publisher()
    }

    /// Returns the address of its group.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    async fn next(&mut self) -> Option<SourceEvent> {
        if !self.is_announced {
            self.is_announced = true;
            return Some(SourceEvent::Ready {
                group: self.label.clone(),
                from: self.session.next_seq(),
                lane: Lane::Multicast,
            });
        }
        let notice = match self.session.next().await? {
            UdpOnlyEvent::Message { message, content, lane } => {
                let (group, group_id, log) = (self.label.clone(), Some(self.session.group()), Some(self.session.log()));
                return Some(SourceEvent::Message(Box::new(ReceivedMessage {
                    group,
                    group_id,
                    message,
                    content,
                    lane,
                    log,
                    is_hidden: false,
                })));
            }
            UdpOnlyEvent::Gap(range) => return Some(SourceEvent::Repair(gap(&self.label, range))),
            UdpOnlyEvent::GapFilled(range) => return Some(SourceEvent::Repair(filled(&self.label, range))),
            UdpOnlyEvent::Lost(range) => {
                lost(&self.label, range, "not repaired in time, and datagrams alone read no log")
            }
            UdpOnlyEvent::Forged(range) => forged(&self.label, range),
            UdpOnlyEvent::HistoryLost(_) => history_lost(&self.label),
            UdpOnlyEvent::Silent => format!("nothing is heard from {}'s relay any more, waiting", self.label),
            UdpOnlyEvent::Moved(to) => format!("{} goes on at {to}", self.label),
            UdpOnlyEvent::Heard => format!("{}'s relay is heard again", self.label),
        };
        Some(SourceEvent::Notice(notice))
    }
}

/// The broadcasts of `everyone`.
#[derive(Debug)]
pub(crate) struct BroadcastSource {
    listener: BroadcastListener,
    group_id: GroupId,
    is_announced: bool,
}

impl BroadcastSource {
    async fn next(&mut self) -> Result<SourceEvent, ClientError> {
        if !self.is_announced {
            self.is_announced = true;
            return Ok(SourceEvent::Ready { group: EVERYONE.to_owned(), from: Seq::ZERO, lane: Lane::Broadcast });
        }
        let BroadcastMessage { message, content, log, .. } = self.listener.next().await?;
        let (group_id, lane) = (Some(self.group_id), Lane::Broadcast);
        let received =
            ReceivedMessage { group: EVERYONE.to_owned(), group_id, message, content, lane, log, is_hidden: false };
        Ok(SourceEvent::Message(Box::new(received)))
    }
}

fn gap(group: &str, range: SeqRange) -> String {
    format!("{group}: missing {}", range_text(range))
}

fn filled(group: &str, range: SeqRange) -> String {
    format!("{group}: filled {}", range_text(range))
}

fn lost(group: &str, range: SeqRange, why: &str) -> String {
    format!("{group}: lost {}: {why}", range_text(range))
}

fn forged(group: &str, range: SeqRange) -> String {
    format!(
        "{group}: messages shown as {} were forged by somebody on this network; what was really said follows",
        range_text(range)
    )
}

fn history_lost(group: &str) -> String {
    format!("{group}: its history is lost, the log starts again at 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_reported_in_one_line() {
        let range = |first, last| SeqRange { first: Seq(first), last: Seq(last) };
        assert_eq!(gap("lobby", range(17, 19)), "lobby: missing 17–19");
        assert_eq!(filled("lobby", range(17, 17)), "lobby: filled 17");
        assert_eq!(lost("lobby", range(17, 19), "too old"), "lobby: lost 17–19: too old");
    }
}
