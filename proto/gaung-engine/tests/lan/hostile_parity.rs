//! Forged parity among true: it may cost repairs by parity, never a panic, memory, or a message.

use std::time::Duration;

use bytes::BytesMut;
use gaung_engine::{ArrivalSocket, LanePolicy};
use gaung_proto::{
    Epoch, Pkt, Seq,
    body::{Parity, ShardFields},
    datagram::{Fragment, PacketType},
};
use rand::{Rng as _, rngs::SmallRng};

use super::{CALM, MS, forged, net::Lan, net::Weather, seeds};

/// A datagram that says it is a shard of a block near `pkt`; most fields may be right, none need be.
fn shard(rng: &mut SmallRng, pkt: u32) -> Vec<u8> {
    let near = pkt.saturating_sub(rng.random_range(0..300)).max(1);
    let first_pkt = match rng.random_range(0..10) {
        0 => rng.random_range(1..Pkt::FIRST_OTHER.0),
        1 => near,
        _ => (near - 1) / 64 * 64 + 1,
    };
    let usual = rng.random_bool(0.8);
    let k = if usual { 64 } else { rng.random_range(1..=64) };
    let r = if usual { 64 } else { rng.random_range(1..=255 - k) };
    let len = if usual { 1272 } else { rng.random_range(8..=636) * 2 };
    let mut shard = BytesMut::new();
    if rng.random() {
        let fields = ShardFields {
            seq: Seq(rng.random_range(1..=u64::MAX / 2)),
            fragment: Fragment { index: 0, count: rng.random_range(1..=210) },
            length: rng.random(),
        };
        fields.write(&mut shard);
    }
    shard.resize(len, rng.random());
    let mut body = BytesMut::new();
    Parity { first_pkt: Pkt(first_pkt), k, r, index: rng.random_range(0..r), shard: &shard }.write(&mut body);
    if rng.random_bool(0.1) {
        let at = rng.random_range(0..body.len());
        body[at] = rng.random();
    }
    forged(PacketType::Parity, Epoch(1), Seq::ZERO, Fragment::WHOLE).encode(&body).to_vec()
}

#[test]
fn forged_parity_costs_no_message() {
    for seed in seeds(6) {
        let mut lan = Lan::new(seed, Weather { loss: 0.1, ..CALM });
        for _ in 0..3 {
            lan.join(Seq::FIRST, LanePolicy::MulticastOnly, true);
        }
        lan.run_for(300 * MS);
        for _ in 0..600 {
            let lengths: Vec<_> = (0..4).map(|_| lan.rng.random_range(900..2000)).collect();
            lan.publish(&lengths);
            lan.run_for(Duration::from_micros(300));
            let pkt = lan.relay.stats().data as u32;
            for _ in 0..lan.rng.random_range(0..4) {
                let shard = shard(&mut lan.rng, pkt);
                lan.inject(0, ArrivalSocket::Group, &shard);
            }
        }
        lan.run_for(10_000 * MS);
        assert!(lan.relay.stats().parity > 100, "seed {seed}: {:?}", lan.relay.stats());
        for (id, member) in lan.members.iter().enumerate() {
            member.check(&lan.log, Seq::FIRST, &format!("seed {seed}, member {id}"));
        }
        assert_eq!(lan.members[1].readings, 0, "seed {seed}: who hears no forgery is not concerned");
        let stats = lan.members[1].receiver.stats();
        assert!(stats.recovered > 50, "seed {seed}: fragments come back too: {stats:?}");
    }
}
