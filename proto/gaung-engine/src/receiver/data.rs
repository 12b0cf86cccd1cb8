//! Puts the messages and fragments of DATA and parity into their places.

use std::time::Instant;

use bytes::Bytes;
use gaung_proto::{
    DecodeError, Pkt, Seq, SeqRange,
    block::Block,
    body::{Data, Parity},
    datagram::{Fragment, Header, flags},
    messages::Messages,
    net::Lane,
};

use super::{
    ArrivalSocket, LanePolicy, MemberReceiver,
    reassembly::InsertOutcome,
    spans::PktRange,
    window::{MAX_HELD_BYTES, PLACES},
};
use crate::{parity::Original, timing};

/// Says by which datagram messages came.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MessageCarrier {
    /// The first-sent datagram, if it is known to be one of this epoch.
    pkt: Option<Pkt>,
    /// The datagrams before it that did not come.
    missed: Option<PktRange>,
    /// The message came in several datagrams.
    is_parted: bool,
}

impl MemberReceiver {
    pub(super) fn handle_data(
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

    pub(super) fn handle_parity(&mut self, now: Instant, header: &Header, parity: &Parity<'_>) {
        self.stats.parity += 1;
        self.path_mtu.handle_came(now, parity.shard.len());
        self.heard(now, header);
        if self.reception.epoch() != Some(header.epoch) {
            return;
        }
        let recovered = self.blocks.handle_parity(now, self.reception.highest(), parity);
        self.take_recovered(now, &recovered);
        self.gaps.handle_parity(now, self.grtt);
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

    /// Takes the messages of one datagram; returns how many were new.
    fn take(&mut self, now: Instant, original: &Original, carried: MessageCarrier) -> Result<u64, DecodeError> {
        if !self.lane.is_trusted() {
            self.note_untrusted(now, original)?;
            return Ok(0);
        }
        let Original { seq, fragment, bytes } = original;
        if fragment.is_whole() {
            self.hold_block(now, *seq, bytes, carried)
        } else {
            self.handle_fragment(now, *seq, *fragment, bytes, carried)
        }
    }

    /// Compares a datagram with what came otherwise, while the hub delivers instead: as long as somebody forges, the
    /// member does not return to multicast.
    fn note_untrusted(&mut self, now: Instant, original: &Original) -> Result<(), DecodeError> {
        if !original.fragment.is_whole() {
            return Ok(());
        }
        let messages = Messages::parse(original.bytes.clone(), original.seq)?;
        if let Some(first) = self.fingerprints.conflict(&messages, Lane::Multicast) {
            let _ = self.lane.handle_forged(now);
            self.handle_conflict(now, SeqRange { first, last: Seq(messages.end().0 - 1) });
        }
        self.fingerprints.note(self.window.first(), &messages, Lane::Multicast, false);
        Ok(())
    }

    fn hold_block(
        &mut self,
        now: Instant,
        first: Seq,
        bytes: &Bytes,
        carried: MessageCarrier,
    ) -> Result<u64, DecodeError> {
        let mut messages = Messages::parse(bytes.clone(), first)?;
        let last = Seq(messages.end().0 - 1);
        let next = self.window.first();
        let limit = Seq(next.0.saturating_add(PLACES));
        let is_next = first <= next && next <= last;
        let is_full = self.window.held_bytes() >= MAX_HELD_BYTES && !is_next;
        let mut fresh = 0;
        if is_full || first >= limit {
            self.refuse(first);
        } else {
            if last >= limit {
                messages.cut(limit);
                self.refuse(limit);
            }
            fresh = self.hold(now, messages, Lane::Multicast, carried);
        }
        self.gaps.handle_sent(last);
        self.advertise(now, last);
        Ok(fresh)
    }

    fn handle_fragment(
        &mut self,
        now: Instant,
        seq: Seq,
        fragment: Fragment,
        bytes: &Bytes,
        carried: MessageCarrier,
    ) -> Result<u64, DecodeError> {
        if seq < self.window.first() || self.window.is_held(seq) {
            if self.fingerprints.contradicts_part(seq) {
                self.handle_conflict(now, SeqRange { first: seq, last: seq });
            }
            return Ok(0);
        }
        if seq.0 >= self.window.first().0.saturating_add(PLACES) || self.window.held_bytes() >= MAX_HELD_BYTES {
            self.refuse(seq);
            self.advertise(now, seq);
            return Ok(0);
        }
        if self.window.end() < seq {
            let first_pkt = carried.pkt.map(|pkt| Pkt(pkt.0.saturating_sub(fragment.index.into())));
            let before =
                carried.missed.zip(first_pkt).and_then(|(pkts, own)| PktRange::new(pkts.first, own.0.max(1) - 1));
            self.advertise_carried(now, Seq(seq.0 - 1), before);
        }
        self.advertise(now, seq);
        if fragment.index + 1 == fragment.count {
            self.gaps.handle_sent(seq);
        }
        match self.reassembly.insert(seq, fragment, carried.pkt, bytes) {
            InsertOutcome::Stored => {
                let due = now + timing::reorder(self.grtt);
                let first = self.reassembly.first_pkt(seq);
                let pkts =
                    first.and_then(|Pkt(first)| PktRange::new(first, first.saturating_add(fragment.count.into()) - 1));
                self.gaps.handle_progress(now, due, seq, pkts, &mut self.window);
                Ok(1)
            }
            InsertOutcome::Duplicate => Ok(0),
            InsertOutcome::Refused => {
                self.stats.refused += 1;
                Ok(0)
            }
            InsertOutcome::Whole(block) if Block::parse(&block)?.count() == 1 => {
                self.hold_block(now, seq, &block, MessageCarrier { is_parted: true, ..carried })
            }
            InsertOutcome::Whole(_) => Err(DecodeError::Field("message count")),
        }
    }

    /// Holds messages for delivery; returns how many were new. What comes from the log, by the hub or by reading, is
    /// believed before datagrams.
    pub(super) fn hold(&mut self, now: Instant, mut messages: Messages, lane: Lane, carried: MessageCarrier) -> u64 {
        if self.config.policy != LanePolicy::TcpOnly {
            while let Some(seq) = self.fingerprints.conflict(&messages, lane) {
                if lane != Lane::Multicast {
                    self.correct(now, seq, &messages);
                    break;
                }
                let range = SeqRange { first: seq, last: Seq(messages.end().0 - 1) };
                self.handle_conflict(now, range);
                if seq < self.window.first() {
                    messages.skip_to(self.window.first());
                } else {
                    messages.cut(seq);
                }
                if messages.is_empty() {
                    return 0;
                }
            }
            self.fingerprints.note(self.window.first(), &messages, lane, carried.is_parted);
        }
        let first = messages.next_seq();
        if self.window.end() < first {
            let wait = self.gap_wait();
            self.gaps.extend(now, wait, first, carried.missed, &mut self.window);
        }
        if let Some(range) = SeqRange::new(first, Seq(messages.end().0 - 1)) {
            self.reassembly.forget_within(range);
        }
        self.window.hold(messages, lane, now, carried.pkt)
    }

    /// Handles other messages under `range` than were taken: delivered ones are compared with the log, waiting ones are
    /// requested again.
    fn handle_conflict(&mut self, now: Instant, range: SeqRange) {
        let next = self.window.first();
        match SeqRange::new(range.first, range.last.min(Seq(next.0.saturating_sub(1)))) {
            Some(delivered) => self.suspect(now, delivered),
            None => self.release(now, range),
        }
    }

    /// Refuses `seq`, for which there is no place. If the reader takes no messages repair would not help, so it is read
    /// from the log.
    fn refuse(&mut self, seq: Seq) {
        self.stats.refused += 1;
        if self.window.is_held(self.window.first()) {
            self.gaps.handle_overrun(seq);
        }
    }
}
