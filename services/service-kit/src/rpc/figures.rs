//! What a gRPC server counts.

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

crate::figures! {
    /// The figures of one server; clones share them.
    pub(super) struct RpcFigures of "rpc" {
        connections: Gauge = "Open gRPC connections";
        held_bytes: Gauge = "Bytes of requests under way and of answers not taken, as charged to callers";
        connections_refused: Counter = "gRPC connections closed at once: no place left";
        connections_evicted: Counter = "gRPC connections closed for those of others";
        connections_idle: Counter = "gRPC connections closed without a call for too long";
        connections_stalled: Counter = "gRPC connections closed with answers unread";
        calls_refused: Counter = "Calls refused: the caller has too many open";
        calls_stalled: Counter = "Calls ended with answers unread for too long";
    }
}
