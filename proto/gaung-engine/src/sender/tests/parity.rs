use gaung_proto::body::Parity;

use super::*;
use crate::{
    parity::{Decoder, Original, SHARDS},
    timing::{self, TIMING},
};

/// Datagrams of two blocks, sent within 10 ms; seq is pkt, for each holds one message.
fn two_blocks() -> (Bench, Vec<Transmit>) {
    let mut bench = Bench::with(SenderConfig { repair_bytes: 1 << 20, ..config(0) });
    let sent: Vec<_> = (0..8).flat_map(|n| bench.send(n * 16 + 1, &[1100; 16])).collect();
    assert_eq!(sent.len(), 128);
    (bench, sent)
}

fn miss(seqs: &[u64]) -> Vec<NakRange> {
    seqs.iter().map(|&seq| NakRange::messages(Seq(seq), Seq(seq))).collect()
}

/// First pkt of the block, and index.
type Shard = (u32, u8);
/// Seq, and whether it went to the group.
type Repair = (u64, bool);

fn repairs(sent: &[Transmit]) -> (Vec<Shard>, Vec<Repair>) {
    let (mut shards, mut plain) = (Vec::new(), Vec::new());
    for transmit in sent {
        let (header, body) = Header::decode(&transmit.payload).unwrap();
        if header.packet_type == PacketType::Parity {
            let parity = Parity::decode(body).unwrap();
            assert_eq!((parity.k, parity.r), (BLOCK, SHARDS));
            assert!(header.pkt >= Pkt::FIRST_OTHER && is_multicast(transmit));
            shards.push((parity.first_pkt.0, parity.index));
        }
        plain.extend(data_seq(transmit).map(|seq| (seq, is_multicast(transmit))));
    }
    (shards, plain)
}

#[test]
fn members_that_miss_different_datagrams_get_parity_for_the_one_that_misses_most() {
    let (mut bench, sent) = two_blocks();
    bench.nak(1, miss(&[3, 9]));
    bench.nak(2, miss(&[4, 30, 64]));
    bench.nak(3, miss(&[64, 65]));
    let served = bench.advance(TIMING.repair_gather_max);
    let (shards, plain) = repairs(&served);
    assert_eq!(shards, [(1, 0), (1, 1), (1, 2)]);
    assert_eq!(plain, [(65, false)], "in the next block one member misses one");

    let mut originals: Vec<_> = sent[..64]
        .iter()
        .map(|transmit| {
            let (header, bytes) = data(transmit);
            Some(Original { seq: header.seq, fragment: header.fragment, bytes: bytes.into() })
        })
        .collect();
    [3, 29, 63].iter().for_each(|&place: &usize| originals[place] = None);
    let shard = |transmit: &Transmit| {
        let (_, body) = Header::decode(&transmit.payload).unwrap();
        let parity = Parity::decode(body).ok()?;
        (header(transmit).packet_type == PacketType::Parity)
            .then(|| (parity.index, Bytes::copy_from_slice(parity.shard)))
    };
    let shards: Vec<_> = served.iter().filter_map(shard).collect();
    let recovered = Decoder::default().recover(&originals, SHARDS, &shards).unwrap();
    let seqs: Vec<_> = recovered.iter().map(|(_, original)| original.seq.0).collect();
    assert_eq!(seqs, [4, 30, 64]);
    assert_eq!(recovered[0].1.bytes, data(&sent[3]).1);
}

#[test]
fn asks_that_crossed_parity_are_not_served_and_later_ones_get_the_next_shards() {
    let (mut bench, _) = two_blocks();
    bench.nak(1, miss(&[3, 9]));
    bench.nak(2, miss(&[4, 5]));
    assert_eq!(repairs(&bench.advance(TIMING.repair_gather_max)).0, [(1, 0), (1, 1)]);
    bench.nak(3, miss(&[10]));
    bench.nak(1, miss(&[3, 9]));
    assert_eq!(repairs(&bench.advance(TIMING.repair_gather_max)), (vec![], vec![]), "two shards are on their way");
    bench.advance(timing::linger(bench.sender.grtt));
    bench.nak(1, miss(&[3]));
    bench.nak(2, miss(&[4]));
    assert_eq!(repairs(&bench.advance(TIMING.repair_gather_max)).0, [(1, 2)], "both lost one of two");
    bench.nak(3, miss(&[10, 11]));
    assert_eq!(
        repairs(&bench.advance(TIMING.repair_gather_max)),
        (vec![], vec![]),
        "three were sent since it began to count"
    );
    bench.advance(timing::linger(bench.sender.grtt));
    bench.nak(3, miss(&[10, 11]));
    assert_eq!(
        repairs(&bench.advance(TIMING.repair_gather_max)).1,
        [(10, false), (11, false)],
        "as cheap as two shards"
    );
}

