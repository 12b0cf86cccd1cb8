//! The blocks of first-sent DATA that are not complete, and the parity that came for them.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;
use gaung_proto::{Pkt, body::Parity, limits::MAX_DATA_BODY};

use super::spans::PktRange;
use crate::parity::{BLOCK, Decoder, Original, bit_of, block_of, pkt_at};

/// The newest blocks are kept; with shards no more than 64 datagrams each, 2.7 MB in all. The bodies share the memory of
/// the messages held.
const MAX_BLOCKS: u32 = 32;
/// Most bytes of those blocks, each datagram with the fields of its shard.
pub(super) const MAX_BYTES: usize = MAX_BLOCKS as usize * BLOCK as usize * (Parity::SHARD_FIELDS + MAX_DATA_BODY);
/// Failed recoveries after which a block's parity is ignored, so that forged shards cost only time.
const MAX_FAILURES: u8 = 4;

/// Tracks which datagrams of the newest blocks came.
#[derive(Debug, Default)]
pub(super) struct ReceivedBlocks {
    /// Number of the front block.
    first: u32,
    blocks: VecDeque<ReceivedBlock>,
    decoder: Decoder,
}

#[derive(Debug, Default)]
struct ReceivedBlock {
    came: u64,
    originals: Vec<Option<Original>>,
    /// Parity shards of the block, in the order of their coming.
    r: u8,
    shards: Vec<(u8, Bytes)>,
    last_shard: Option<Instant>,
    failures: u8,
    /// Bytes of all bodies and shards that are kept.
    bytes: usize,
}

impl ReceivedBlocks {
    /// Adds a first-sent DATA, received first or as a repair; returns what can be recovered with it. `highest`: the
    /// highest pkt that the relay is believed to have sent.
    pub(super) fn handle_data(&mut self, highest: Pkt, pkt: Pkt, original: Original) -> Vec<(Pkt, Original)> {
        let number = block_of(pkt);
        let Some(block) = self.block_mut(highest, number).filter(|block| block.came & bit_of(pkt) == 0) else {
            return Vec::new();
        };
        block.originals.resize(usize::from(BLOCK), None);
        block.came |= bit_of(pkt);
        block.bytes += original.bytes.len();
        block.originals[usize::from(place(pkt))] = Some(original);
        self.recover(number)
    }

    /// Adds a parity shard; returns what can be recovered with it.
    pub(super) fn handle_parity(&mut self, now: Instant, highest: Pkt, parity: &Parity<'_>) -> Vec<(Pkt, Original)> {
        let number = block_of(parity.first_pkt);
        if parity.k != BLOCK || parity.first_pkt != pkt_at(number, 0) {
            return Vec::new();
        }
        // Decoding costs far more than a forged shard costs to send.
        let wanted = |block: &&mut ReceivedBlock| block.came != u64::MAX && block.failures < MAX_FAILURES;
        let Some(block) = self.block_mut(highest, number).filter(wanted) else { return Vec::new() };
        // Either may be the forged one.
        if block.r != parity.r || block.shards.first().is_some_and(|(_, shard)| shard.len() != parity.shard.len()) {
            block.forget_shards();
        }
        block.r = parity.r;
        block.last_shard = Some(now);
        if block.shards.iter().all(|(index, _)| *index != parity.index) {
            block.shards.push((parity.index, Bytes::copy_from_slice(parity.shard)));
            block.bytes += parity.shard.len();
        }
        self.recover(number)
    }

    /// Returns when the last shard came for a block with any of these.
    pub(super) fn last_shard(&self, pkts: PktRange) -> Option<Instant> {
        let first = block_of(Pkt(pkts.first)).saturating_sub(self.first) as usize;
        let end = (block_of(Pkt(pkts.last)) + 1).saturating_sub(self.first) as usize;
        let blocks = self.blocks.range(first.min(self.blocks.len())..end.min(self.blocks.len()));
        blocks.filter_map(|block| block.last_shard).max()
    }

