//! Handles what members and hubs send: NAK, STATUS and PROBE under the group's tag or a former one, and reports of sessions.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::Instant,
};

use bytes::BytesMut;
use gaung_proto::{
    DecodeError, GroupTag, Pkt, Seq,
    body::{Cookie, Nak, NakRange, Ncf, Probe, Puback, Status},
    datagram::{Header, PacketType, flags},
};

use super::{
    Members, RelaySender, ReportingHub, SenderEvent, SessionReport, StatusOutcome,
    members::round_trip,
    peer::{PeerAddr, Requester},
};

/// Above this size a NAK confirmation spares more NAKs than it costs.
const NCF_ABOVE: usize = 8;

impl RelaySender {
    /// Takes a datagram that [`is_addressed`](Self::is_addressed) to this sender. `own`: the address that it was sent to, for the answer.
    ///
    /// # Errors
    /// [`DecodeError`] if the body is not what the header says: drop it.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddrV4,
        own: Option<Ipv4Addr>,
        header: &Header,
        body: &[u8],
    ) -> Result<(), DecodeError> {
        let peer = PeerAddr { addr: from, own };
        self.outgoing.handle_time(now);
        let is_current = header.tag == self.address.tag();
        match header.packet_type {
            _ if !is_current && !self.address.is_former(header.tag) => self.stats.ignored += 1,
            PacketType::Probe if !header.has(flags::RESPONSE) => {
                self.answer_probe(now, peer, header.tag, &Probe::decode(body)?);
                if is_current {
                    self.handle_listener(now);
                    self.heartbeat.hasten(now);
                }
            }
            PacketType::Nak if is_current => self.handle_nak(now, peer, header, &Nak::decode(body)?),
            PacketType::Nak => self.handle_former(now, peer, header.tag, Nak::decode(body)?.cookie),
            PacketType::Status if is_current => self.handle_status(now, peer, header, &Status::decode(body)?),
            PacketType::Status => self.handle_former(now, peer, header.tag, Status::decode(body)?.cookie),
            PacketType::Data
            | PacketType::Heartbeat
            | PacketType::Ncf
            | PacketType::Parity
            | PacketType::Probe
            | PacketType::Migrate
            | PacketType::Publish
            | PacketType::Puback
            | PacketType::Broadcast => self.stats.ignored += 1,
        }
        Ok(())
    }

    /// Answers a PUBLISH, which is decided elsewhere. `seq`: the message's, [`Seq::ZERO`] unless logged.
    pub fn send_puback(&mut self, now: Instant, peer: SocketAddrV4, own: Option<Ipv4Addr>, seq: Seq, puback: &Puback) {
        self.outgoing.handle_time(now);
        let Some(header) = self.next_header(now, PacketType::Puback, seq) else { return };
        let mut body = BytesMut::new();
        puback.write(&mut body);
        self.answer(PeerAddr { addr: peer, own }, header.encode(&body));
    }

    /// Applies a hub's report of its sessions in the group, on one stream of reports. An empty report renews all that
    /// was reported on the stream before.
    pub fn handle_sessions(&mut self, now: Instant, reporter: ReportingHub, sessions: &[SessionReport]) {
        self.members.renew(now, self.head, reporter);
        for session in sessions {
            match self.members.handle_session(now, self.head, reporter, session) {
                StatusOutcome::Joined => self.emit(SenderEvent::MemberJoined(session.member)),
                StatusOutcome::NoRoom => self.stats.ignored += 1,
                StatusOutcome::Progressed | StatusOutcome::Unchanged => {}
            }
        }
    }

    /// Returns the members, by both lanes.
    #[must_use]
    pub const fn audience(&self) -> &Members {
        &self.members
    }

    /// Returns the members, to take their counts.
    pub const fn audience_mut(&mut self) -> &mut Members {
        &mut self.members
    }

    /// Reports the members that fell silent. Runs before anything is sent, so that they do not count as present for it.
    pub(super) fn expire_members(&mut self, now: Instant) {
        for gone in self.members.expire(now, self.head) {
            self.emit(SenderEvent::MemberLost(gone));
        }
    }

    fn handle_nak(&mut self, now: Instant, peer: PeerAddr, header: &Header, nak: &Nak) {
        if header.epoch != self.config.epoch {
            self.stats.ignored += 1;
            return;
        }
        self.stats.naks += 1;
        let proven = self.config.cookies.proves(peer.addr, nak.cookie).then_some(peer);
        let requester = Requester { sender: nak.sender, proven };
        let scheduled = self.repairs.handle_nak(now, self.grtt, requester, &nak.ranges, &mut self.stats);
        if self.members.present().nth(NCF_ABOVE).is_some() {
            self.confirm(now, scheduled);
        }
    }

    /// Sends an NCF, which silences others who lack the same, so the repairs it names go to the group.
    fn confirm(&mut self, now: Instant, scheduled: Vec<(Pkt, NakRange)>) {
        let ranges = self.repairs.confirm(scheduled);
        if ranges.is_empty() {
            return;
        }
        let Some(header) = self.next_header(now, PacketType::Ncf, self.outgoing.left().seq) else { return };
        let mut body = BytesMut::new();
        Ncf { ranges }.write(&mut body);
        self.stats.ncfs += 1;
        self.announce(header.encode(&body));
    }

    fn handle_status(&mut self, now: Instant, peer: PeerAddr, header: &Header, status: &Status) {
        let proven = self.config.cookies.proves(peer.addr, status.cookie);
        if header.epoch != self.config.epoch || !proven {
            self.stats.ignored += 1;
            return;
        }
        self.stats.statuses += 1;
        self.handle_listener(now);
        let round_trip = round_trip(self.ts_us(now), status);
        let heard = self.members.handle_status(now, self.head, peer.addr, header.seq, status, round_trip);
        self.grtt = self.members.grtt();
        self.heartbeat.handle_grtt(now, self.grtt);
        let delivered = SenderEvent::Delivered { member: status.sender, upto: header.seq.min(self.head) };
        match heard {
            StatusOutcome::Joined => {
                self.emit(SenderEvent::MemberJoined(status.sender));
                self.emit(delivered);
            }
            StatusOutcome::Progressed => self.emit(delivered),
            StatusOutcome::Unchanged => {}
            StatusOutcome::NoRoom => self.stats.ignored += 1,
        }
    }

    /// Answers a PROBE under the tag that it used.
    fn answer_probe(&mut self, now: Instant, peer: PeerAddr, tag: GroupTag, probe: &Probe) {
        let Some(header) = self.next_header(now, PacketType::Probe, self.head) else { return };
        let mut body = BytesMut::new();
        Probe { cookie: self.config.cookies.of(peer.addr), ..*probe }.write(&mut body);
        self.answer(peer, Header { flags: flags::RESPONSE, tag, ..header }.encode(&body));
    }

    /// Sends MIGRATE to a member that does not know yet that the group has moved, if it has proven its address; the notice
    /// is shorter than what it sent.
    fn handle_former(&mut self, now: Instant, peer: PeerAddr, tag: GroupTag, cookie: Cookie) {
        if !self.config.cookies.proves(peer.addr, cookie) {
            self.stats.ignored += 1;
            return;
        }
        self.activity.handle_listener(now);
        if let Some(to) = self.address.answer(now)
            && let Some(notice) = self.migrate(now, tag, to)
        {
            self.answer(peer, notice);
        }
    }

    fn handle_listener(&mut self, now: Instant) {
        self.wake(now);
        self.activity.handle_listener(now);
    }
}
