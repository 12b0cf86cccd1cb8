//! Packs whole messages into DATA bodies, and cuts what is too long into fragments.

use bytes::BytesMut;
use gaung_proto::{
    Seq,
    block::{BlockBuilder, MessageRef},
    datagram::Fragment,
    limits::MAX_DATA_BODY,
};

/// One body that is ready to be sent, borrowed from the packer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packed<'a> {
    pub(super) first: Seq,
    pub(super) last: Seq,
    pub(super) fragment: Fragment,
    pub(super) bytes: &'a [u8],
    /// What comes next found no room in it.
    pub(super) is_full: bool,
}

/// Gathers messages until the next one does not fit.
#[derive(Debug, Default)]
pub(super) struct Packer {
    block: BlockBuilder,
    first: Seq,
    scratch: BytesMut,
}

impl Packer {
    /// Adds one message; gives every body that became ready.
    pub(super) fn push(&mut self, seq: Seq, message: &MessageRef<'_>, ready: &mut impl FnMut(Packed<'_>)) {
        if self.block.encoded_len_with(&message.author, message.payload.len()) > MAX_DATA_BODY {
            self.close(true, ready);
        }
        if self.block.is_empty() {
            self.first = seq;
        }
        self.block.push(message);
        if self.block.encoded_len() > MAX_DATA_BODY {
            self.fragment(seq, ready);
        }
    }

    /// Gives what has gathered.
    pub(super) fn flush(&mut self, ready: &mut impl FnMut(Packed<'_>)) {
        self.close(false, ready);
    }

    fn close(&mut self, is_full: bool, ready: &mut impl FnMut(Packed<'_>)) {
        if self.block.is_empty() {
            return;
        }
        let last = self.first.plus(u64::from(self.block.count()) - 1);
        self.take_block();
        ready(Packed { first: self.first, last, fragment: Fragment::WHOLE, bytes: &self.scratch, is_full });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.block.is_empty()
    }

    fn fragment(&mut self, seq: Seq, ready: &mut impl FnMut(Packed<'_>)) {
        self.take_block();
        let parts = self.scratch.chunks(MAX_DATA_BODY);
        let count = parts.len() as u16;
        for (index, bytes) in parts.enumerate() {
            let fragment = Fragment { index: index as u16, count };
            ready(Packed { first: seq, last: seq, fragment, bytes, is_full: false });
        }
    }

    fn take_block(&mut self) {
        self.scratch.clear();
        self.block.write(&mut self.scratch);
        self.block.clear();
    }
}
