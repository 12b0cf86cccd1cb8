//! The order in which hubs are tried: first those that have served this client, last those that just failed it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use gaung_proto::RelayId;

use crate::group::{ServiceInfo, ServiceKind};

/// How long a hub that failed is tried after all others.
const AVOIDED: Duration = Duration::from_secs(60);
/// Limits the hubs that are remembered: a server has a few, and a registry that lists more is not worth more memory.
const MAX_REMEMBERED: usize = 256;

/// This client's own experience with hubs. The registry's list alone says little, for anybody can register.
#[derive(Debug, Default)]
pub(crate) struct HubChoice {
    known: Mutex<HashMap<RelayId, Experience>>,
}

#[derive(Debug, Clone, Copy)]
enum Experience {
    Served,
    FailedAt(Instant),
}

impl HubChoice {
    /// Lists the hubs that take framed sessions, in the order in which to try them.
    pub(crate) fn order<'a>(&self, services: &'a [ServiceInfo], now: Instant) -> Vec<&'a ServiceInfo> {
        let known = self.known();
        let rank = |hub: &&ServiceInfo| match known.get(&hub.id) {
            Some(Experience::Served) => 0,
            Some(Experience::FailedAt(at)) if now.saturating_duration_since(*at) < AVOIDED => 2,
            Some(Experience::FailedAt(_)) | None => 1,
        };
        let is_hub = |service: &&ServiceInfo| service.kind == ServiceKind::Hub && service.tcp_port != 0;
        let mut hubs: Vec<_> = services.iter().filter(is_hub).collect();
        hubs.sort_by_key(|hub| (rank(hub), !hub.alive));
        hubs
    }

    /// Records that the hub accepted a session of this client.
    pub(crate) fn served(&self, hub: RelayId) {
        self.remember(hub, Experience::Served);
    }

    /// Records that the hub did not answer or refused this client.
    pub(crate) fn failed(&self, hub: RelayId, now: Instant) {
        self.remember(hub, Experience::FailedAt(now));
    }

    fn remember(&self, hub: RelayId, experience: Experience) {
        let mut known = self.known();
        if known.len() >= MAX_REMEMBERED && !known.contains_key(&hub) {
            known.retain(|_, experience| matches!(experience, Experience::Served));
            if known.len() >= MAX_REMEMBERED {
                known.clear();
            }
        }
        known.insert(hub, experience);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<RelayId, Experience>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_doubles::access;

    #[test]
    fn a_hub_that_served_comes_first_and_one_that_failed_last() {
        let hub = |id: u8| ServiceInfo { id: RelayId([id; 16]), ..access(1).services[0].clone() };
        let hubs = [hub(1), hub(2), ServiceInfo { alive: false, ..hub(3) }, hub(4)];
        let (choice, now) = (HubChoice::default(), Instant::now());
        let order = |now| choice.order(&hubs, now).iter().map(|hub| hub.id.as_bytes()[0]).collect::<Vec<_>>();
        assert_eq!(order(now), [1, 2, 4, 3]);
        choice.failed(RelayId([1; 16]), now);
        choice.served(RelayId([4; 16]));
        assert_eq!(order(now), [4, 2, 3, 1]);
        assert_eq!(order(now + AVOIDED), [4, 1, 2, 3]);
        choice.failed(RelayId([4; 16]), now);
        assert_eq!(order(now), [2, 3, 1, 4], "what it did before counts no more");
    }
}
