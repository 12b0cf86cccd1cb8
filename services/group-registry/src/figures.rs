//! What the registry counts. No group, user or name in a label.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};
use service_kit::metrics::Metrics;
use tonic::Code;

/// The registry's figures; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    pub(crate) creates: Counter,
    pub(crate) groups: Gauge,
    pub(crate) lapsed: Gauge,
    pub(crate) pairs_ready: Gauge,
    pub(crate) watchers: Gauge,
    refusals: Family<Reason, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    code: String,
}

impl Figures {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let figures = Self::default();
        metrics.register(|all| {
            let all = all.sub_registry_with_prefix("registry");
            all.register("creates", "Groups made, repeats included", figures.creates.clone());
            all.register("refusals", "Calls that ended with an error", figures.refusals.clone());
            all.register("groups", "Groups that exist", figures.groups.clone());
            all.register("groups_without_address", "Groups whose address lapsed", figures.lapsed.clone());
            all.register("pairs_ready", "Addresses listened to and ready to be given out", figures.pairs_ready.clone());
            all.register("watchers", "Open watch streams", figures.watchers.clone());
        });
        figures
    }

    /// A call ended with `code`.
    pub(crate) fn refused(&self, code: Code) {
        self.refusals.get_or_create(&Reason { code: format!("{code:?}") }).inc();
    }
}
