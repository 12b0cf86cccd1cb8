//! The relay's metrics, in base units. No label names a group, user or message, so that their number stays bounded.

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
    pub(crate) struct RelayFigures of "relay" {
        messages: Counter = "Messages made durable";
        message_payload_bytes: Counter = "Payload of messages made durable";
        publish_refused: Counter = "Publish requests refused";
        runs: Counter = "Runs made durable";
        append_seconds: Histogram =
            "Time from handing runs to the log until they are durable", Histogram::new(append_buckets());
        append_failures: Counter = "Appends that failed";
        groups: Gauge = "Groups that take messages";
        groups_disputed: Gauge = "Groups served although the registry has another or a longer log on record";
        client_window_bytes: Gauge = "Memory of the client windows, by which duplicates are recognised";
        clients_forgotten: Counter = "Client windows evicted early, from the address with most of them";
        log_bytes: Gauge = "Bytes of disk used by the log";
        log_limit_bytes: Gauge = "Bytes of disk that the log may use; 0 for no limit";
        log_shrunk: Counter = "Times that the largest groups' oldest messages were dropped to keep the log within its limit";
        follows: Gauge = "Groups followed over gRPC";
        datagrams_ignored: Counter = "Received datagrams ignored because they were malformed or for no group here";
        datagrams_dropped: Counter = "Datagrams dropped because a queue was full";
        text_datagrams_received: Counter = "Datagrams received from text groups";
        datagrams_sent: Family<DatagramKind, Counter> = "Datagrams sent, by purpose";
        naks_received: Counter = "Negative acknowledgements received";
        repair_asks_suppressed: Counter = "Repair requests suppressed because a repair was already under way";
        repair_asks_refused: Counter = "Repair requests refused because of a rate or size limit";
        data_sent_bytes: Counter = "UDP payload of DATA datagrams sent for the first time";
        data_unsent: Family<UnsentReason, Counter> =
            "DATA datagrams not multicast because the queue was full (skipped), and messages not multicast because no \
             member listens (unheard); members read both from the log";
        statuses_received: Counter = "STATUS datagrams received from members";
        members: Family<LaneLabel, Gauge> = "Members present, counted once in each group, by lane";
        receipts_complete: Counter = "Messages delivered to every present member that sends receipts";
        receipt_watches: Gauge = "WatchReceipts calls open";
        member_delivered: Counter = "Messages delivered, counted once for each member";
        member_lost_datagrams: Counter = "First-sent datagrams that members lost";
        member_repaired_datagrams: Counter = "Datagrams that members received by repair";
        member_behind_messages: Histogram =
            "Messages that a member had not delivered yet, observed at each STATUS", Histogram::new(behind_buckets());
        round_trip_seconds: Histogram =
            "Round-trip time to a member, observed at each STATUS", Histogram::new(round_trip_buckets());
        member_loss_ratio: Histogram =
            "Part of the first-sent datagrams that a member lost between two of its STATUS",
            Histogram::new(LOSS_BUCKETS);
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct UnsentReason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct LaneLabel {
    lane: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct DatagramKind {
    kind: &'static str,
}

/// Buckets from 0.1 ms, a memory log, to 6.5 s, a failing disk.
fn append_buckets() -> impl Iterator<Item = f64> {
    (0..17).map(|n| 0.0001 * f64::from(1u32 << n))
}

/// Buckets from 50 µs, one cable, to 1.6 s, a laptop in power-saving mode.
fn round_trip_buckets() -> impl Iterator<Item = f64> {
    (0..16).map(|n| 0.000_05 * f64::from(1u32 << n))
}

/// Buckets from 0 to 65 536, more than the ring of a busy group holds.
fn behind_buckets() -> impl Iterator<Item = f64> {
    std::iter::once(0.0).chain((0..9).map(|n| f64::from(1u32 << (2 * n))))
}

/// Buckets of the loss ratio: none, occasional loss, and the loss at which members move to the hub.
const LOSS_BUCKETS: [f64; 8] = [0.0, 0.001, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5];

impl RelayFigures {
    /// Returns the gauge of members on `lane`.
    pub(crate) fn members_of(&self, lane: MemberLane) -> Gauge {
        self.members.get_or_create_owned(&LaneLabel { lane: lane.as_str() })
    }

    /// Observes one STATUS. Without datagrams since the one before, it says nothing of loss.
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

    /// Adds the difference between two readings of a sender's counters.
    pub(crate) fn count_sender(&self, before: &SenderStats, after: &SenderStats) {
        let sent = |kind, before: u64, after: u64| {
            if after > before {
                self.datagrams_sent.get_or_create(&DatagramKind { kind }).inc_by(after - before);
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
                self.data_unsent.get_or_create(&UnsentReason { reason }).inc_by(more);
            }
        };
        unsent("skipped", after.data_skipped - before.data_skipped);
        unsent("unheard", after.messages_unheard - before.messages_unheard);
        self.statuses_received.inc_by(after.statuses - before.statuses);
        self.datagrams_ignored.inc_by(after.ignored - before.ignored);
    }

    /// Observes the time that one append took to become durable.
    pub(crate) fn observe_append(&self, took: Duration) {
        self.append_seconds.observe(took.as_secs_f64());
    }
}

/// Exports the socket counters of all driver threads, summed at each scrape.
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
            ("relay_udp_sends_blocked", "Sends that found the socket buffer full", sum(&Counters::sends_blocked)),
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

/// Exports the memory of all hot rings, read at each scrape.
#[derive(Debug)]
pub(crate) struct RingFigures(pub(crate) Arc<RingBudget>);

impl Collector for RingFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let sizes = [
            ("relay_ring_bytes", "Bytes held in all hot rings", self.0.held_bytes()),
            ("relay_ring_limit_bytes", "Bytes that all hot rings together may hold", self.0.limit_bytes()),
        ];
        for (name, help, bytes) in sizes {
            let gauge = ConstGauge::new(i64::try_from(bytes).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
