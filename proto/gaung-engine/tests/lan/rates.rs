//! What repair costs, in bytes and in waiting, slowly and at full speed. The figures, of six times as long a run:
//! `GAUNG_FIGURES=1 cargo test -p gaung-engine --test lan rates -- --nocapture`.

use std::time::Duration;

use gaung_engine::LanePolicy;
use gaung_proto::{Seq, net::Lane};

use super::{
    MS,
    net::{Lan, Weather},
    seeds,
};

/// One-way delay on a switched LAN with busy hosts.
const CLEAR: Weather = Weather { loss: 0.0, loss_up: 0.0, double: 0.0, delay_us: (50, 150) };
/// One message every millisecond.
const SLOW: Load = Load { messages: 1, every: MS, batches: 1200 };
/// 300 000 messages a second: 26 fill two datagrams.
const FULL: Load = Load { messages: 26, every: Duration::from_micros(87), batches: 1200 };

/// Messages of 64 B.
#[derive(Clone, Copy)]
struct Load {
    messages: usize,
    every: Duration,
    batches: usize,
}

/// What one run gave.
struct Figures {
    /// Relay to group and members, UDP payload.
    bytes: u64,
    /// Share of messages that came by datagram, at the worst member.
    by_datagram: f64,
    readings: usize,
    line: String,
}

/// A LAN whose members have told the relay of themselves.
fn settled(seed: u64, members: usize) -> Lan {
    let mut lan = Lan::new(seed, CLEAR);
    for _ in 0..members {
        lan.join(Seq::FIRST, LanePolicy::MulticastOnly, true);
    }
    lan.run_for(200 * MS);
    lan
}

fn load(lan: &mut Lan, load: Load) {
    for _ in 0..load.batches {
        lan.publish(&vec![64; load.messages]);
        lan.run_for(load.every);
    }
}

fn is_for_figures() -> bool {
    std::env::var_os("GAUNG_FIGURES").is_some()
}

fn measure(seed: u64, members: usize, mut of: Load, loss: f64, loss_up: f64) -> Figures {
    let mut lan = settled(seed, members);
    lan.weather = Weather { loss, loss_up, ..CLEAR };
    let before = lan.relay_bytes;
    of.batches *= if is_for_figures() { 6 } else { 1 };
    load(&mut lan, of);
    let bytes = lan.relay_bytes - before;
    lan.run_for(3000 * MS);
    let published = |seq: Seq| lan.published[lan.log.partition_point(|run| run.last_seq() < seq)];
    let mut waits = Vec::new();
    let mut by_datagram: f64 = 1.0;
    for (id, member) in lan.members.iter().enumerate() {
        member.check(&lan.log, Seq::FIRST, &format!("seed {seed}, member {id}, loss {loss}"));
        let direct = member.delivered.iter().filter(|(.., lane)| *lane == Lane::Multicast).count();
        by_datagram = by_datagram.min(direct as f64 / member.delivered.len() as f64);
        let delivered = member.delivered.iter().zip(&member.delivered_at);
        waits.extend(delivered.map(|((seq, ..), &at)| at - published(*seq)));
    }
    waits.sort_unstable();
    let at = |share: f64| waits[(waits.len() as f64 * share) as usize];
    let readings = lan.members.iter().map(|member| member.readings).sum();
    let line = format!(
        "p50 {:.1?}, p99 {:.1?}, p99.9 {:.1?}, by datagram {:.2} %, readings {readings}, {:?}",
        at(0.5),
        at(0.99),
        at(0.999),
        by_datagram * 100.0,
        lan.relay.stats()
    );
    Figures { bytes, by_datagram, readings, line }
}

