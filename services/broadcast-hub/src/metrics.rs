//! The hub's metrics.

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

service_kit::figures! {
    /// The hub's figures; clones share them.
    pub(crate) struct Figures of "hub" {
        framed_sessions: Gauge = "Framed sessions open now";
        web_sessions: Gauge = "Sessions of browsers open now";
        text_sessions: Gauge = "Text sessions open now";
        groups: Gauge = "Groups followed now";
        ring_bytes: Gauge = "Bytes held in all hot rings";
        ring_limit_bytes: Gauge = "Bytes that all hot rings together may hold";
        sessions_opened: Counter = "Sessions accepted";
        sessions_delayed: Counter = "Connections that waited because their address opened many at once";
        sessions_refused: Counter = "Sessions refused because of a limit";
        evicted: Counter = "Sessions ended to make room for addresses with fewer";
        plaintext_refused: Counter = "Connections without TLS that were refused because of --plaintext";
        handshakes_failed: Counter = "Connections that ended before or in the TLS handshake";
        runs_received: Counter = "Runs received from relays";
        runs_rejected: Counter = "Runs from relays that were malformed or for no group here";
        written_bytes: Counter = "Bytes written to sessions";
        writes: Counter = "Writes to sessions";
        blocked: Counter = "Writes that found a session's socket full";
        resyncs: Counter = "Readers that fell behind the ring and were resynchronised from the log";
        slow_readers: Counter = "Sessions ended because their reader was too slow";
        stalled: Counter = "Sessions ended because their peer did not read pending data in time";
        idle: Counter = "Sessions ended because they were silent for too long or never said hello";
        protocol_errors: Counter = "Sessions ended because of bytes that could not be read";
        foreign_protocols: Counter = "Text sessions ended because they spoke HTTP, TLS or another protocol";
        control_full: Counter = "Sessions ended because too many answers waited for them";
        history_reads: Counter = "Reads of a relay's log for a session";
        gaps: Counter = "Gaps reported to sessions: ranges that no log has any more";
        published_messages: Counter = "Messages published to relays and acknowledged";
        publish_refused: Counter = "Publish requests that were refused or not acknowledged in time";
        publish_full: Counter = "Publish requests refused because too much waited for the relay";
        acks: Counter = "Acknowledgements received from clients";
        long_lines: Counter = "Text lines dropped because they were too long";
        broadcast_datagrams: Counter = "Broadcast datagrams sent, counted once for each interface";
        broadcast_failures: Counter = "Broadcast datagrams that could not be sent through an interface";
        broadcast_limited: Counter = "Broadcast datagrams dropped because of --broadcast-rate";
        broadcast_dropped: Counter = "Runs not broadcast because the queue was full";
        relay_connects: Counter = "Follow streams opened";
    }
}
