//! All contests: what a server of many must reach, beside NATS and Redis or beside itself.

use gaung_tests::load::{fairness::Fairness, figure::Figure, idle::Idle};

use super::{
    contest::{Bar, Bound, Contest, Entry, Load},
    durable::Durable,
    fan_out::FanOut,
    latency::Latency,
    multicast::Multicast,
    target::Target,
};

const GAUNG: &str = "gaung";
const PEERS: &[&str] = &["nats", "redis"];
const MEMORY: Target = Target::Gaung { durable: false };
/// The load that most contests vary.
const MANY: FanOut = FanOut { groups: 1, listeners: 64, speakers: 1, window: 256, size: 64 };

const LATE: Latency = Latency { listeners: 1000, rate: 50, size: 64 };

/// In the order in which they are told.
pub(super) fn all() -> Vec<Contest> {
    let cpu = Bar { figure: Figure::CpuPerMillion, of: GAUNG, against: &["redis"], bound: Bound::AtMost(0.5) };
    let fan_out = |name, load, bar| {
        let bars = vec![deliveries(GAUNG, PEERS, Bound::AtLeast(bar))];
        Contest { name, entries: against_peers(Load::FanOut(load)), bars }
    };
    let at_half_the_cost = |name, load, bar| {
        let mut contest = fan_out(name, load, bar);
        contest.bars.push(cpu);
        contest
    };
    vec![
        at_half_the_cost("fan-out-64", MANY, 2.5),
        at_half_the_cost("fan-out-1000", FanOut { listeners: 1000, ..MANY }, 2.5),
        at_half_the_cost("fan-out-64-1k", FanOut { size: 1024, ..MANY }, 1.8),
        at_half_the_cost("fan-out-1000-1k", FanOut { listeners: 1000, size: 1024, ..MANY }, 1.8),
        fan_out("fan-out-8-speakers", FanOut { speakers: 8, ..MANY }, 1.5),
        fan_out("fan-out-16-in-flight", FanOut { window: 16, ..MANY }, 0.7),
        fan_out("fan-out-1000-16-in-flight", FanOut { listeners: 1000, window: 16, ..MANY }, 0.7),
        fan_out("fan-out-4", FanOut { listeners: 4, ..MANY }, 0.9),
        latency(),
        disk(),
        apart(),
        durable("durable-1", 1, 1.5),
        durable("durable-64", 64, 1.0),
        sessions(),
        groups("groups", 256),
        groups("groups-25600-in-flight", 25_600),
        shards(),
        fairness(),
        idle("idle-1000", 1000, alone(Figure::Cpu, 0.01)),
        idle("idle-10000", 10_000, alone(Figure::SessionKib, 4.0)),
        beside_tls("tls-64", Load::FanOut(MANY), Figure::CpuPerMillion),
        beside_tls("tls-1000-1k", Load::FanOut(FanOut { listeners: 1000, size: 1024, ..MANY }), Figure::CpuPerMillion),
        beside_tls("tls-latency-1000", Load::Latency(LATE), Figure::LastP99),
        beside_tls("tls-idle-1000", Load::Idle(Idle { listeners: 1000 }), Figure::SessionKib),
        multicast("multicast-64", 64),
        multicast("multicast-1k", 1024),
    ]
}

fn against_peers(load: Load) -> Vec<Entry> {
    vec![
        Entry { label: GAUNG, target: MEMORY, load },
        Entry { label: "nats", target: Target::Nats { durable: false }, load },
        Entry { label: "redis", target: Target::Redis { durable: false }, load },
        Entry { label: "mosquitto", target: Target::Mosquitto, load },
    ]
}

