//! Packs whole messages into DATA bodies, and cuts what is too long into fragments.

use bytes::BytesMut;
use gaung_proto::{
    Seq,
    block::{BlockBuilder, MessageRef},
    datagram::Fragment,
    limits::{MAX_DATA_BODY, MAX_FRAGMENTS},
};

/// One body that is ready to be sent, borrowed from the packer.
#[derive(Debug, Clone, Copy)]
pub(super) struct PackedBody<'a> {
    pub(super) first: Seq,
    pub(super) last: Seq,
    pub(super) fragment: Fragment,
    pub(super) bytes: &'a [u8],
    /// Bytes by which it is shorter than the longest body, where the next message found no room in it; else 0.
    pub(super) lacking: usize,
}

/// Gathers messages until the next one does not fit.
#[derive(Debug)]
pub(super) struct Packer {
    block: BlockBuilder,
    first: Seq,
    scratch: BytesMut,
    /// The longest body that is made, bytes.
    limit: usize,
}

impl Default for Packer {
    fn default() -> Self {
        Self { block: BlockBuilder::default(), first: Seq::ZERO, scratch: BytesMut::new(), limit: MAX_DATA_BODY }
    }
}

impl Packer {
    /// Makes bodies shorter from now on, or as long as they may be.
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit.clamp(1, MAX_DATA_BODY);
    }

    /// Adds one message; passes every body that became ready to `ready`.
    pub(super) fn push(&mut self, seq: Seq, message: &MessageRef<'_>, ready: &mut impl FnMut(PackedBody<'_>)) {
        let is_too_long = self.block.encoded_len_with(&message.author, message.payload.len()) > self.limit;
        // A member takes a message that differs between two lanes for forged, and the wall clock may have been set.
        if is_too_long || !self.block.keeps_time(message.sent_at) {
            self.close(true, ready);
        }
        if self.block.is_empty() {
            self.first = seq;
        }
        self.block.push(message);
        if self.block.encoded_len() > self.limit {
            self.fragment(seq, ready);
        }
    }

    /// Passes on the body that was gathered so far, if any.
    pub(super) fn flush(&mut self, ready: &mut impl FnMut(PackedBody<'_>)) {
        self.close(false, ready);
    }

    fn close(&mut self, is_full: bool, ready: &mut impl FnMut(PackedBody<'_>)) {
        if self.block.is_empty() {
            return;
        }
        let last = self.first.plus(u64::from(self.block.count()) - 1);
        self.take_block();
        let lacking = if is_full { self.limit.saturating_sub(self.scratch.len()) } else { 0 };
        ready(PackedBody { first: self.first, last, fragment: Fragment::WHOLE, bytes: &self.scratch, lacking });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.block.is_empty()
    }

    fn fragment(&mut self, seq: Seq, ready: &mut impl FnMut(PackedBody<'_>)) {
        self.take_block();
        // More fragments than receivers take would be worse than longer ones: those are repaired from the log at least.
        let parts = self.scratch.chunks(self.limit.max(self.scratch.len().div_ceil(MAX_FRAGMENTS)));
        let count = parts.len() as u16;
        for (index, bytes) in parts.enumerate() {
            let fragment = Fragment { index: index as u16, count };
            ready(PackedBody { first: seq, last: seq, fragment, bytes, lacking: 0 });
        }
    }

    fn take_block(&mut self) {
        self.scratch.clear();
        self.block.write(&mut self.scratch);
        self.block.clear();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use gaung_proto::{
        ClientId, ClientSeq, ContentType, DeviceId,
        block::{Author, SentAt},
    };

    use super::*;

    #[test]
    fn messages_keep_their_times_when_the_clock_was_set() {
        const HOUR: u64 = 3_600_000_000;
        let times = [2 * HOUR, 2 * HOUR + 7, 2 * HOUR - 1, 4 * HOUR, HOUR];
        let mut packer = Packer::default();
        let mut got = Vec::new();
        let mut note = |packed: PackedBody<'_>| {
            let body = Bytes::copy_from_slice(packed.bytes);
            let messages = gaung_proto::messages::Messages::parse(body, packed.first).expect("it was just made");
            got.extend(messages.refs().map(|(seq, message)| (seq, message.sent_at.0)));
        };
        for (seq, time) in (1..).map(Seq).zip(times) {
            let author = Author { device: DeviceId::NONE, client: ClientId([1; 16]) };
            let (client_seq, content_type) = (ClientSeq(seq.0), ContentType::Text);
            let message = MessageRef { author, client_seq, content_type, sent_at: SentAt(time), payload: b"jam" };
            packer.push(seq, &message, &mut note);
        }
        packer.flush(&mut note);
        assert_eq!(got, (1..).map(Seq).zip(times).collect::<Vec<_>>());
    }

    /// Lengths and fragments of what a packer makes of messages of these lengths.
    fn packed(limit: usize, lengths: &[usize]) -> Vec<(usize, u16)> {
        let (mut packer, mut made) = (Packer::default(), Vec::new());
        packer.set_limit(limit);
        let payloads: Vec<_> = lengths.iter().map(|length| Bytes::from(vec![b'x'; *length])).collect();
        for (seq, payload) in (1..).zip(&payloads) {
            let message = MessageRef {
                author: Author { device: DeviceId::NONE, client: ClientId::NONE },
                client_seq: ClientSeq(seq),
                content_type: ContentType::Text,
                sent_at: SentAt(0),
                payload,
            };
            packer.push(Seq(seq), &message, &mut |p| made.push((p.bytes.len(), p.fragment.count)));
        }
        packer.flush(&mut |p| made.push((p.bytes.len(), p.fragment.count)));
        made
    }

    #[test]
    fn a_low_limit_makes_more_and_shorter_bodies() {
        let lengths = [100; 30];
        let (long, short) = (packed(MAX_DATA_BODY, &lengths), packed(600, &lengths));
        assert!(
            short.len() > long.len() && short.iter().all(|(bytes, count)| *bytes <= 600 && *count == 1),
            "{short:?}"
        );
        let cut = packed(600, &[2000]);
        assert!(cut.len() == 4 && cut.iter().all(|(bytes, count)| *bytes <= 600 && *count == 4), "{cut:?}");
        let longest = packed(256, &[256 * 1024]);
        assert!(longest.len() <= MAX_FRAGMENTS, "receivers take no more: {}", longest.len());
        assert_eq!(packed(usize::MAX, &lengths), long);
    }
}
