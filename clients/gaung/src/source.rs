//! Where messages come from: a member's listener, a session over datagrams alone, or broadcasts; told alike.

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

use crate::{context::Context, render::line::Received};

/// How long a session over datagrams alone waits for the relay's first heartbeat; one comes every second.
const PATIENCE: Duration = Duration::from_secs(5);

/// What happens to a source.
#[derive(Debug)]
pub(crate) enum Heard {
    /// From here on everything comes.
    Ready {
        /// The group, as a person calls it.
        group: String,
        /// The first seq that comes; 0 where it is unknown.
        from: Seq,
        /// By which lane.
        lane: Lane,
    },
    /// A message.
    Message(Box<Received>),
    /// Something to tell the person.
    Told(String),
    /// Messages are missing and asked for, or have come: of interest to who watches.
    Repair(String),
    /// A group is no more; why stands in it.
    Gone(String),
}

/// A source of messages.
#[derive(Debug)]
pub(crate) enum Source {
    /// A member of groups.
    Member(Member),
    /// Datagrams alone.
    UdpOnly(UdpOnly),
    /// Broadcasts.
    Broadcast(Broadcast),
}

impl Source {
    /// Joins groups.
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
        Ok(Self::Member(Member { listener, away: HashSet::new(), read: HashMap::new() }))
    }

    /// Joins the group at an address by datagrams alone.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if nothing is heard of it.
    pub(crate) async fn udp_only(context: &Context, group: GroupAddr) -> anyhow::Result<Self> {
        let device = Device::load_or_create(&context.data_dir)?.id();
        let options = UdpOnlyOptions {
            group,
            iface: context.iface.clone(),
            name: Some(context.name.clone()),
            device,
            patience: PATIENCE,
        };
        let session = UdpOnlySession::join(options).await?;
        Ok(Self::UdpOnly(UdpOnly { session, label: group.to_string(), device, begun: false }))
    }

    /// Hears the broadcasts of `everyone`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(crate) async fn broadcast(client: &Client, port: u16) -> Result<Self, ClientError> {
        let everyone: GroupName = EVERYONE.parse().expect("a valid name");
        let group_id = client.group(&everyone).await?.id;
        let listener = client.broadcast_listener(Some(port)).await?;
        Ok(Self::Broadcast(Broadcast { listener, group_id, begun: false }))
    }

    /// What happens next; `None` once there is nothing more to hear. Cancel safe.
    ///
    /// # Errors
    /// [`ClientError`] once a socket is unusable.
    pub(crate) async fn next(&mut self) -> Result<Option<Heard>, ClientError> {
        match self {
            Self::Member(member) => Ok(member.next().await),
            Self::UdpOnly(session) => Ok(session.next().await),
            Self::Broadcast(broadcast) => broadcast.next().await.map(Some),
        }
    }

    /// Leaves.
    pub(crate) async fn close(self) {
        match self {
            Self::Member(member) => member.listener.close().await,
            Self::UdpOnly(_) | Self::Broadcast(_) => {}
        }
    }
}

/// A member's listener. Says once that a group is away, and once that it is back.
#[derive(Debug)]
pub(crate) struct Member {
    listener: Listener,
    away: HashSet<GroupId>,
    /// Groups that are not ready, or have been since: up to there the log is read as asked for, which is no gap.
    read: HashMap<GroupId, (bool, Seq)>,
}

impl Member {
    async fn next(&mut self) -> Option<Heard> {
        loop {
            let event = self.listener.next().await?;
            if let Some(heard) = self.heard(event) {
                return Some(heard);
            }
        }
    }

