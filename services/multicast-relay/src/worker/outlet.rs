//! Sends a group's durable messages by multicast: as the protocol's datagrams, as bare text, or not at all.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::Instant,
};

use bytes::BytesMut;
use gaung_engine::{
    Destination, Members, RelaySender, ReportingHub, SenderConfig, SenderEvent, SenderStats, SessionReport, Transmit,
};
use gaung_proto::{
    ClientId, Content, Epoch, Generation, GroupAddr, GroupTag, Pkt, Seq,
    body::Puback,
    datagram::{Fragment, Header, PacketType},
    limits::MAX_TEXT_DATAGRAM,
    run::Run,
};

use crate::{
    group::{GroupConfig, GroupLane},
    metrics::RelayFigures,
};

/// Sends one group's durable messages.
#[derive(Debug)]
pub(super) enum GroupOutlet {
    /// Sends the protocol's datagrams and repairs them.
    Proto { sender: Box<RelaySender>, counted: SenderStats },
    /// Sends bare text, or nothing.
    Bare(BareOutlet),
}

/// The outlet of a text group, or of a group without multicast, which sends PUBACKs alone.
#[derive(Debug)]
pub(super) struct BareOutlet {
    lane: GroupLane,
    to: SocketAddrV4,
    ttl: u8,
    tag: GroupTag,
    epoch: Epoch,
    /// Author of datagrams that came from the group's address itself, so that everyone has received them already.
    strangers: ClientId,
    next_pkt: u32,
    waiting: Vec<Transmit>,
    head: Seq,
    /// The sessions that hubs report; members of bare text send no STATUS.
    members: Members,
}

impl GroupOutlet {
    pub(super) fn new(config: &GroupConfig, sender: SenderConfig, strangers: ClientId, now: Instant) -> Self {
        match config.lane {
            GroupLane::Proto => {
                let mut sender = Box::new(RelaySender::new(sender, now));
                if config.lapsed {
                    sender.handle_lapse(now);
                }
                Self::Proto { sender, counted: SenderStats::default() }
            }
            GroupLane::Text | GroupLane::Closed => Self::Bare(BareOutlet {
                lane: config.lane,
                to: config.addr.socket_addr(),
                ttl: config.ttl,
                tag: config.tag(),
                epoch: sender.epoch,
                strangers,
                next_pkt: Pkt::FIRST_OTHER.0,
                waiting: Vec::new(),
                head: sender.head,
                members: Members::default(),
            }),
        }
    }

    /// Sets the longest DATA body, see [`RelaySender::set_data_body`]. A bare text is one datagram whatever its length.
    pub(super) fn set_data_body(&mut self, bytes: usize) {
        match self {
            Self::Proto { sender, .. } => sender.set_data_body(bytes),
            Self::Bare(_) => {}
        }
    }

    /// Continues at another address, or without one.
    pub(super) fn handle_move(&mut self, now: Instant, to: Option<(GroupAddr, u8, Generation)>) {
        match (self, to) {
            (Self::Proto { sender, .. }, Some((addr, ttl, generation))) => {
                sender.handle_move(now, addr, ttl, generation)
            }
            (Self::Proto { sender, .. }, None) => sender.handle_lapse(now),
            // The keeper opens such a group again instead.
            (Self::Bare(_), _) => {}
        }
    }

    pub(super) fn handle_run(&mut self, now: Instant, run: &Run) {
        match self {
            Self::Proto { sender, .. } => sender.handle_run(now, run),
            Self::Bare(bare) => bare.handle_run(now, run),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Proto { sender, .. } => sender.handle_timeout(now),
            Self::Bare(bare) => drop(bare.members.expire(now, bare.head)),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Proto { sender, .. } => Some(sender.poll_timeout().0),
            Self::Bare(bare) => bare.members.next_expiry(),
        }
    }

    /// Tells the sender how many groups share this worker.
    pub(super) fn set_groups(&mut self, groups: usize) {
        match self {
            Self::Proto { sender, .. } => sender.set_groups(groups),
            Self::Bare(_) => {}
        }
    }

