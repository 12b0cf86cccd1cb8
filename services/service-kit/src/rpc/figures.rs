//! The metrics of a gRPC server.

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

crate::figures! {
    /// The figures of one server; clones share them.
    pub(super) struct RpcFigures of "rpc" {
        connections: Gauge = "Open gRPC connections";
        held_bytes: Gauge = "Bytes of requests under way and of unread answers, as charged to callers";
        connections_refused: Counter = "gRPC connections refused because the limit was reached";
        connections_delayed: Counter = "gRPC connections that waited because their address opened many at once";
        connections_evicted: Counter = "gRPC connections evicted to make room for other callers";
        connections_idle: Counter = "gRPC connections closed because they were idle for too long";
        connections_stalled: Counter = "gRPC connections closed because answers were not read";
        handshakes: Counter = "gRPC connections that completed the TLS handshake";
        plaintext: Counter = "gRPC connections without TLS whose calls were answered";
        handshakes_failed: Counter = "gRPC connections that sent nothing, failed in the TLS handshake or were too slow in it";
        plaintext_refused: Counter = "gRPC connections without TLS whose calls were refused";
        calls_refused: Counter = "Calls refused because the caller has too many open";
        calls_stalled: Counter = "Calls ended because their answers were not read";
    }
}