    fn heard(&mut self, event: Event) -> Option<Heard> {
        let told = match event {
            Event::Ready { group, next_seq, lane } => {
                self.read.entry(group.id).or_default().0 = true;
                return Some(Heard::Ready { group: group.name.to_string(), from: next_seq, lane });
            }
            Event::Message { group, message, content, lane } => {
                let (name, group_id) = (group.name.to_string(), Some(group.id));
                return Some(Heard::Message(Box::new(Received { group: name, group_id, message, content, lane })));
            }
            Event::GroupGone { group, why } => {
                return Some(Heard::Gone(format!("{} is gone: {}", group.name, one_line(&why))));
            }
            Event::Gap { group, range } => {
                let (ready, upto) = self.read.entry(group.id).or_default();
                if !*ready {
                    *upto = range.last.max(*upto);
                    return None;
                }
                return Some(Heard::Repair(gap(group.name.as_str(), range)));
            }
            Event::GapFilled { group, range } => {
                let (_, upto) = self.read.get(&group.id).copied().unwrap_or_default();
                return (range.last > upto).then(|| Heard::Repair(filled(group.name.as_str(), range)));
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
        Some(Heard::Told(told))
    }
}

/// A session over datagrams alone; its group is called by its address.
#[derive(Debug)]
pub(crate) struct UdpOnly {
    session: UdpOnlySession,
    label: String,
    device: DeviceId,
    begun: bool,
}

impl UdpOnly {
    /// The device that it publishes as.
    pub(crate) const fn device(&self) -> DeviceId {
        self.device
    }

    /// For publishing beside it.
    pub(crate) fn publisher(&self) -> UdpOnlyPublisher {
        self.session.publisher()
    }

    /// The group's address.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    async fn next(&mut self) -> Option<Heard> {
        if !self.begun {
            self.begun = true;
            return Some(Heard::Ready {
                group: self.label.clone(),
                from: self.session.next_seq(),
                lane: Lane::Multicast,
            });
        }
        let told = match self.session.next().await? {
            UdpOnlyEvent::Message { message, content, lane } => {
                let (group, group_id) = (self.label.clone(), Some(self.session.group()));
                return Some(Heard::Message(Box::new(Received { group, group_id, message, content, lane })));
            }
            UdpOnlyEvent::Gap(range) => return Some(Heard::Repair(gap(&self.label, range))),
            UdpOnlyEvent::GapFilled(range) => return Some(Heard::Repair(filled(&self.label, range))),
            UdpOnlyEvent::Lost(range) => {
                lost(&self.label, range, "not repaired in time, and datagrams alone read no log")
            }
            UdpOnlyEvent::Forged(range) => forged(&self.label, range),
            UdpOnlyEvent::HistoryLost(_) => history_lost(&self.label),
            UdpOnlyEvent::Silent => format!("nothing is heard from {}'s relay any more, waiting", self.label),
            UdpOnlyEvent::Moved(to) => format!("{} goes on at {to}", self.label),
            UdpOnlyEvent::Heard => format!("{}'s relay is heard again", self.label),
        };
        Some(Heard::Told(told))
    }
}

/// The broadcasts of `everyone`.
#[derive(Debug)]
pub(crate) struct Broadcast {
    listener: BroadcastListener,
    group_id: GroupId,
    begun: bool,
}

impl Broadcast {
    async fn next(&mut self) -> Result<Heard, ClientError> {
        if !self.begun {
            self.begun = true;
            return Ok(Heard::Ready { group: EVERYONE.to_owned(), from: Seq::ZERO, lane: Lane::Broadcast });
        }
        let BroadcastMessage { message, content, .. } = self.listener.next().await?;
        let group_id = Some(self.group_id);
        let received = Received { group: EVERYONE.to_owned(), group_id, message, content, lane: Lane::Broadcast };
        Ok(Heard::Message(Box::new(received)))
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
    fn a_gap_is_told_in_few_words() {
        let range = |first, last| SeqRange { first: Seq(first), last: Seq(last) };
        assert_eq!(gap("lobby", range(17, 19)), "lobby: missing 17–19");
        assert_eq!(filled("lobby", range(17, 17)), "lobby: filled 17");
        assert_eq!(lost("lobby", range(17, 19), "too old"), "lobby: lost 17–19: too old");
    }
}