    pub(super) fn set_oldest_logged(&mut self, oldest: Seq) {
        match self {
            Self::Proto { sender, .. } => sender.set_oldest_logged(oldest),
            Self::Bare(_) => {}
        }
    }

    /// Takes a hub's report of its sessions; an empty one renews all sessions that it reported before.
    pub(super) fn handle_sessions(&mut self, now: Instant, reporter: ReportingHub, sessions: &[SessionReport]) {
        match self {
            Self::Proto { sender, .. } => sender.handle_sessions(now, reporter, sessions),
            Self::Bare(BareOutlet { members, head, .. }) => {
                members.renew(now, *head, reporter);
                for session in sessions {
                    members.handle_session(now, *head, reporter, session);
                }
            }
        }
    }

    pub(super) const fn audience(&self) -> &Members {
        match self {
            Self::Proto { sender, .. } => sender.audience(),
            Self::Bare(bare) => &bare.members,
        }
    }

    pub(super) const fn audience_mut(&mut self) -> &mut Members {
        match self {
            Self::Proto { sender, .. } => sender.audience_mut(),
            Self::Bare(bare) => &mut bare.members,
        }
    }

    pub(super) fn send_puback(
        &mut self,
        now: Instant,
        peer: SocketAddrV4,
        own: Option<Ipv4Addr>,
        seq: Seq,
        puback: &Puback,
    ) {
        match self {
            Self::Proto { sender, .. } => sender.send_puback(now, peer, own, seq, puback),
            Self::Bare(bare) => bare.send_puback(peer, own, seq, puback),
        }
    }

    /// Returns the sender's counters as of the last flush.
    pub(super) fn sent(&self) -> SenderStats {
        match self {
            Self::Proto { counted, .. } => *counted,
            Self::Bare(_) => SenderStats::default(),
        }
    }

    /// Passes all datagrams that are due to `send`; returns true if the epoch's datagram numbers are used up.
    pub(super) fn flush(&mut self, now: Instant, figures: &RelayFigures, send: impl FnMut(Transmit)) -> bool {
        match self {
            Self::Proto { sender, counted } => {
                sender.flush(now);
                std::iter::from_fn(|| sender.poll_transmit()).for_each(send);
                let stats = sender.stats();
                figures.count_sender(counted, &stats);
                *counted = stats;
                std::iter::from_fn(|| sender.poll_event()).any(|event| match event {
                    SenderEvent::EpochExhausted => true,
                    SenderEvent::MemberJoined(_) | SenderEvent::MemberLost(_) | SenderEvent::Delivered { .. } => false,
                })
            }
            Self::Bare(bare) => {
                bare.waiting.drain(..).for_each(send);
                false
            }
        }
    }
}

impl BareOutlet {
    fn handle_run(&mut self, now: Instant, run: &Run) {
        self.members.expire(now, self.head);
        self.head = run.last_seq();
        if self.lane != GroupLane::Text {
            return;
        }
        for message in run.messages().filter(|message| message.author.client != self.strangers) {
            let content = Content::decode(message.content_type, &message.payload);
            let Some(text) = content.kind.text_body() else { continue };
            if !text.is_empty() && text.len() <= MAX_TEXT_DATAGRAM {
                let destination = Destination::Multicast(self.to);
                self.waiting.push(Transmit { destination, payload: text, ttl: self.ttl });
            }
        }
    }

    fn send_puback(&mut self, peer: SocketAddrV4, own: Option<Ipv4Addr>, seq: Seq, puback: &Puback) {
        let pkt = Pkt(self.next_pkt);
        self.next_pkt = self.next_pkt.checked_add(1).unwrap_or(Pkt::FIRST_OTHER.0);
        let mut body = BytesMut::new();
        puback.write(&mut body);
        let header = Header {
            packet_type: PacketType::Puback,
            flags: 0,
            tag: self.tag,
            epoch: self.epoch,
            pkt,
            seq,
            fragment: Fragment::WHOLE,
            ts_us: 0,
        };
        let destination = Destination::Unicast { peer, from: own };
        self.waiting.push(Transmit { destination, payload: header.encode(&body), ttl: self.ttl });
    }
}
