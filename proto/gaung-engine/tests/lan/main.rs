//! Relay and members over a simulated network: each message once, in order, whatever the weather.
#![allow(clippy::unwrap_used, missing_docs)]
#![allow(clippy::disallowed_methods, reason = "a test has to begin at some instant")]

mod forged_data;
mod hostile_parity;
mod moving;
mod narrow_path;
mod net;
mod rates;

use std::time::Duration;

use gaung_engine::{ArrivalSocket, LanePolicy, LaneTrouble, ReceiverEvent};
use gaung_proto::{
    Epoch, Generation, Pkt, Seq,
    body::{Heartbeat, NakRange, Ncf},
    datagram::{Fragment, Header, PacketType},
    net::Lane,
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use net::{GROUP, LOG, Lan, RELAY, Weather};

const CALM: Weather = Weather { loss: 0.0, loss_up: 0.0, double: 0.0, delay_us: (50, 60) };
const STORM: Weather = Weather { loss: 0.1, loss_up: 0.1, double: 0.05, delay_us: (50, 4000) };
const MS: Duration = Duration::from_millis(1);

/// Seeds of one test; `GAUNG_SEED` runs a single one again.
fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let one = std::env::var("GAUNG_SEED").ok().and_then(|seed| seed.parse().ok());
    let range = one.map_or(0..count, |seed: u64| seed..seed + 1);
    range.inspect(|seed| println!("seed {seed}"))
}

fn length(rng: &mut SmallRng) -> usize {
    match rng.random_range(0..20) {
        0 => rng.random_range(1300..20_000),
        1..5 => rng.random_range(0..1300),
        _ => rng.random_range(0..60),
    }
}

fn publish_randomly(lan: &mut Lan, batches: usize) {
    for _ in 0..batches {
        let lengths: Vec<_> = (0..lan.rng.random_range(1..4)).map(|_| length(&mut lan.rng)).collect();
        lan.publish(&lengths);
        let pause = lan.rng.random_range(0..6_000);
        lan.run_for(Duration::from_micros(pause));
    }
}

#[test]
fn in_calm_weather_nothing_is_asked_for() {
    let mut lan = Lan::new(1, CALM);
    for _ in 0..4 {
        lan.join(Seq::FIRST, LanePolicy::Auto, true);
    }
    lan.run_for(100 * MS);
    publish_randomly(&mut lan, 300);
    lan.run_for(3000 * MS);
    let stats = lan.relay.stats();
    assert_eq!((stats.naks, stats.repairs_multicast, stats.repairs_unicast), (0, 0, 0));
    assert!(stats.statuses > 10, "{stats:?}");
    for member in &lan.members {
        member.check(&lan.log, Seq::FIRST, "calm");
        assert_eq!(member.readings, 0);
        assert_eq!(member.lanes, [ReceiverEvent::LaneUp]);
        assert!(member.delivered.iter().all(|(.., lane)| *lane == Lane::Multicast));
    }
}

#[test]
fn in_a_storm_every_message_comes_once_and_in_order() {
    for seed in seeds(30) {
        let mut lan = Lan::new(seed, STORM);
        for _ in 0..5 {
            lan.join(Seq::FIRST, LanePolicy::MulticastOnly, true);
        }
        lan.run_for(300 * MS);
        publish_randomly(&mut lan, 200);
        lan.run_for(10_000 * MS);
        for (id, member) in lan.members.iter().enumerate() {
            member.check(&lan.log, Seq::FIRST, &format!("seed {seed} member {id} {:?}", member.receiver.stats()));
            assert!(member.filled.iter().map(|range| range.len()).sum::<u64>() > 0, "seed {seed}");
            assert!(member.delivered.iter().filter(|(.., lane)| *lane == Lane::Multicast).count() > 100, "seed {seed}");
        }
    }
}

