//! Taking DATA: whole messages and fragments, into their places.

use std::time::Instant;

use bytes::Bytes;
use gaung_proto::{
    DecodeError, Seq,
    block::{Block, Message},
    body::Data,
    datagram::{Header, flags},
    net::Lane,
};

use super::{
    MemberReceiver, Via,
    reassembly::Inserted,
    window::{Held, MAX_HELD_BYTES, PLACES},
};

impl MemberReceiver {
    pub(super) fn handle_data(
        &mut self,
        now: Instant,
        via: Via,
        header: &Header,
        body: &[u8],
    ) -> Result<(), DecodeError> {
        let repair = header.has(flags::REPAIR);
        let data = Data::decode(body, repair)?;
        self.stats.data += 1;
        if !repair && via == Via::Group {
            self.reception.handle_data(now, header.epoch, header.pkt);
        }
        if via == Via::Group {
            self.heard(now, header);
        }
        let fresh = if header.fragment.is_whole() {
            let block = Bytes::copy_from_slice(data.bytes);
            self.hold_block(now, header.seq, &block)?
        } else {
            self.handle_fragment(now, header, data.bytes)?
        };
        if fresh && repair {
            self.reception.handle_repair();
        }
        self.stats.duplicates += u64::from(!fresh);
        Ok(())
    }

    /// Gives whether anything was new.
    fn hold_block(&mut self, now: Instant, first: Seq, bytes: &Bytes) -> Result<bool, DecodeError> {
        let block = Block::parse(bytes)?;
        let last = first.plus(u64::from(block.count()) - 1);
        let mut fresh = false;
        for (seq, message) in (first.0..).map(Seq).zip(block.messages()) {
            if seq.0 >= self.window.first().0.saturating_add(PLACES)
                || (self.window.held_bytes() >= MAX_HELD_BYTES && seq != self.window.first())
            {
                self.refuse(seq);
                break;
            }
            fresh |= self.hold(now, message.to_message(seq, bytes), Lane::Multicast);
        }
        self.gaps.handle_sent(last);
        self.claim(now, last);
        Ok(fresh)
    }

    fn handle_fragment(&mut self, now: Instant, header: &Header, bytes: &[u8]) -> Result<bool, DecodeError> {
        let seq = header.seq;
        if seq < self.window.first() || self.window.is_held(seq) {
            return Ok(false);
        }
        if seq.0 >= self.window.first().0.saturating_add(PLACES) || self.window.held_bytes() >= MAX_HELD_BYTES {
            self.refuse(seq);
            self.claim(now, seq);
            return Ok(false);
        }
        self.claim(now, seq);
        if header.fragment.index + 1 == header.fragment.count {
            self.gaps.handle_sent(seq);
        }
        match self.reassembly.insert(seq, header.fragment, bytes) {
            Inserted::Stored => {
                let due = now + self.reorder_wait();
                self.gaps.handle_progress(now, due, seq, &mut self.window);
                Ok(true)
            }
            Inserted::Duplicate => Ok(false),
            Inserted::Refused => {
                self.stats.refused += 1;
                Ok(false)
            }
            Inserted::Whole(block) if Block::parse(&block)?.count() == 1 => self.hold_block(now, seq, &block),
            Inserted::Whole(_) => Err(DecodeError::Field("message count")),
        }
    }

    /// Gives whether it was new.
    pub(super) fn hold(&mut self, now: Instant, message: Message, lane: Lane) -> bool {
        let seq = message.seq;
        if seq < self.window.first() {
            return false;
        }
        if self.window.end() < seq {
            let wait = self.gap_wait();
            self.gaps.extend(now, wait, seq, &mut self.window);
        }
        self.reassembly.forget(seq);
        self.window.hold(Held { message, lane, arrived: now })
    }

    /// No place for `seq`. If that is because nobody takes messages, repair would not help: it comes from the log.
    fn refuse(&mut self, seq: Seq) {
        self.stats.refused += 1;
        if self.window.is_held(self.window.first()) {
            self.gaps.handle_overrun(seq);
        }
    }
}
