//! What the relay counts. Base units; no group, user or message in a label.

use std::{sync::Arc, time::Duration};

use gaung_engine::{MemberLane, RingBudget, SenderStats, StatusSample};
use gaung_net::driver::{Counters, SendFailure};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::Registry,
};
use service_kit::metrics::Metrics;

/// The relay's figures; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    pub(crate) messages: Counter,
    pub(crate) message_bytes: Counter,
    pub(crate) requests_refused: Counter,
    pub(crate) runs: Counter,
    pub(crate) append_seconds: Histogram,
    pub(crate) append_failures: Counter,
    pub(crate) log_bytes: Gauge,
    pub(crate) log_limit_bytes: Gauge,
    pub(crate) log_shrunk: Counter,
    pub(crate) groups: Gauge,
    pub(crate) disputed: Gauge,
    pub(crate) window_bytes: Gauge,
    pub(crate) clients_forgotten: Counter,
    pub(crate) follows: Gauge,
    pub(crate) datagrams_ignored: Counter,
    pub(crate) datagrams_dropped: Counter,
    pub(crate) text_datagrams: Counter,
    pub(crate) receipts_complete: Counter,
    pub(crate) receipt_watches: Gauge,
    pub(crate) delivered: Counter,
    lost: Counter,
    repaired: Counter,
    behind: Histogram,
    sent: Family<Kind, Counter>,
    naks: Counter,
    asks_suppressed: Counter,
    asks_refused: Counter,
    data_bytes: Counter,
    data_unsent: Family<Reason, Counter>,
    statuses: Counter,
    members: Family<LaneLabel, Gauge>,
    round_trip_seconds: Histogram,
    loss_ratio: Histogram,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LaneLabel {
    lane: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// From 0.1 ms, a memory log, to 6.5 s, a dying disk.
fn append_buckets() -> impl Iterator<Item = f64> {
    (0..17).map(|n| 0.0001 * f64::from(1u32 << n))
}

/// From 50 µs, one cable, to 1.6 s, a sleeping laptop.
fn round_trip_buckets() -> impl Iterator<Item = f64> {
    (0..16).map(|n| 0.000_05 * f64::from(1u32 << n))
}

/// From none to more than the ring of a busy group holds.
fn behind_buckets() -> impl Iterator<Item = f64> {
    std::iter::once(0.0).chain((0..9).map(|n| f64::from(1u32 << (2 * n))))
}

/// None, a lost datagram now and then, and where members move to the hub.
const LOSS_BUCKETS: [f64; 8] = [0.0, 0.001, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5];

impl Figures {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let figures = Self {
            messages: Counter::default(),
            message_bytes: Counter::default(),
            requests_refused: Counter::default(),
            runs: Counter::default(),
            append_seconds: Histogram::new(append_buckets()),
            append_failures: Counter::default(),
            log_bytes: Gauge::default(),
            log_limit_bytes: Gauge::default(),
            log_shrunk: Counter::default(),
            groups: Gauge::default(),
            disputed: Gauge::default(),
            window_bytes: Gauge::default(),
            clients_forgotten: Counter::default(),
            follows: Gauge::default(),
            datagrams_ignored: Counter::default(),
            datagrams_dropped: Counter::default(),
            text_datagrams: Counter::default(),
            receipts_complete: Counter::default(),
            receipt_watches: Gauge::default(),
            delivered: Counter::default(),
            lost: Counter::default(),
            repaired: Counter::default(),
            behind: Histogram::new(behind_buckets()),
            sent: Family::default(),
            naks: Counter::default(),
            asks_suppressed: Counter::default(),
            asks_refused: Counter::default(),
            data_bytes: Counter::default(),
            data_unsent: Family::default(),
            statuses: Counter::default(),
            members: Family::default(),
            round_trip_seconds: Histogram::new(round_trip_buckets()),
            loss_ratio: Histogram::new(LOSS_BUCKETS),
        };
        metrics.register(|registry| {
            let r = registry.sub_registry_with_prefix("relay");
            r.register("messages", "Messages made durable", figures.messages.clone());
            r.register("message_payload_bytes", "Payload of messages made durable", figures.message_bytes.clone());
            r.register("publish_refused", "Publish requests refused", figures.requests_refused.clone());
            r.register("runs", "Runs made durable", figures.runs.clone());
            r.register(
                "append_seconds",
                "From handing runs to the log to their durability",
                figures.append_seconds.clone(),
            );
            r.register("append_failures", "Appends that failed", figures.append_failures.clone());
            r.register("groups", "Groups that take messages", figures.groups.clone());
            r.register(
                "groups_disputed",
                "Groups of which the registry has another or a longer log on record, served on",
                figures.disputed.clone(),
            );
            r.register(
                "client_window_bytes",
                "Memory for what was published by whom, so that repetitions are known",
                figures.window_bytes.clone(),
            );
            r.register(
                "clients_forgotten",
                "Publishing clients forgotten early, of the address that had most",
                figures.clients_forgotten.clone(),
            );
            r.register("log_bytes", "Bytes of the disk that the log takes", figures.log_bytes.clone());
            r.register("log_limit_bytes", "The most that it may take; 0: no limit", figures.log_limit_bytes.clone());
            r.register(
                "log_shrunk",
                "Times that the largest groups' oldest messages were dropped for room",
                figures.log_shrunk.clone(),
            );
            r.register("follows", "Groups followed over gRPC", figures.follows.clone());
            r.register(
                "datagrams_ignored",
                "Datagrams received that were malformed or foreign",
                figures.datagrams_ignored.clone(),
            );
            r.register(
                "datagrams_dropped",
                "Datagrams dropped because a queue was full",
                figures.datagrams_dropped.clone(),
            );
            r.register("text_datagrams_received", "Datagrams logged from text groups", figures.text_datagrams.clone());
            r.register("datagrams_sent", "Datagrams by what they were for", figures.sent.clone());
            r.register("naks_received", "NAKs", figures.naks.clone());
            r.register("repair_asks_suppressed", "Asks for what was being repaired", figures.asks_suppressed.clone());
            r.register("repair_asks_refused", "Asks over a limit", figures.asks_refused.clone());
            r.register("data_sent_bytes", "First-sent DATA, UDP payload", figures.data_bytes.clone());
            r.register(
                "data_unsent",
                "DATA that was never multicast because too much waited (skipped), and messages because nobody listens (unheard); members read the log",
                figures.data_unsent.clone(),
            );
            r.register("statuses_received", "STATUS of members", figures.statuses.clone());
            figures.register_members(r);
        });
        figures
    }

    fn register_members(&self, r: &mut Registry) {
        r.register("members", "Members present, once in each group, by how they hear", self.members.clone());
        r.register(
            "receipts_complete",
            "Messages that nobody lacks who was present and can tell",
            self.receipts_complete.clone(),
        );
        r.register("receipt_watches", "Receipts being watched over gRPC", self.receipt_watches.clone());
        r.register("member_delivered", "Messages that members delivered, once for each member", self.delivered.clone());
        r.register("member_lost_datagrams", "First-sent datagrams that did not reach a member", self.lost.clone());
        r.register("member_repaired_datagrams", "Datagrams that reached a member by repair", self.repaired.clone());
        r.register(
            "member_behind_messages",
            "Messages that a member had not delivered, one for each STATUS",
            self.behind.clone(),
        );
        r.register("round_trip_seconds", "To a member and back, one for each STATUS", self.round_trip_seconds.clone());
        r.register(
            "member_loss_ratio",
            "First-sent datagrams that did not reach a member, of those sent between two of its STATUS",
            self.loss_ratio.clone(),
        );
    }

    /// The gauge of members that hear by `lane`.
    pub(crate) fn members_of(&self, lane: MemberLane) -> Gauge {
        self.members.get_or_create_owned(&LaneLabel { lane: lane.as_str() })
    }

    /// Takes what one STATUS told. One without datagrams between says nothing of loss.
    pub(crate) fn observe_status(&self, sample: &StatusSample) {
        if let Some(round_trip) = sample.round_trip {
            self.round_trip_seconds.observe(round_trip.as_secs_f64());
        }
        self.lost.inc_by(sample.lost.into());
        self.repaired.inc_by(sample.repaired.into());
        self.behind.observe(sample.behind as f64);
        let sent = f64::from(sample.received) + f64::from(sample.lost);
        if sent > 0.0 {
            self.loss_ratio.observe(f64::from(sample.lost) / sent);
        }
    }

    /// Adds what a sender did between two of its counts.
    pub(crate) fn count_sender(&self, before: &SenderStats, after: &SenderStats) {
        let sent = |kind, before: u64, after: u64| {
            if after > before {
                self.sent.get_or_create(&Kind { kind }).inc_by(after - before);
            }
        };
        sent("data", before.data, after.data);
        sent("repair_multicast", before.repairs_multicast, after.repairs_multicast);
        sent("repair_unicast", before.repairs_unicast, after.repairs_unicast);
        sent("parity", before.parity, after.parity);
        sent("ncf", before.ncfs, after.ncfs);
        sent("heartbeat", before.heartbeats, after.heartbeats);
        sent("migrate", before.moves_told, after.moves_told);
        self.naks.inc_by(after.naks - before.naks);
        self.asks_suppressed.inc_by(after.asks_suppressed - before.asks_suppressed);
        let refused = |stats: &SenderStats| stats.asks_refused + stats.repairs_withheld;
        self.asks_refused.inc_by(refused(after) - refused(before));
        self.data_bytes.inc_by(after.data_bytes - before.data_bytes);
        let unsent = |reason, more: u64| {
            if more > 0 {
                self.data_unsent.get_or_create(&Reason { reason }).inc_by(more);
            }
        };
        unsent("skipped", after.data_skipped - before.data_skipped);
        unsent("unheard", after.messages_unheard - before.messages_unheard);
        self.statuses.inc_by(after.statuses - before.statuses);
        self.datagrams_ignored.inc_by(after.ignored - before.ignored);
    }

    pub(crate) fn observe_append(&self, took: Duration) {
        self.append_seconds.observe(took.as_secs_f64());
    }
}

