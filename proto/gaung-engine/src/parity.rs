//! Reed–Solomon over blocks of first-sent DATA (RFC 5510 gives the idea, Leopard over GF(2¹⁶) the code): how shards are
//! laid out, made and turned back. A block is 64 datagrams in a row, aligned: pkt 1 to 64, 65 to 128, …

use bytes::{BufMut as _, Bytes, BytesMut};
use gaung_proto::{
    Pkt, Seq,
    body::{Parity, ShardFields},
    datagram::Fragment,
};
use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

/// Datagrams of a block, the unit that parity repairs.
pub(crate) const BLOCK: u8 = Parity::MAX_BLOCK;
/// Parity shards made for a block: enough for 40 % loss and for shards that are lost themselves.
pub(crate) const SHARDS: u8 = 64;

/// Returns the block of a first-sent datagram, from 0.
pub(crate) const fn block_of(pkt: Pkt) -> u32 {
    pkt.0.saturating_sub(1) / BLOCK as u32
}

/// Returns a datagram's place in its block, as a bit.
pub(crate) const fn bit_of(pkt: Pkt) -> u64 {
    1 << (pkt.0.saturating_sub(1) % BLOCK as u32)
}

/// Returns the datagram at a place of a block.
pub(crate) const fn pkt_at(block: u32, place: u8) -> Pkt {
    Pkt(block * BLOCK as u32 + place as u32 + 1)
}

/// The part of a DATA that a block keeps.
#[derive(Debug, Clone)]
pub(crate) struct Original {
    pub(crate) seq: Seq,
    pub(crate) fragment: Fragment,
    pub(crate) bytes: Bytes,
}

impl Original {
    /// Returns the bytes of its shard before padding.
    fn shard_len(&self) -> usize {
        Parity::SHARD_FIELDS + self.bytes.len()
    }

    fn shard(&self, shard_bytes: usize, out: &mut BytesMut) {
        out.clear();
        ShardFields { seq: self.seq, fragment: self.fragment, length: self.bytes.len() as u16 }.write(out);
        out.put_slice(&self.bytes);
        out.resize(shard_bytes, 0);
    }

    fn from_shard(shard: &[u8]) -> Option<Self> {
        let (ShardFields { seq, fragment, length: _ }, bytes) = ShardFields::decode(shard).ok()?;
        Some(Self { seq, fragment, bytes: Bytes::copy_from_slice(bytes) })
    }
}

/// Makes parity; keeps its working space (160 KiB), which is taken at the first use.
#[derive(Default)]
pub(crate) struct Encoder(Option<ReedSolomonEncoder>);

impl Encoder {
    /// Returns all [`SHARDS`] of a block of [`BLOCK`] datagrams.
    pub(crate) fn encode(&mut self, block: &[Original]) -> Option<Vec<Bytes>> {
        let shard_bytes = block.iter().map(Original::shard_len).max()?.next_multiple_of(2);
        let (k, r) = (block.len(), usize::from(SHARDS));
        if let Some(encoder) = &mut self.0 {
            encoder.reset(k, r, shard_bytes).ok()?;
        }
        if self.0.is_none() {
            self.0 = ReedSolomonEncoder::new(k, r, shard_bytes).ok();
        }
        let encoder = self.0.as_mut()?;
        let mut shard = BytesMut::with_capacity(shard_bytes);
        for original in block {
            original.shard(shard_bytes, &mut shard);
            encoder.add_original_shard(&shard).ok()?;
        }
        let made = encoder.encode().ok()?;
        Some(made.recovery_iter().map(Bytes::copy_from_slice).collect())
    }
}

/// Brings lost datagrams back; keeps its working space (320 KiB with 64 shards), which is taken at the first use.
#[derive(Default)]
pub(crate) struct Decoder(Option<ReedSolomonDecoder>);

