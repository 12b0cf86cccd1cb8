//! A member's datagrams to the relay: PROBE for a cookie, STATUS for receipts and rates, NAK.

use std::{
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use gaung_proto::{
    DeviceId, Epoch, GroupTag, Pkt, SenderId, Seq,
    body::{Cookie, Nak, NakRange, Probe, Status},
    datagram::{Fragment, Header, PacketType},
};
use rand::{Rng as _, rngs::SmallRng};

use super::reception::Reception;
use crate::{
    timing::TIMING,
    transmit::{Destination, Transmit},
};

/// PROBEs without an answer after which the path to or from the relay counts as broken.
const UNANSWERED: u32 = 3;
/// PROBEs without an answer after which the relay counts as out of reach: some 5 s.
const OUT_OF_REACH: u32 = 7;

/// What the member knew when it sent the PROBE that was answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProbeAnswer {
    /// It gave a first cookie.
    pub(super) is_first: bool,
    /// What had been delivered when the PROBE was sent.
    pub(super) delivered: Seq,
    /// When the PROBE was sent.
    pub(super) asked: Instant,
}

/// Sends what a member reports to the relay: PROBE, STATUS and NAK.
#[derive(Debug)]
pub(super) struct MemberReporter {
    sender: SenderId,
    device: DeviceId,
    relay: Option<SocketAddrV4>,
    tag: GroupTag,
    started: Instant,
    next_pkt: u32,
    nonce: u64,
    cookie: Option<Cookie>,
    probes: u32,
    next_probe: Instant,
    /// What had been delivered when the question under way was first sent.
    asked_after: Seq,
    asked_at: Instant,
    last_status: Option<Instant>,
    status_interval: Duration,
    delivered: bool,
    echo: Option<(u32, Instant)>,
}

impl MemberReporter {
    pub(super) const fn new(
        sender: SenderId,
        device: DeviceId,
        relay: Option<SocketAddrV4>,
        tag: GroupTag,
        now: Instant,
    ) -> Self {
        Self {
            sender,
            device,
            relay,
            tag,
            started: now,
            next_pkt: 1,
            nonce: 0,
            cookie: None,
            probes: 0,
            next_probe: now,
            asked_after: Seq::ZERO,
            asked_at: now,
            last_status: None,
            status_interval: TIMING.status_interval,
            delivered: false,
            echo: None,
        }
    }

    /// Restarts for another relay or log, to which nothing is proven yet.
    pub(super) fn restart(&mut self, now: Instant, relay: Option<SocketAddrV4>, tag: GroupTag) {
        self.relay = relay;
        self.tag = tag;
        self.forget_cookie(now);
    }

    /// Changes the tag. The relay is the same, so the cookie stays valid.
    pub(super) const fn change_tag(&mut self, tag: GroupTag) {
        self.tag = tag;
    }

    pub(super) const fn relay(&self) -> Option<SocketAddrV4> {
        self.relay
    }

    /// Returns the cookie, which proves this member's address to the relay.
    pub(super) const fn cookie(&self) -> Option<Cookie> {
        self.cookie
    }

    pub(super) fn forget_cookie(&mut self, now: Instant) {
        self.cookie = None;
        self.probes = 0;
        self.next_probe = now;
    }

    /// Sends a PROBE at once, unless one is unanswered.
    pub(super) fn probe_soon(&mut self, now: Instant) {
        if self.probes == 0 {
            self.next_probe = self.next_probe.min(now);
        }
    }

    /// Whether the relay leaves questions unanswered.
    pub(super) const fn is_unanswered(&self) -> bool {
        self.probes >= UNANSWERED || self.relay.is_none()
    }

    /// Whether the relay has left PROBEs unanswered for some seconds, which is no accident.
    pub(super) const fn is_out_of_reach(&self) -> bool {
        self.probes >= OUT_OF_REACH || self.relay.is_none()
    }

    pub(super) const fn handle_heard(&mut self, now: Instant, ts_us: u32) {
        self.echo = Some((ts_us, now));
    }

    pub(super) const fn handle_delivered(&mut self) {
        self.delivered = true;
    }

    /// Handles an answer to a PROBE; `None` if it answers none of this member's.
    pub(super) fn handle_answer(&mut self, now: Instant, answer: &Probe) -> Option<ProbeAnswer> {
        if answer.sender != self.sender || answer.nonce != self.nonce || self.probes == 0 {
            return None;
        }
        let is_first = self.cookie.is_none();
        self.cookie = Some(answer.cookie);
        self.probes = 0;
        self.next_probe = now + TIMING.cookie_age;
        Some(ProbeAnswer { is_first, delivered: self.asked_after, asked: self.asked_at })
    }