/// The drivers' own counters, read when asked for.
#[derive(Debug)]
pub(crate) struct DriverFigures(pub(crate) Vec<Arc<Counters>>);

impl Collector for DriverFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let sum = |read: &dyn Fn(&Counters) -> u64| self.0.iter().map(|counters| read(counters)).sum::<u64>();
        let totals: [(&str, &str, u64); 5] = [
            ("relay_udp_sent_datagrams", "UDP datagrams sent", sum(&Counters::sent_datagrams)),
            ("relay_udp_sent_bytes", "UDP payload sent", sum(&Counters::sent_bytes)),
            ("relay_udp_received_datagrams", "UDP datagrams received", sum(&Counters::received_datagrams)),
            ("relay_udp_received_bytes", "UDP payload received", sum(&Counters::received_bytes)),
            ("relay_udp_sends_blocked", "Times that a socket was full", sum(&Counters::sends_blocked)),
        ];
        for (name, help, value) in totals {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let failures: u64 =
            SendFailure::ALL.into_iter().map(|kind| sum(&|counters| counters.send_failures(kind))).sum();
        let counter = ConstCounter::new(failures);
        counter.encode(encoder.encode_descriptor(
            "relay_udp_send_failures",
            "Datagrams that could not be sent",
            None,
            counter.metric_type(),
        )?)
    }
}

/// The memory of all hot rings, read when asked for.
#[derive(Debug)]
pub(crate) struct RingFigures(pub(crate) Arc<RingBudget>);

impl Collector for RingFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let sizes = [
            ("relay_ring_bytes", "Bytes in all hot rings", self.0.held_bytes()),
            ("relay_ring_limit_bytes", "The most bytes that all hot rings may have", self.0.limit_bytes()),
        ];
        for (name, help, bytes) in sizes {
            let gauge = ConstGauge::new(i64::try_from(bytes).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
