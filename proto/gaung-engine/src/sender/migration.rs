//! Moves a group to another address: MIGRATE goes out before it leaves and for a while after, and to whoever missed all of
//! that when it next speaks.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use gaung_proto::{
    DecodeError, Generation, GroupAddr, GroupTag, Seq,
    body::{Cookie, Migrate, Nak, Probe, Status},
    datagram::{Header, PacketType, flags},
    limits::MAX_DATA_BODY,
};

use super::{RelaySender, peer::PeerAddr};
use crate::{
    timing::TIMING,
    transmit::{Destination, Transmit},
};

/// Notices at the old address, the last of them some 3 s after the first: long before anybody else is given it.
const NOTICES: u32 = 7;

/// Former addresses whose members still get a MIGRATE.
const MAX_FORMER: usize = 8;

/// The address that a group's datagrams go to, with the tag that marks them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupEndpoint {
    pub(super) addr: GroupAddr,
    pub(super) ttl: u8,
    pub(super) generation: Generation,
    pub(super) tag: GroupTag,
}

/// A move to another address that is in progress.
#[derive(Debug)]
pub(super) struct AddressMove {
    from: GroupEndpoint,
    to: GroupEndpoint,
    /// When the group leaves the old address; `None` once it has.
    leaves_at: Option<Instant>,
    notices: u32,
    next_notice: Instant,
}

impl AddressMove {
    fn due(&self) -> Option<Instant> {
        let notice = (self.notices < NOTICES).then_some(self.next_notice);
        [notice, self.leaves_at].into_iter().flatten().min()
    }
}

impl RelaySender {
    /// Makes DATA bodies at most so long from the next message on, where an interface cannot carry longer datagrams; `bytes` above
    /// [`MAX_DATA_BODY`] is that. What was sent before is repaired as it was, or read from the log.
    pub fn set_data_body(&mut self, bytes: usize) {
        self.data_body = bytes.clamp(1, MAX_DATA_BODY);
        self.packer.set_limit(self.data_body);
    }

    /// Moves the group to another address in the same log and epoch, so that earlier messages can still be repaired.
    /// The group leaves after a tenth of a second, in which MIGRATE is sent; at once if it has no address now.
    pub fn handle_move(&mut self, now: Instant, addr: GroupAddr, ttl: u8, generation: Generation) {
        self.outgoing.handle_time(now);
        let tag = GroupTag::of(self.config.group, generation, self.config.log);
        let to = GroupEndpoint { addr, ttl, generation, tag };
        let target = self.departure.as_ref().map(|departure| departure.to).or(self.endpoint);
        match self.endpoint {
            _ if target == Some(to) => {}
            None => self.arrive(now, to),
            Some(from) => {
                let leaves_at = Some(now + TIMING.move_lead);
                self.cancel_departure();
                self.departure = Some(AddressMove { from, to, leaves_at, notices: 0, next_notice: now });
                self.work_departure(now);
            }
        }
    }

    /// Stops multicast because the group lost its address and has no other yet. What is logged meanwhile is kept for
    /// repairs, and members that send NAKs are answered one by one.
    pub fn handle_lapse(&mut self, now: Instant) {
        self.outgoing.handle_time(now);
        self.cancel_departure();
        self.endpoint = None;
        self.stats.data_skipped += self.outgoing.drop_multicast() as u64;
    }

    /// Whether a datagram with this tag is for this sender: the group's own, or one of its former addresses'.
    #[must_use]
    pub fn is_addressed(&self, tag: GroupTag) -> bool {
        tag == self.tag || self.former.contains(&tag)
    }

    pub(super) fn departure_due(&self) -> Option<Instant> {
        self.departure.as_ref().and_then(AddressMove::due)
    }

    pub(super) fn work_departure(&mut self, now: Instant) {
        let Some(departure) = &mut self.departure else { return };
        let (from, to) = (departure.from, departure.to);
        let leaves = departure.leaves_at.take_if(|at| *at <= now).is_some();
        let notifies = departure.notices < NOTICES && departure.next_notice <= now;
        if notifies {
            departure.next_notice = now + TIMING.move_notice_min * (1 << departure.notices);
            departure.notices += 1;
        }
        if departure.due().is_none() {
            self.departure = None;
        }
        if leaves {
            self.arrive(now, to);
        }
        if notifies && let Some(payload) = self.migrate(now, from.tag, to) {
            let destination = Destination::Multicast(from.addr.socket_addr());
            self.outgoing.push_answer(Transmit { destination, payload, ttl: from.ttl });
        }
    }

    /// Handles a datagram of a member that does not know yet that the group has moved.
    pub(super) fn handle_former(
        &mut self,
        now: Instant,
        peer: PeerAddr,
        header: &Header,
        body: &[u8],
    ) -> Result<(), DecodeError> {
        let cookie = match header.packet_type {
            _ if !self.former.contains(&header.tag) => None,
            PacketType::Probe if !header.has(flags::RESPONSE) => {
                self.answer_probe(now, peer, header.tag, &Probe::decode(body)?);
                return Ok(());
            }
            PacketType::Nak => Some(Nak::decode(body)?.cookie),
            PacketType::Status => Some(Status::decode(body)?.cookie),
            PacketType::Data
            | PacketType::Heartbeat
            | PacketType::Ncf
            | PacketType::Parity
            | PacketType::Probe
            | PacketType::Migrate
            | PacketType::Publish
            | PacketType::Puback
            | PacketType::Broadcast => None,
        };
        match cookie {
            Some(cookie) if self.config.cookies.proves(peer.addr, cookie) => self.send_migrate(now, peer, header.tag),
            Some(Cookie(_)) | None => self.stats.ignored += 1,
        }
        Ok(())
    }

    /// Sends MIGRATE to one member: it has proven its address, and the notice is shorter than what it sent.
    fn send_migrate(&mut self, now: Instant, peer: PeerAddr, tag: GroupTag) {
        self.last_heard = Some(now);
        self.last_activity = now;
        let Some(place) = self.endpoint.filter(|_| self.limits.may_send_migrate(now)) else { return };
        if let Some(notice) = self.migrate(now, tag, place) {
            self.answer(peer, notice);
        }
    }

    /// Cancels a move. Members know an address to which the group never came, and a forger can make them believe that
    /// it is there; so its tag is answered as a former one.
    fn cancel_departure(&mut self) {
        if let Some(departure) = self.departure.take().filter(|departure| departure.leaves_at.is_some()) {
            self.remember(departure.to.tag);
        }
    }

    fn remember(&mut self, former: GroupTag) {
        self.former.insert(0, former);
        self.former.truncate(MAX_FORMER);
    }

    /// Completes a move: everything goes to the new address, what waits in the queues too.
    fn arrive(&mut self, now: Instant, to: GroupEndpoint) {
        self.endpoint = Some(to);
        self.remember(self.tag);
        self.last_activity = now;
        self.tag = to.tag;
        self.outgoing.redirect(to.addr.socket_addr(), to.ttl, to.tag);
        self.heartbeat.restart_at_once(now);
    }

    fn migrate(&mut self, now: Instant, tag: GroupTag, to: GroupEndpoint) -> Option<Bytes> {
        let pkt = self.other_pkt()?;
        let mut body = BytesMut::new();
        let (group, log) = (self.config.group, self.config.log);
        Migrate { group, log, generation: to.generation, to: to.addr }.write(&mut body);
        self.stats.moves_told += 1;
        Some(Header { tag, ..self.header(now, PacketType::Migrate, pkt, Seq::ZERO) }.encode(&body))
    }
}