#[test]
fn a_late_joiner_reads_the_past_from_the_log() {
    for seed in seeds(10) {
        let mut lan = Lan::new(seed, Weather { loss: 0.02, loss_up: 0.02, ..STORM });
        lan.join(Seq::FIRST, LanePolicy::MulticastOnly, true);
        lan.run_for(300 * MS);
        publish_randomly(&mut lan, 1000);
        let late = lan.join(Seq::FIRST, LanePolicy::MulticastOnly, true);
        let (now, head) = (lan.now, lan.head());
        lan.members[late].receiver.handle_head(now, head);
        lan.drain();
        publish_randomly(&mut lan, 200);
        lan.run_for(10_000 * MS);
        let member = &lan.members[late];
        member.check(&lan.log, Seq::FIRST, &format!("seed {seed}"));
        assert!(member.gaps.iter().all(|gap| gap.first > head), "the past is no gap, seed {seed}: {:?}", member.gaps);
        assert!(member.delivered.iter().take(1000).all(|(.., lane)| *lane == Lane::History), "seed {seed}");
        assert_eq!(member.delivered.last().unwrap().2, Lane::Multicast, "seed {seed}");
    }
}

#[test]
fn whoever_stops_reading_holds_nothing_up_and_catches_up() {
    for seed in seeds(5) {
        let mut lan = Lan::new(seed, Weather { loss: 0.01, loss_up: 0.01, ..CALM });
        let (quick, slow) = (
            lan.join(Seq::FIRST, LanePolicy::MulticastOnly, true),
            lan.join(Seq::FIRST, LanePolicy::MulticastOnly, true),
        );
        lan.run_for(300 * MS);
        lan.members[slow].reads = false;
        publish_randomly(&mut lan, 4000);
        lan.run_for(2000 * MS);
        lan.members[quick].check(&lan.log, Seq::FIRST, &format!("seed {seed}"));
        let naks = lan.members[slow].receiver.stats().naks;
        lan.members[slow].reads = true;
        lan.drain();
        lan.run_for(10_000 * MS);
        lan.members[slow].check(&lan.log, Seq::FIRST, &format!("seed {seed}"));
        assert!(lan.members[slow].receiver.stats().naks < naks + 20, "what found no place is read, not repaired");
    }
}

#[test]
fn without_a_log_what_cannot_be_repaired_is_lost_and_told() {
    for seed in seeds(10) {
        let mut lan = Lan::new(seed, Weather { loss: 0.05, loss_up: 0.05, ..CALM });
        let id = lan.join(Seq::FIRST, LanePolicy::MulticastOnly, false);
        lan.run_for(300 * MS);
        publish_randomly(&mut lan, 50);
        lan.run_for(2000 * MS);
        lan.members[id].check(&lan.log, Seq::FIRST, &format!("seed {seed}"));
        lan.members[id].hears = false;
        for _ in 0..6000 {
            lan.publish(&[1000]);
        }
        lan.run_for(1000 * MS);
        lan.members[id].hears = true;
        publish_randomly(&mut lan, 50);
        lan.run_for(20_000 * MS);
        publish_randomly(&mut lan, 5);
        lan.run_for(2000 * MS);
        let member = &lan.members[id];
        let lost: u64 = member.lost.iter().map(|range| range.len()).sum();
        assert!(lost > 100, "seed {seed}");
        assert_eq!(member.delivered.len() as u64 + lost, lan.head().0, "seed {seed}");
        let mut seqs: Vec<_> = member.delivered.iter().map(|(seq, ..)| *seq).collect();
        assert_eq!(member.delivered.last().unwrap().0, lan.head(), "seed {seed}");
        seqs.dedup();
        assert!(seqs.is_sorted() && seqs.len() == member.delivered.len(), "seed {seed}");
    }
}

#[test]
fn a_member_that_hears_nothing_says_so_and_comes_back() {
    let mut lan = Lan::new(1, CALM);
    let id = lan.join(Seq::FIRST, LanePolicy::Auto, true);
    lan.members[id].hears = false;
    lan.run_for(2000 * MS);
    let down = |event: &ReceiverEvent| matches!(event, ReceiverEvent::LaneDown { why: LaneTrouble::NotHeard, .. });
    assert!(matches!(&lan.members[id].lanes[..], [event] if down(event)), "{:?}", lan.members[id].lanes);
    lan.publish(&[10; 50]);
    lan.run_for(1000 * MS);
    let run = lan.log[0].clone();
    let now = lan.now;
    lan.members[id].receiver.handle_run(now, &run, Lane::Tcp).unwrap();
    lan.drain();
    lan.members[id].check(&lan.log, Seq::FIRST, "by the hub");
    lan.members[id].hears = true;
    lan.run_for(8000 * MS);
    assert_eq!(lan.members[id].lanes.last(), Some(&ReceiverEvent::LaneUp));
    lan.publish(&[10; 50]);
    lan.run_for(1000 * MS);
    lan.members[id].check(&lan.log, Seq::FIRST, "by multicast again");
    assert_eq!(lan.members[id].readings, 0);
}

