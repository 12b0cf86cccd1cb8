//! Handles the relay's datagrams: DATA, parity, heartbeats, confirmations (NCF), answers, and notices of a move.

use std::{
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_proto::{
    DecodeError, Pkt,
    body::{Data, Heartbeat, Migrate, Ncf, Parity, Probe},
    datagram::{Header, PacketType, flags},
};

use super::{
    ArrivalSocket, MemberReceiver, ReceiverEvent, moving::MoveStep, order::MessageCarrier, sources::SourceVerdict,
    spans::PktRange,
};
use crate::{parity::Original, timing::TIMING};

impl MemberReceiver {
    /// Whether a datagram from this address can be the relay's: check before [`Self::handle_datagram`]. Sources can be forged,
    /// so this only keeps those out who did not take that trouble.
    pub fn admits(&mut self, now: Instant, via: ArrivalSocket, from: SocketAddrV4) -> bool {
        self.now = now;
        let admission = self.source.judge(now, via, self.reporter.relay(), from);
        match admission {
            SourceVerdict::Admitted => return true,
            SourceVerdict::Unexpected => self.say_stale(now, TIMING.stale_interval),
            SourceVerdict::Foreign => {}
        }
        self.stats.foreign += 1;
        false
    }

    /// Handles a datagram whose header was decoded.
    ///
    /// # Errors
    /// [`DecodeError`] if the body is not what the header says: drop it.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        via: ArrivalSocket,
        header: &Header,
        body: &[u8],
    ) -> Result<(), DecodeError> {
        self.now = now;
        if header.tag != self.moving.tag() && !self.handle_other_tag(now, via, header, body) {
            self.stats.ignored += 1;
            return self.handle_stranger(now, header, body);
        }
        match header.packet_type {
            PacketType::Data => return self.handle_data(now, via, header, body),
            PacketType::Heartbeat if via == ArrivalSocket::Group => {
                self.handle_heartbeat(now, header, &Heartbeat::decode(body)?);
            }
            PacketType::Ncf => {
                let ncf = Ncf::decode(body)?;
                self.stats.ncfs += 1;
                self.order.handle_ncf(now, &ncf.ranges, &mut self.backoff);
            }
            PacketType::Parity if via == ArrivalSocket::Group => {
                self.handle_parity(now, header, &Parity::decode(body)?);
            }
            PacketType::Probe if header.has(flags::RESPONSE) => {
                self.handle_answer(now, header, &Probe::decode(body)?);
            }
            PacketType::Migrate => {
                let is_news = self.moving.handle_migrate(now, &Migrate::decode(body)?);
                self.stats.ignored += u64::from(!is_news);
            }
            PacketType::Heartbeat
            | PacketType::Nak
            | PacketType::Status
            | PacketType::Parity
            | PacketType::Probe
            | PacketType::Publish
            | PacketType::Puback
            | PacketType::Broadcast => self.stats.ignored += 1,
        }
        Ok(())
    }

    /// Performs a step of the group's move to another address.
    pub(super) fn perform_move(&mut self, now: Instant, step: MoveStep) {
        match step {
            MoveStep::Idle => {}
            MoveStep::Probe { tag, nonce } => {
                let probe = self.reporter.probe_of(now, tag, nonce);
                probe.into_iter().for_each(|probe| self.send(probe));
            }
            MoveStep::Arrived { addr, generation } => {
                self.reporter.change_tag(self.moving.tag());
                self.stats.moves += 1;
                // Whoever takes no events needs only the last one.
                self.events.retain(|event| !matches!(event, ReceiverEvent::Moved { .. }));
                self.events.push_back(ReceiverEvent::Moved { to: addr, generation });
            }
            MoveStep::Stayed => self.say_stale(now, TIMING.stale_interval),
        }
    }

    /// Handles a datagram with another tag than the group's; returns whether it counts all the same.
    fn handle_other_tag(&mut self, now: Instant, via: ArrivalSocket, header: &Header, body: &[u8]) -> bool {
        let has_relay = self.reporter.relay().is_some();
        let (counts, step) = self.moving.handle_other_tag(now, via, header, body, has_relay, self.backoff.rng());
        self.perform_move(now, step);
        counts
    }

    /// Handles a datagram that does not count; a heartbeat of this group means that the registry knows more.
    fn handle_stranger(&mut self, now: Instant, header: &Header, body: &[u8]) -> Result<(), DecodeError> {
        if header.packet_type == PacketType::Heartbeat && Heartbeat::decode(body)?.group == self.config.group {
            self.say_stale(now, TIMING.stale_interval);
        }
        Ok(())
    }

    fn handle_data(
        &mut self,
        now: Instant,
        via: ArrivalSocket,
        header: &Header,
        body: &[u8],
    ) -> Result<(), DecodeError> {
        let repair = header.has(flags::REPAIR);
        let data = Data::decode(body, repair)?;
        self.stats.data += 1;
        self.path_mtu.handle_came(now, body.len());
        let before = self.reception.highest();
        if !repair && via == ArrivalSocket::Group {
            self.reception.handle_data(now, header.epoch, header.pkt);
        }
        if via == ArrivalSocket::Group {
            self.heard(now, header);
        }
        let original =
            Original { seq: header.seq, fragment: header.fragment, bytes: Bytes::copy_from_slice(data.bytes) };
        let pkt = data.original.unwrap_or(header.pkt);
        let pkt = Some(pkt).filter(|pkt| *pkt < Pkt::FIRST_OTHER && self.reception.epoch() == Some(header.epoch));
        let missed = pkt.filter(|_| !repair).and_then(|pkt| PktRange::between(before, pkt));
        let fresh = self.take(now, &original, MessageCarrier { pkt, missed, is_parted: false })?;
        if fresh > 0 && repair {
            self.reception.handle_repair();
        }
        self.reception.count(fresh, !repair);
        self.stats.duplicates += u64::from(fresh == 0);
        if let Some(pkt) = pkt {
            let recovered = self.blocks.handle_data(self.reception.highest(), pkt, original);
            self.take_recovered(now, &recovered);
        }
        Ok(())
    }

    fn handle_parity(&mut self, now: Instant, header: &Header, parity: &Parity<'_>) {
        self.stats.parity += 1;
        self.path_mtu.handle_came(now, parity.shard.len());
        self.heard(now, header);
        if self.reception.epoch() != Some(header.epoch) {
            return;
        }
        let recovered = self.blocks.handle_parity(now, self.reception.highest(), parity);
        self.take_recovered(now, &recovered);
        self.order.handle_parity(now, self.backoff.grtt());
    }

    /// Takes datagrams recovered by parity, which are checked as received ones; what fails the checks stays missing.
    fn take_recovered(&mut self, now: Instant, recovered: &[(Pkt, Original)]) {
        for (pkt, original) in recovered {
            let fresh = self.take(now, original, MessageCarrier { pkt: Some(*pkt), ..MessageCarrier::default() });
            if let Ok(fresh @ 1..) = fresh {
                self.stats.recovered += 1;
                self.reception.handle_repair();
                self.reception.count(fresh, false);
            }
        }
    }

    /// Takes the messages of one datagram; returns how many were new. While the hub delivers instead of datagrams, they
    /// are only compared: as long as somebody forges, the member does not return to multicast.
    fn take(&mut self, now: Instant, original: &Original, carried: MessageCarrier) -> Result<u64, DecodeError> {
        let is_trusted = self.lane.is_trusted();
        let outcome = match is_trusted {
            true => self.order.take(now, original, carried, &mut self.backoff)?,
            false => self.order.compare(now, original, &mut self.backoff)?,
        };
        if outcome.is_contradiction && !is_trusted {
            let _ = self.lane.handle_forged(now);
        }
        if let Some(range) = outcome.suspect {
            self.suspect(now, range);
        }
        self.stats.refused += u64::from(outcome.is_refused);
        Ok(outcome.fresh)
    }

    fn handle_heartbeat(&mut self, now: Instant, header: &Header, heartbeat: &Heartbeat) {
        if heartbeat.group != self.config.group || heartbeat.log != self.config.log {
            self.stats.ignored += 1;
            return;
        }
        let is_known = self.reception.epoch().is_none_or(|epoch| epoch == header.epoch);
        if !is_known && !self.reporter.is_unanswered() {
            // Anybody can claim that a new epoch has begun; only the relay's answer to a PROBE proves it.
            self.reporter.probe_soon(now);
        } else if self.reception.handle_epoch(now, header.epoch) {
            self.reporter.forget_cookie(now);
            self.blocks.clear();
        }
        self.moving.handle_heartbeat(heartbeat.generation);
        let mut missed = None;
        if self.reception.epoch() == Some(header.epoch) {
            let before = self.reception.highest();
            self.reception.handle_last_pkt(heartbeat.last_pkt);
            missed = PktRange::between(before, Pkt(self.reception.highest().0.saturating_add(1)));
        }
        self.backoff.handle_heartbeat(Duration::from_micros(heartbeat.grtt_us.into()), heartbeat.group_size);
        self.heard(now, header);
        self.doubt_head(now, header.seq, TIMING.head_settled);
        self.order.handle_heartbeat(now, header.seq, heartbeat.oldest_repairable, missed, &mut self.backoff);
    }

    /// Handles the relay's answer to a PROBE. It is authentic, because nobody else knows the nonce in it.
    fn handle_answer(&mut self, now: Instant, header: &Header, probe: &Probe) {
        let Some(answer) = self.reporter.handle_answer(now, probe) else { return };
        if answer.is_first {
            self.reporter.handle_heard(now, header.ts_us);
        }
        if self.reception.confirm_epoch(now, header.epoch) {
            self.blocks.clear();
        }
        if !self.config.history {
            self.order.confirm(now, header.seq, answer.asked, &mut self.backoff);
        }
        if let Some(first_forged) = self.doubts.handle_relay_head(answer.delivered, header.seq) {
            self.go_back(now, first_forged);
        }
    }

    /// Notes that the relay was heard by multicast.
    fn heard(&mut self, now: Instant, header: &Header) {
        self.reporter.handle_heard(now, header.ts_us);
        let moved = self.lane.handle_heard(now);
        self.handle_move(now, moved);
    }
}