impl Decoder {
    /// Recovers the datagrams missing among `originals`, by place; `None` if `shards` do not suffice or the result is
    /// invalid.
    pub(crate) fn recover(
        &mut self,
        originals: &[Option<Original>],
        r: u8,
        shards: &[(u8, Bytes)],
    ) -> Option<Vec<(u8, Original)>> {
        let shard_bytes = shards.first()?.1.len();
        if originals.iter().flatten().any(|original| original.shard_len() > shard_bytes) {
            return None;
        }
        if let Some(decoder) = &mut self.0 {
            decoder.reset(originals.len(), r.into(), shard_bytes).ok()?;
        }
        if self.0.is_none() {
            self.0 = ReedSolomonDecoder::new(originals.len(), r.into(), shard_bytes).ok();
        }
        let decoder = self.0.as_mut()?;
        let mut shard = BytesMut::with_capacity(shard_bytes);
        for (place, original) in originals.iter().enumerate() {
            let Some(original) = original else { continue };
            original.shard(shard_bytes, &mut shard);
            decoder.add_original_shard(place, &shard).ok()?;
        }
        for (index, shard) in shards {
            decoder.add_recovery_shard(usize::from(*index), shard).ok()?;
        }
        let decoded = decoder.decode().ok()?;
        let restored = decoded.restored_original_iter();
        restored.map(|(place, shard)| Some((place as u8, Original::from_shard(shard)?))).collect()
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Encoder")
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decoder")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::hash::Hasher as _;

    use rand::{Rng as _, SeedableRng as _, rngs::SmallRng, seq::SliceRandom as _};
    use siphasher::sip::SipHasher24;

    use super::*;

    fn block(rng: &mut SmallRng) -> Vec<Original> {
        let original = |place: u8| Original {
            seq: Seq(1 + u64::from(place)),
            fragment: Fragment::WHOLE,
            bytes: (0..rng.random_range(1..=1256)).map(|_| rng.random()).collect(),
        };
        (0..BLOCK).map(original).collect()
    }

    #[test]
    fn any_64_of_a_block_and_its_parity_bring_all_of_it_back() {
        let seed = rand::random();
        println!("seed {seed}");
        let mut rng = SmallRng::seed_from_u64(seed);
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        for lost in [1, 2, 13, 31, 63, 64] {
            let block = block(&mut rng);
            let parity = encoder.encode(&block).unwrap();
            assert_eq!(parity.len(), usize::from(SHARDS));
            let mut shards: Vec<(u8, Bytes)> = (0..).zip(parity).collect();
            shards.shuffle(&mut rng);
            shards.truncate(lost);
            let mut places: Vec<usize> = (0..block.len()).collect();
            places.shuffle(&mut rng);
            let mut came: Vec<_> = block.iter().cloned().map(Some).collect();
            places[..lost].iter().for_each(|&place| came[place] = None);
            let recovered = decoder.recover(&came, SHARDS, &shards).unwrap();
            assert_eq!(recovered.len(), lost);
            for (place, original) in recovered {
                let sent = &block[usize::from(place)];
                assert_eq!((original.seq, original.fragment, &original.bytes), (sent.seq, sent.fragment, &sent.bytes));
            }
            assert!(decoder.recover(&came, SHARDS, &shards[1..]).is_none(), "one too few");
        }
    }

    #[test]
    fn rubbish_is_no_datagram() {
        let mut rng = SmallRng::seed_from_u64(1);
        let block = block(&mut rng);
        let mut came: Vec<_> = block.iter().cloned().map(Some).collect();
        came[5] = None;
        let noise = |rng: &mut SmallRng, len| (0..len).map(|_| rng.random()).collect::<Bytes>();
        for _ in 0..50 {
            let shards = [(rng.random_range(0..SHARDS), noise(&mut rng, 1272))];
            assert!(Decoder::default().recover(&came, SHARDS, &shards).is_none());
            assert!(Decoder::default().recover(&came, SHARDS, &[(0, noise(&mut rng, 16))]).is_none(), "too short");
        }
    }

    /// Other programs make the same shards: another code would be another version of the protocol.
    #[test]
    fn the_code_is_the_one_on_the_wire() {
        let original = |place: u8| Original {
            seq: Seq(1000 + u64::from(place)),
            fragment: Fragment::WHOLE,
            bytes: (0..200 + usize::from(place)).map(|at| (at * 7) as u8 ^ place).collect(),
        };
        let block: Vec<_> = (0..BLOCK).map(original).collect();
        let mut hasher = SipHasher24::new();
        for shard in Encoder::default().encode(&block).unwrap() {
            assert_eq!(shard.len(), 280);
            hasher.write(&shard);
        }
        assert_eq!(hasher.finish(), 15_847_059_858_587_160_523);
    }

    #[test]
    fn places_are_aligned() {
        assert_eq!([1, 64, 65, 128].map(|pkt| block_of(Pkt(pkt))), [0, 0, 1, 1]);
        assert_eq!([1, 64, 65].map(|pkt| bit_of(Pkt(pkt))), [1, 1 << 63, 1]);
        assert_eq!((pkt_at(0, 0), pkt_at(1, 63)), (Pkt(1), Pkt(128)));
    }
}