    /// Returns how many more datagrams would complete the block; `None` if no parity came for it, so that each is
    /// wanted.
    pub(super) fn lacking(&self, block: u32) -> Option<u32> {
        let block = self.block(block).filter(|block| !block.shards.is_empty())?;
        Some(block.came.count_zeros().saturating_sub(block.shards.len() as u32).max(1))
    }

    /// Returns the bytes kept, at most [`MAX_BYTES`].
    pub(super) fn bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.bytes).sum()
    }

    pub(super) fn clear(&mut self) {
        self.blocks.clear();
    }

    fn block(&self, number: u32) -> Option<&ReceivedBlock> {
        self.blocks.get(number.checked_sub(self.first)? as usize)
    }

    /// Returns the block, if it is one of the newest; older ones are dropped.
    fn block_mut(&mut self, highest: Pkt, number: u32) -> Option<&mut ReceivedBlock> {
        let newest = block_of(highest);
        let oldest = (newest + 1).saturating_sub(MAX_BLOCKS);
        // The relay's count went back, or so far ahead that no block is left: begin anew.
        if self.first > newest || oldest.saturating_sub(self.first) as usize >= self.blocks.len() {
            self.blocks.clear();
            self.first = oldest;
        }
        while self.first < oldest {
            self.blocks.pop_front();
            self.first += 1;
        }
        if number > newest {
            return None;
        }
        let index = number.checked_sub(self.first)? as usize;
        if self.blocks.len() <= index {
            self.blocks.resize_with(index + 1, ReceivedBlock::default);
        }
        self.blocks.get_mut(index)
    }

    fn recover(&mut self, number: u32) -> Vec<(Pkt, Original)> {
        let Some(block) = number.checked_sub(self.first).and_then(|index| self.blocks.get_mut(index as usize)) else {
            return Vec::new();
        };
        // Reed-Solomon: any k of the k + r datagrams bring the block back, fewer bring nothing.
        if block.came != u64::MAX && (block.came.count_zeros() as usize) > block.shards.len() {
            return Vec::new();
        }
        let mut recovered = Vec::new();
        if block.came != u64::MAX {
            block.originals.resize(usize::from(BLOCK), None);
            let Some(originals) = self.decoder.recover(&block.originals, block.r, &block.shards) else {
                block.failures += 1;
                block.forget_shards();
                return Vec::new();
            };
            recovered = originals;
        }
        // Complete: only that it is has to be remembered, so that its memory goes back.
        *block = ReceivedBlock { came: u64::MAX, last_shard: block.last_shard, ..ReceivedBlock::default() };
        recovered.into_iter().map(|(place, original)| (pkt_at(number, place), original)).collect()
    }
}

impl ReceivedBlock {
    fn forget_shards(&mut self) {
        self.bytes -= self.shards.drain(..).map(|(_, shard)| shard.len()).sum::<usize>();
    }
}