#[test]
fn a_block_in_the_making_is_waited_for() {
    let mut bench = Bench::with(SenderConfig { repair_bytes: 1 << 20, ..config(0) });
    bench.status(1, 0);
    assert_eq!(timing::gather(bench.sender.grtt), TIMING.repair_gather_min, "members are near");
    bench.send(1, &[1100; 64]);
    bench.send(65, &[1100; 60]);
    bench.nak(1, miss(&[66]));
    bench.nak(2, miss(&[70]));
    assert_eq!(repairs(&bench.advance(TIMING.repair_gather_min)), (vec![], vec![]));
    bench.send(125, &[1100; 4]);
    assert_eq!(repairs(&bench.advance(TIMING.repair_gather_max)).0, [(65, 0)]);

    bench.send(129, &[1100; 60]);
    bench.nak(1, miss(&[130]));
    bench.nak(2, miss(&[131]));
    let halted: Vec<_> = (0..5).flat_map(|_| bench.advance(TIMING.repair_gather_min)).collect();
    assert_eq!(repairs(&halted).1, [(130, false), (131, false)], "nothing more of it came");
}

#[test]
fn slow_data_is_repaired_datagram_by_datagram() {
    let mut bench = Bench::with(SenderConfig { repair_bytes: 1 << 20, ..config(0) });
    for seq in 1..=64 {
        bench.send(seq, &[1100]);
        bench.advance(Duration::from_micros(200));
    }
    bench.nak(1, miss(&[3, 4]));
    bench.nak(2, miss(&[5, 6]));
    let (shards, mut plain) = repairs(&bench.advance(TIMING.repair_gather_max));
    plain.sort_unstable();
    assert_eq!((shards, plain.iter().map(|(seq, _)| *seq).collect::<Vec<_>>()), (vec![], vec![3, 4, 5, 6]));
}

#[test]
fn when_the_shards_are_used_up_datagrams_are_sent_again() {
    let (mut bench, _) = two_blocks();
    let mut parity = 0;
    for round in 0..20 {
        bench.nak(1, miss(&[1, 2, 3, 4]));
        bench.nak(2, miss(&[5, 6, 7, 8]));
        let (shards, plain) = repairs(&bench.advance(TIMING.repair_gather_max));
        shards.iter().enumerate().for_each(|(i, shard)| assert_eq!(shard.1 as usize, parity + i, "each once"));
        parity += shards.len();
        assert_eq!(plain.len(), if shards.is_empty() { 8 } else { 0 }, "round {round}");
        bench.advance(timing::linger(bench.sender.grtt));
    }
    assert!(parity <= SHARDS.into() && parity > 56, "{parity}");
}

/// Whatever is asked for, by members and strangers under many names: no more leaves than was sent, and no member draws
/// more than its own share.
#[test]
fn parity_is_no_amplifier() {
    let (mut bench, _) = two_blocks();
    let mut rng = SmallRng::seed_from_u64(7);
    let began = bench.now;
    let mut sent = Vec::new();
    while bench.now < began + 900 * MS {
        let member = rng.random_range(1..=5);
        let seqs: Vec<_> = (0..32).map(|_| rng.random_range(1..=128)).collect();
        sent.extend(bench.nak(member, miss(&seqs)));
        let stranger = Nak { sender: SenderId([rng.random(); 16]), cookie: Cookie(1), ranges: miss(&seqs) };
        sent.extend(bench.hear(addr(rng.random()), PacketType::Nak, 0, &body(|out| stranger.write(out))));
        sent.extend(bench.advance(MS / 2));
    }
    let (shards, plain) = repairs(&sent);
    let limit = 5 * limits::MAX_REQUESTED_PER_HOST + limits::MAX_REQUESTED_UNPROVEN;
    assert!(shards.len() + plain.len() <= limit as usize, "{} {}", shards.len(), plain.len());
    let stats = bench.sender.stats();
    assert!(stats.requests_refused > 1000 && shards.len() <= usize::from(SHARDS) * 2, "{stats:?}");
}