#[test]
fn a_relay_that_is_elsewhere_is_returned_to_as_soon_as_at_first() {
    let mut lan = Lan::new(1, CALM);
    let id = lan.join(Seq::FIRST, LanePolicy::Auto, true);
    lan.run_for(1000 * MS);
    let mut returned = Vec::new();
    for moves in [false, false, true] {
        lan.members[id].hears = false;
        lan.run_for(5000 * MS);
        assert!(matches!(lan.members[id].lanes.last(), Some(ReceiverEvent::LaneDown { .. })));
        if moves {
            let (now, receiver) = (lan.now, &mut lan.members[id].receiver);
            for relay in [None, Some(RELAY)] {
                receiver.handle_change(now, LOG, Lan::tag(), relay, Seq::FIRST);
            }
        }
        lan.members[id].hears = true;
        let seconds = (0..60).find(|_| {
            lan.run_for(1000 * MS);
            lan.members[id].lanes.last() == Some(&ReceiverEvent::LaneUp)
        });
        returned.push(seconds.unwrap());
    }
    assert!(returned[1] > returned[0] && returned[2] <= returned[0], "{returned:?}");
}

fn heartbeat(head: u64, change: impl FnOnce(&mut Heartbeat)) -> Vec<u8> {
    let mut heartbeat = Heartbeat {
        group: GROUP,
        log: LOG,
        oldest_repairable: Seq(1),
        oldest_logged: Seq(1),
        epoch_start: Seq(1),
        last_pkt: Pkt(0),
        grtt_us: 1000,
        group_size: 1,
        generation: Generation(1),
    };
    change(&mut heartbeat);
    let mut body = bytes::BytesMut::new();
    heartbeat.write(&mut body);
    forged(PacketType::Heartbeat, Epoch(1), Seq(head), Fragment::WHOLE).encode(&body).to_vec()
}

fn forged(packet_type: PacketType, epoch: Epoch, seq: Seq, fragment: Fragment) -> Header {
    Header { packet_type, flags: 0, tag: Lan::tag(), epoch, pkt: Pkt(7), seq, fragment, ts_us: 0 }
}

#[test]
fn a_heartbeat_that_lies_costs_a_reading_and_skips_nothing() {
    for seed in seeds(10) {
        let mut lan = Lan::new(seed, Weather { loss: 0.02, loss_up: 0.02, ..CALM });
        let id = lan.join(Seq::FIRST, LanePolicy::MulticastOnly, true);
        lan.run_for(300 * MS);
        for round in 0..200u64 {
            publish_randomly(&mut lan, 2);
            let lie = match round % 4 {
                0 => heartbeat(u64::MAX / 2, |_| {}),
                1 => heartbeat(lan.head().0 + 50, |_| {}),
                2 => heartbeat(lan.head().0, |heartbeat| {
                    heartbeat.grtt_us = u32::MAX;
                    heartbeat.group_size = u32::MAX;
                    heartbeat.oldest_repairable = Seq(u64::MAX / 2);
                    heartbeat.last_pkt = Pkt(u32::MAX);
                }),
                _ => {
                    let mut body = bytes::BytesMut::new();
                    Ncf { ranges: vec![NakRange::messages(Seq(1), Seq(u64::MAX / 2)); 32] }.write(&mut body);
                    forged(PacketType::Ncf, Epoch(1), Seq(0), Fragment::WHOLE).encode(&body).to_vec()
                }
            };
            lan.inject(id, ArrivalSocket::Group, &lie);
        }
        lan.run_for(20_000 * MS);
        let member = &lan.members[id];
        member.check(&lan.log, Seq::FIRST, &format!("seed {seed}"));
        assert!(member.readings < 60, "readings are rationed: {}", member.readings);
    }
}

