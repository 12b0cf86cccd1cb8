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
};

service_kit::figures! {
    /// The relay's figures; clones share them.
    pub(crate) struct Figures of "relay" {
        messages: Counter = "Messages made durable";
        message_payload_bytes: Counter = "Payload of messages made durable";
        publish_refused: Counter = "Publish requests refused";
        runs: Counter = "Runs made durable";
        append_seconds: Histogram =
            "From handing runs to the log to their durability", Histogram::new(append_buckets());
        append_failures: Counter = "Appends that failed";
        groups: Gauge = "Groups that take messages";
        groups_disputed: Gauge = "Groups of which the registry has another or a longer log on record, served on";
        client_window_bytes: Gauge = "Memory for what was published by whom, so that repetitions are known";
        clients_forgotten: Counter = "Publishing clients forgotten early, of the address that had most";
        log_bytes: Gauge = "Bytes of the disk that the log takes";
        log_limit_bytes: Gauge = "The most that it may take; 0: no limit";
        log_shrunk: Counter = "Times that the largest groups' oldest messages were dropped for room";
        follows: Gauge = "Groups followed over gRPC";
        datagrams_ignored: Counter = "Datagrams received that were malformed or foreign";
        datagrams_dropped: Counter = "Datagrams dropped because a queue was full";
        text_datagrams_received: Counter = "Datagrams logged from text groups";
        datagrams_sent: Family<Kind, Counter> = "Datagrams by what they were for";
        naks_received: Counter = "NAKs";
        repair_asks_suppressed: Counter = "Asks for what was being repaired";
        repair_asks_refused: Counter = "Asks over a limit";
        data_sent_bytes: Counter = "First-sent DATA, UDP payload";
        data_unsent: Family<Reason, Counter> =
            "DATA never multicast because too much waited (skipped), and messages because nobody listens (unheard); \
             members read the log";
        statuses_received: Counter = "STATUS of members";
        members: Family<LaneLabel, Gauge> = "Members present, once in each group, by how they hear";
        receipts_complete: Counter = "Messages that nobody lacks who was present and can tell";
        receipt_watches: Gauge = "Receipts being watched over gRPC";
        member_delivered: Counter = "Messages that members delivered, once for each member";
        member_lost_datagrams: Counter = "First-sent datagrams that did not reach a member";
        member_repaired_datagrams: Counter = "Datagrams that reached a member by repair";
        member_behind_messages: Histogram =
            "Messages that a member had not delivered, one for each STATUS", Histogram::new(behind_buckets());
        round_trip_seconds: Histogram =
            "To a member and back, one for each STATUS", Histogram::new(round_trip_buckets());
        member_loss_ratio: Histogram =
            "First-sent datagrams that did not reach a member, of those sent between two of its STATUS",
            Histogram::new(LOSS_BUCKETS);
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct LaneLabel {
    lane: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Kind {
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
    /// The gauge of members that hear by `lane`.
    pub(crate) fn members_of(&self, lane: MemberLane) -> Gauge {
        self.members.get_or_create_owned(&LaneLabel { lane: lane.as_str() })
    }

    /// Takes what one STATUS told. One without datagrams between says nothing of loss.
    pub(crate) fn observe_status(&self, sample: &StatusSample) {
        if let Some(round_trip) = sample.round_trip {
            self.round_trip_seconds.observe(round_trip.as_secs_f64());
        }
        self.member_lost_datagrams.inc_by(sample.lost.into());
        self.member_repaired_datagrams.inc_by(sample.repaired.into());
        self.member_behind_messages.observe(sample.behind as f64);
        let sent = f64::from(sample.received) + f64::from(sample.lost);
        if sent > 0.0 {
            self.member_loss_ratio.observe(f64::from(sample.lost) / sent);
        }
    }

    /// Adds what a sender did between two of its counts.
    pub(crate) fn count_sender(&self, before: &SenderStats, after: &SenderStats) {
        let sent = |kind, before: u64, after: u64| {
            if after > before {
                self.datagrams_sent.get_or_create(&Kind { kind }).inc_by(after - before);
            }
        };
        sent("data", before.data, after.data);
        sent("repair_multicast", before.repairs_multicast, after.repairs_multicast);
        sent("repair_unicast", before.repairs_unicast, after.repairs_unicast);
        sent("parity", before.parity, after.parity);
        sent("ncf", before.ncfs, after.ncfs);
        sent("heartbeat", before.heartbeats, after.heartbeats);
        sent("migrate", before.moves_told, after.moves_told);
        self.naks_received.inc_by(after.naks - before.naks);
        self.repair_asks_suppressed.inc_by(after.requests_suppressed - before.requests_suppressed);
        let refused = |stats: &SenderStats| stats.requests_refused + stats.repairs_withheld;
        self.repair_asks_refused.inc_by(refused(after) - refused(before));
        self.data_sent_bytes.inc_by(after.data_bytes - before.data_bytes);
        let unsent = |reason, more: u64| {
            if more > 0 {
                self.data_unsent.get_or_create(&Reason { reason }).inc_by(more);
            }
        };
        unsent("skipped", after.data_skipped - before.data_skipped);
        unsent("unheard", after.messages_unheard - before.messages_unheard);
        self.statuses_received.inc_by(after.statuses - before.statuses);
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
