//! The registry's metrics. No label has a group, a user or a name.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};
use tonic::Code;

service_kit::figures! {
    /// The registry's figures; clones share them.
    pub(crate) struct Figures of "registry" {
        creates: Counter = "Groups made, repeats included";
        refusals: Family<Reason, Counter> = "Calls that ended with an error";
        redeem_failures: Counter = "Invites that were redeemed with a code that is not good";
        groups: Gauge = "Groups that exist";
        groups_without_address: Gauge = "Groups whose address lapsed";
        pairs_ready: Gauge = "Addresses listened to and ready to be given out";
        watchers: Gauge = "Open watch streams";
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reason {
    code: String,
}

impl Figures {
    /// Counts a call that ended with `code`.
    pub(crate) fn refused(&self, code: Code) {
        self.refusals.get_or_create(&Reason { code: format!("{code:?}") }).inc();
    }
}
