//! What a gRPC server counts.

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

use crate::metrics::Metrics;

/// Counters of one server. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct RpcFigures {
    pub(super) connections: Gauge,
    pub(super) held_bytes: Gauge,
    pub(super) connections_refused: Counter,
    pub(super) connections_evicted: Counter,
    pub(super) connections_idle: Counter,
    pub(super) connections_stalled: Counter,
    pub(super) calls_refused: Counter,
    pub(super) calls_stalled: Counter,
}

impl RpcFigures {
    pub(super) fn register(&self, metrics: &Metrics) {
        metrics.register(|registry| {
            let registry = registry.sub_registry_with_prefix("rpc");
            registry.register("connections", "Open gRPC connections", self.connections.clone());
            let help = "Bytes of requests under way and of answers not taken, as charged to callers";
            registry.register("held_bytes", help, self.held_bytes.clone());
            let counters = [
                ("connections_refused", "gRPC connections closed at once: no place left", &self.connections_refused),
                ("connections_evicted", "gRPC connections closed for those of others", &self.connections_evicted),
                ("connections_idle", "gRPC connections closed without a call for too long", &self.connections_idle),
                ("connections_stalled", "gRPC connections closed with answers unread", &self.connections_stalled),
                ("calls_refused", "Calls refused: the caller has too many open", &self.calls_refused),
                ("calls_stalled", "Calls ended with answers unread for too long", &self.calls_stalled),
            ];
            for (name, help, counter) in counters {
                registry.register(name, help, counter.clone());
            }
        });
    }
}