    pub(super) fn next_due(&self, reports: bool, group_size: u32) -> Option<Instant> {
        self.relay?;
        let status = if reports { self.status_due(group_size) } else { None };
        Some(status.map_or(self.next_probe, |status| status.min(self.next_probe)))
    }

    /// Sends a PROBE. `delivered`: the last message that was delivered.
    pub(super) fn probe(&mut self, now: Instant, delivered: Seq, rng: &mut SmallRng) -> Option<Transmit> {
        if self.next_probe > now {
            return None;
        }
        if self.probes == 0 {
            self.nonce = rng.random();
            self.asked_after = delivered;
            self.asked_at = now;
        }
        self.next_probe = now + (TIMING.probe_min * (1 << self.probes.min(10))).min(TIMING.probe_max);
        self.probes = self.probes.saturating_add(1);
        let mut body = BytesMut::new();
        Probe { sender: self.sender, nonce: self.nonce, cookie: Cookie::default() }.write(&mut body);
        self.transmit(now, PacketType::Probe, Epoch(0), Seq::ZERO, &body)
    }

    /// Sends a PROBE under another tag of the group, which the relay answers if it uses or used that tag.
    pub(super) fn probe_of(&mut self, now: Instant, tag: GroupTag, nonce: u64) -> Option<Transmit> {
        let mut body = BytesMut::new();
        Probe { sender: self.sender, nonce, cookie: Cookie::default() }.write(&mut body);
        let own = std::mem::replace(&mut self.tag, tag);
        let probe = self.transmit(now, PacketType::Probe, Epoch(0), Seq::ZERO, &body);
        self.tag = own;
        probe
    }

    pub(super) fn status(
        &mut self,
        now: Instant,
        reception: &Reception,
        delivered: Seq,
        group_size: u32,
        rng: &mut SmallRng,
    ) -> Option<Transmit> {
        let cookie = self.cookie?;
        let epoch = reception.epoch()?;
        let (echo_ts_us, echoed) = self.echo?;
        if self.status_due(group_size)? > now {
            return None;
        }
        self.last_status = Some(now);
        self.status_interval = TIMING.status_interval.mul_f64(rng.random_range(0.9..1.1));
        self.delivered = false;
        let (received, lost, repaired) = reception.counters();
        let delay = now.saturating_duration_since(echoed);
        let status = Status {
            sender: self.sender,
            cookie,
            device: self.device,
            highest_pkt: reception.highest(),
            received,
            lost,
            repaired,
            echo_ts_us,
            echo_delay_us: u32::try_from(delay.as_micros()).unwrap_or(u32::MAX),
        };
        let mut body = BytesMut::new();
        status.write(&mut body);
        self.transmit(now, PacketType::Status, epoch, delivered, &body)
    }

    /// Sends a NAK for 1 to 32 ranges; nothing while the relay's address is unknown.
    pub(super) fn nak(&mut self, now: Instant, epoch: Epoch, ranges: Vec<NakRange>) -> Option<Transmit> {
        let mut body = BytesMut::new();
        Nak { sender: self.sender, cookie: self.cookie.unwrap_or_default(), ranges }.write(&mut body);
        self.transmit(now, PacketType::Nak, epoch, Seq::ZERO, &body)
    }

    fn status_due(&self, group_size: u32) -> Option<Instant> {
        self.cookie?;
        self.echo?;
        let gap = (TIMING.status_gap + TIMING.status_gap_per_member * group_size.min(450)).min(TIMING.status_interval);
        let wait = if self.delivered { gap } else { self.status_interval };
        Some(self.last_status.map_or(self.started, |last| last + wait))
    }

    fn transmit(
        &mut self,
        now: Instant,
        packet_type: PacketType,
        epoch: Epoch,
        seq: Seq,
        body: &[u8],
    ) -> Option<Transmit> {
        let peer = self.relay?;
        let header = Header {
            packet_type,
            flags: 0,
            tag: self.tag,
            epoch,
            pkt: Pkt(self.next_pkt),
            seq,
            fragment: Fragment::WHOLE,
            ts_us: now.saturating_duration_since(self.started).as_micros() as u32,
        };
        self.next_pkt = self.next_pkt.wrapping_add(1);
        let destination = Destination::Unicast { peer, from: None };
        Some(Transmit { destination, payload: header.encode(body), ttl: 1 })
    }
}