const fn deliveries(of: &'static str, against: &'static [&'static str], bound: Bound) -> Bar {
    Bar { figure: Figure::Deliveries, of, against, bound }
}

/// A figure of Gaung's that counts by itself.
const fn alone(figure: Figure, most: f64) -> Bar {
    Bar { figure, of: GAUNG, against: &[], bound: Bound::AtMost(most) }
}

fn latency() -> Contest {
    let load = Load::Latency(LATE);
    let bars = vec![Bar { figure: Figure::LastP99, of: GAUNG, against: PEERS, bound: Bound::AtMost(1.1) }];
    Contest { name: "latency-1000", entries: against_peers(load), bars }
}

fn disk() -> Contest {
    let entry = |label, durable| Entry { label, target: Target::Gaung { durable }, load: Load::FanOut(MANY) };
    let bars = vec![deliveries("disk", &["memory"], Bound::AtLeast(0.7))];
    Contest { name: "fan-out-disk", entries: vec![entry("memory", false), entry("disk", true)], bars }
}

fn apart() -> Contest {
    let entry = |label, target| Entry { label, target, load: Load::FanOut(MANY) };
    let entries = vec![entry("together", MEMORY), entry("apart", Target::Apart { shards: 0 })];
    Contest { name: "apart", entries, bars: vec![deliveries("apart", &["together"], Bound::Told)] }
}

fn durable(name: &'static str, window: usize, streams: f64) -> Contest {
    let load = Load::Durable(Durable { speakers: 64, window, size: 64 });
    let entry = |label, target| Entry { label, target, load };
    let entries = vec![
        entry(GAUNG, Target::Gaung { durable: true }),
        entry("streams", Target::Redis { durable: true }),
        entry("jetstream", Target::Nats { durable: true }),
    ];
    let bar = |against, least| Bar { figure: Figure::Acknowledged, of: GAUNG, against, bound: Bound::AtLeast(least) };
    Contest { name, entries, bars: vec![bar(&["streams"], streams), bar(&["jetstream"], 10.0)] }
}

fn sessions() -> Contest {
    let entry = |label, listeners| Entry { label, target: MEMORY, load: Load::FanOut(FanOut { listeners, ..MANY }) };
    let bars = vec![deliveries("4000", &["64"], Bound::AtLeast(0.7))];
    Contest { name: "sessions", entries: vec![entry("64", 64), entry("1000", 1000), entry("4000", 4000)], bars }
}

/// The peers show what many groups cost anyone: what is in flight is spread over all sessions.
fn groups(name: &'static str, window: usize) -> Contest {
    let entry = |label, target, groups| Entry {
        label,
        target,
        load: Load::FanOut(FanOut { groups, listeners: 10, window, ..MANY }),
    };
    let (nats, redis) = (Target::Nats { durable: false }, Target::Redis { durable: false });
    let entries = vec![
        entry("1 group", MEMORY, 1),
        entry("100 groups", MEMORY, 100),
        entry("nats 1", nats, 1),
        entry("nats 100", nats, 100),
        entry("redis 1", redis, 1),
        entry("redis 100", redis, 100),
    ];
    let bars = vec![
        deliveries("100 groups", &["1 group"], Bound::AtLeast(0.8)),
        deliveries("100 groups", &["nats 100", "redis 100"], Bound::Told),
        deliveries("nats 100", &["nats 1"], Bound::Told),
        deliveries("redis 100", &["redis 1"], Bound::Told),
    ];
    Contest { name, entries, bars }
}

fn shards() -> Contest {
    let entry = |label, shards| Entry { label, target: Target::Apart { shards }, load: Load::FanOut(MANY) };
    let bars = vec![deliveries("2 shards", &["1 shard"], Bound::Told)];
    Contest { name: "shards", entries: vec![entry("1 shard", 1), entry("2 shards", 2)], bars }
}

fn fairness() -> Contest {
    let entry = |label, slow| {
        let load = Fairness { keen: 980, sipping: slow, stopped: slow, window: 256, size: 1024 };
        Entry { label, target: MEMORY, load: Load::Fairness(load) }
    };
    let entries = vec![entry("keen alone", 0), entry("20 slow", 10)];
    Contest { name: "fairness", entries, bars: vec![deliveries("20 slow", &["keen alone"], Bound::AtLeast(0.8))] }
}

fn idle(name: &'static str, listeners: usize, bar: Bar) -> Contest {
    Contest { name, entries: against_peers(Load::Idle(Idle { listeners })), bars: vec![bar] }
}

/// What TLS costs; the generator has to decrypt what all listeners get, so that deliveries say less than the server's processor time.
fn beside_tls(name: &'static str, load: Load, figure: Figure) -> Contest {
    let entry = |label, target| Entry { label, target, load };
    let entries = vec![entry("plaintext", MEMORY), entry("tls", Target::GaungByTls)];
    Contest { name, entries, bars: vec![Bar { figure, of: "tls", against: &["plaintext"], bound: Bound::Told }] }
}

fn multicast(name: &'static str, size: usize) -> Contest {
    let entry = |label, segmentation| Entry {
        label,
        target: MEMORY,
        load: Load::Multicast(Multicast { receivers: 4, size, segmentation }),
    };
    let bar = Bar { figure: Figure::Messages, of: "segments", against: &["datagrams"], bound: Bound::Told };
    Contest { name, entries: vec![entry("segments", true), entry("datagrams", false)], bars: vec![bar] }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_bars_name_entries() {
        let all = all();
        let names: BTreeSet<_> = all.iter().map(|contest| contest.name).collect();
        assert_eq!(names.len(), all.len());
        for contest in &all {
            let labels: BTreeSet<_> = contest.entries.iter().map(|entry| entry.label).collect();
            assert_eq!(labels.len(), contest.entries.len(), "{}", contest.name);
            for bar in &contest.bars {
                assert!(labels.contains(bar.of) && bar.against.iter().all(|label| labels.contains(label)), "{bar:?}");
            }
        }
    }
}