/// `limits`: loss, and the bytes that it may cost as a ratio to those without. `share_up`: of the loss, on the way to
/// the relay.
fn compare(members: usize, load: Load, share_up: f64, limits: &[(f64, f64)]) {
    for seed in seeds(1) {
        let calm = measure(seed, members, load, 0.0, 0.0);
        println!("{members} members, no loss: {}", calm.line);
        for &(loss, limit) in limits {
            let lossy = measure(seed, members, load, loss, loss * share_up);
            let ratio = lossy.bytes as f64 / calm.bytes as f64;
            println!("{members} members, loss {:.0} %: bytes {ratio:.3}, {}", loss * 100.0, lossy.line);
            assert!(ratio <= limit, "seed {seed}, loss {loss}: {ratio}");
            let excused = share_up > 0.0 || loss > 0.2;
            assert!(excused || lossy.readings == 0, "seed {seed}, loss {loss}: {}", lossy.line);
            assert!(loss > 0.2 || lossy.by_datagram >= 0.99, "seed {seed}, loss {loss}: {}", lossy.line);
        }
    }
}

#[test]
fn slow_messages_are_repaired_one_by_one() {
    compare(4, SLOW, 0.0, &[(0.01, 1.06), (0.05, 1.25), (0.2, 1.85)]);
}

#[test]
fn at_full_speed_parity_heals_four_members_at_once() {
    compare(4, FULL, 0.0, &[(0.01, 1.05), (0.05, 1.15), (0.2, 1.4), (0.4, 1.95)]);
}

#[test]
fn at_full_speed_parity_heals_eight_members_at_once() {
    compare(8, FULL, 0.0, &[(0.01, 1.05), (0.05, 1.15), (0.2, 1.4), (0.4, 1.95)]);
}

#[test]
fn lost_naks_are_made_good() {
    compare(4, FULL, 1.0, &[(0.05, 1.15), (0.2, 1.4)]);
    compare(4, SLOW, 1.0, &[(0.05, 1.25), (0.2, 1.85)]);
}

/// 2 ms at full speed are 600 messages: a gap that is repaired. 20 ms are more than is asked for.
#[test]
fn a_short_silence_at_full_speed_is_repaired_and_a_long_one_read() {
    for seed in seeds(5) {
        for (silence, is_read) in [(2 * MS, false), (20 * MS, true)] {
            let mut lan = settled(seed, 2);
            load(&mut lan, Load { batches: 400, ..FULL });
            lan.members[0].hears = false;
            let batches = (silence.as_micros() / FULL.every.as_micros()) as usize;
            load(&mut lan, Load { batches, ..FULL });
            lan.members[0].hears = true;
            load(&mut lan, Load { batches: 400, ..FULL });
            lan.run_for(2000 * MS);
            let member = &lan.members[0];
            member.check(&lan.log, Seq::FIRST, &format!("seed {seed}, {silence:?}"));
            assert_eq!(member.readings > 0, is_read, "seed {seed}, {silence:?}");
            assert_eq!(lan.members[1].readings, 0, "seed {seed}");
        }
    }
}

#[test]
fn loss_that_is_no_congestion_is_repaired_while_the_rate_finds_that_out() {
    for seed in seeds(3) {
        // It begins at 50 Mbit/s, of which data and repairs of 2000 messages of 1 KiB a second take four fifths.
        let mut lan = Lan::at_rate(seed, Weather { loss: 0.2, ..CLEAR }, 200);
        for _ in 0..8 {
            lan.join(Seq::FIRST, LanePolicy::MulticastOnly, true);
        }
        lan.run_for(1000 * MS);
        for _ in 0..8000 {
            lan.publish(&[1024]);
            lan.run_for(MS / 2);
        }
        lan.run_for(1000 * MS);
        for member in &lan.members {
            member.check(&lan.log, Seq::FIRST, &format!("seed {seed}"));
            let by_datagram = member.delivered.iter().filter(|(.., lane)| *lane == Lane::Multicast).count();
            let share = by_datagram as f64 / member.delivered.len() as f64;
            println!("seed {seed}: {share:.4} by datagram, {} readings, {:?}", member.readings, lan.relay.rate());
            assert!(share >= 0.99, "seed {seed}: {share:.4} by datagram, {} readings", member.readings);
        }
    }
}