fn place(pkt: Pkt) -> u8 {
    bit_of(pkt).trailing_zeros() as u8
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use gaung_proto::{Seq, datagram::Fragment};

    use super::*;
    use crate::parity::{Encoder, SHARDS};

    fn original(pkt: u32) -> Original {
        Original { seq: Seq(pkt.into()), fragment: Fragment::WHOLE, bytes: vec![pkt as u8; 100].into() }
    }

    fn shards(block: u32) -> Vec<Bytes> {
        let originals: Vec<_> = (0..BLOCK).map(|place| original(pkt_at(block, place).0)).collect();
        Encoder::default().encode(&originals).unwrap()
    }

    fn parity(block: u32, index: u8, shard: &[u8]) -> Parity<'_> {
        Parity { first_pkt: pkt_at(block, 0), k: BLOCK, r: SHARDS, index, shard }
    }

    /// All but `lost` of block 2 came.
    fn lossy(lost: &[u32]) -> ReceivedBlocks {
        let mut blocks = ReceivedBlocks::default();
        for pkt in (129..=192).filter(|pkt| !lost.contains(pkt)) {
            assert!(blocks.handle_data(Pkt(192), Pkt(pkt), original(pkt)).is_empty());
        }
        blocks
    }

    #[test]
    fn as_many_shards_as_are_missing_bring_them_back() {
        let (now, shards) = (Instant::now(), shards(2));
        let mut blocks = lossy(&[129, 150, 192]);
        assert_eq!(blocks.lacking(2), None, "without parity each is wanted");
        assert!(blocks.handle_parity(now, Pkt(192), &parity(2, 7, &shards[7])).is_empty());
        assert!(blocks.handle_parity(now, Pkt(192), &parity(2, 7, &shards[7])).is_empty(), "the same again");
        assert_eq!((blocks.lacking(2), blocks.last_shard(PktRange { first: 150, last: 700 })), (Some(2), Some(now)));
        assert_eq!(blocks.last_shard(PktRange { first: 1, last: 128 }), None);
        assert!(blocks.handle_parity(now, Pkt(192), &parity(2, 0, &shards[0])).is_empty());
        let recovered = blocks.handle_data(Pkt(192), Pkt(192), original(192));
        let pkts: Vec<_> = recovered.iter().map(|(pkt, original)| (pkt.0, original.seq.0)).collect();
        assert_eq!(pkts, [(129, 129), (150, 150)], "a repair counts as a shard does");
        assert!(blocks.handle_parity(now, Pkt(192), &parity(2, 1, &shards[1])).is_empty(), "complete");
        assert_eq!(blocks.lacking(2), None);
    }

    #[test]
    fn parity_of_unknown_old_or_odd_blocks_is_dropped() {
        let (now, shards) = (Instant::now(), shards(2));
        let mut blocks = lossy(&[129]);
        let highest = Pkt(192);
        for number in [3, 1000, u32::MAX / 64 / 2] {
            assert!(blocks.handle_parity(now, highest, &parity(number, 0, &shards[0])).is_empty());
        }
        let odd = Parity { first_pkt: Pkt(130), ..parity(2, 0, &shards[0]) };
        assert!(blocks.handle_parity(now, highest, &odd).is_empty());
        assert!(blocks.handle_parity(now, highest, &Parity { k: 63, ..parity(2, 0, &shards[0]) }).is_empty());
        assert!(blocks.blocks.len() <= MAX_BLOCKS as usize);
        assert!(blocks.handle_parity(now, Pkt(192 + 64 * MAX_BLOCKS), &parity(2, 0, &shards[0])).is_empty());
        assert!(blocks.blocks.len() <= MAX_BLOCKS as usize);
    }

    #[test]
    fn forged_shards_do_not_keep_true_ones_out_and_cost_little() {
        let (now, shards) = (Instant::now(), shards(2));
        let mut blocks = lossy(&[129, 130]);
        let forged = [0xab; 1000];
        blocks.handle_parity(now, Pkt(192), &parity(2, 9, &forged));
        assert!(blocks.handle_parity(now, Pkt(192), &parity(2, 0, &shards[0])).is_empty());
        assert_eq!(blocks.handle_parity(now, Pkt(192), &parity(2, 1, &shards[1])).len(), 2);

        let mut blocks = lossy(&[129, 130]);
        let forged = vec![0xab; shards[0].len()];
        for index in 0..40 {
            assert!(blocks.handle_parity(now, Pkt(192), &parity(2, index, &forged)).is_empty());
        }
        assert_eq!(blocks.blocks[2].failures, MAX_FAILURES);
        assert_eq!((blocks.blocks[2].shards.len(), blocks.bytes()), (0, 62 * 100));
    }

    #[test]
    fn jumps_of_the_count_keep_memory_bounded() {
        let mut blocks = ReceivedBlocks::default();
        for pkt in (1..2_000_000).step_by(61) {
            blocks.handle_data(Pkt(pkt), Pkt(pkt), original(pkt));
            assert!(blocks.blocks.len() <= MAX_BLOCKS as usize && blocks.bytes() <= MAX_BYTES);
        }
        blocks.handle_data(Pkt(5), Pkt(5), original(5));
        assert_eq!((blocks.first, blocks.blocks.len()), (0, 1), "the relay's word counts when it goes back");
    }
}