#[test]
fn datagrams_alone_are_enough_to_outlast_made_up_heads() {
    for seed in seeds(10) {
        let mut lan = Lan::new(seed, Weather { loss: 0.02, loss_up: 0.02, ..CALM });
        let id = lan.join(Seq::FIRST, LanePolicy::MulticastOnly, false);
        lan.run_for(300 * MS);
        for round in 0..400u64 {
            publish_randomly(&mut lan, 2);
            let head = match round % 3 {
                0 => u64::MAX / 2,
                1 => lan.head().0 + 100_000,
                _ => lan.head().0 + 50,
            };
            let lie = heartbeat(head, |heartbeat| heartbeat.oldest_repairable = Seq(head + 1));
            // So that all of the last ones that came may be made up.
            (0..3).for_each(|_| lan.inject(id, ArrivalSocket::Group, &lie));
        }
        lan.run_for(2000 * MS);
        let member = &lan.members[id];
        assert_eq!((&member.lost[..], &member.forged[..]), (&[][..], &[][..]), "seed {seed}");
        member.check(&lan.log, Seq::FIRST, &format!("seed {seed}"));
    }
}

#[test]
fn forged_and_mutated_datagrams_never_panic_and_do_no_lasting_harm() {
    for seed in seeds(20) {
        let mut lan = Lan::new(seed, CALM);
        let id = lan.join(Seq::FIRST, LanePolicy::MulticastOnly, true);
        lan.run_for(300 * MS);
        publish_randomly(&mut lan, 20);
        let mut rng = SmallRng::seed_from_u64(seed);
        let types = [PacketType::Heartbeat, PacketType::Ncf, PacketType::Data, PacketType::Probe, PacketType::Parity];
        for _ in 0..2000 {
            let packet_type = types[rng.random_range(0..types.len())];
            let far = rng.random_range(0..63);
            let seq = Seq(1 + rng.random_range(0..u64::MAX >> (1 + far)));
            let count = if packet_type == PacketType::Data { rng.random_range(1..=200) } else { 1 };
            let fragment = Fragment { index: rng.random_range(0..count), count };
            let mut header = forged(packet_type, Epoch(rng.random()), seq, fragment);
            header.pkt = Pkt(rng.random());
            header.flags = rng.random_range(0..4);
            let body: Vec<u8> = (0..rng.random_range(0..1256)).map(|_| rng.random()).collect();
            let via = if rng.random() { ArrivalSocket::Group } else { ArrivalSocket::Unicast };
            lan.inject(id, via, &header.encode(&body));
            lan.run_for(Duration::from_micros(rng.random_range(0..500)));
        }
        publish_randomly(&mut lan, 20);
        lan.run_for(30_000 * MS);
        lan.members[id].check(&lan.log, Seq::FIRST, &format!("seed {seed}"));
    }
}

#[test]
fn what_all_lose_few_ask_for() {
    for seed in seeds(2) {
        let mut lan = Lan::new(seed, Weather { loss: 0.0, loss_up: 0.0, double: 0.0, delay_us: (50, 150) });
        for _ in 0..60 {
            lan.join(Seq(1), LanePolicy::MulticastOnly, true);
        }
        lan.run_for(3000 * MS);
        for _ in 0..10 {
            lan.members.iter_mut().for_each(|member| member.hears = false);
            lan.publish(&[500]);
            lan.run_for(MS);
            lan.members.iter_mut().for_each(|member| member.hears = true);
            lan.run_for(300 * MS);
        }
        let naks: u64 = lan.members.iter().map(|member| member.receiver.stats().naks).sum();
        assert!((10..=50).contains(&naks), "seed {seed}: {naks} NAKs for 10 datagrams");
        let repairs = lan.relay.stats().repairs_multicast + lan.relay.stats().repairs_unicast;
        assert!((10..=15).contains(&repairs), "seed {seed}: {repairs} repairs of 10 datagrams");
        lan.members.iter().for_each(|member| member.check(&lan.log, Seq(1), &format!("seed {seed}")));
    }
}

#[test]
fn the_end_of_a_long_last_message_is_asked_for_without_a_log() {
    for seed in seeds(20) {
        let mut lan = Lan::new(seed, CALM);
        lan.join(Seq(1), LanePolicy::MulticastOnly, false);
        lan.run_for(1000 * MS);
        lan.weather.loss = 0.4;
        lan.publish(&[10_000]);
        lan.weather.loss = 0.0;
        lan.run_for(4000 * MS);
        lan.members[0].check(&lan.log, Seq(1), &format!("seed {seed}"));
    }
}
