//! Looks up groups that this relay does not know, for calls that name them.
//!
//! A group that was just made comes by the registry's watch, mostly before the first call. So only a limited number of
//! lookups a second go to the registry, and further calls wait briefly for the watch. A group that the registry does not know
//! is cached as unknown for a second, so that repeated calls for it cost the registry nothing.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use gaung_proto::GroupId;
use service_kit::share::RateLimit;
use tokio::time::timeout;

use crate::{directory::Directory, group::GroupConfig, registry::RegistryLink};

/// Lookups at the registry: rate a second, and burst. Each takes the registry some 100 µs.
const LOOKUPS: (f64, f64) = (100.0, 200.0);
/// Time that a call waits for the watch when the lookup rate is used up.
const WATCH_WAIT: Duration = Duration::from_millis(500);
/// Time for which a group that the registry does not know is cached as unknown.
const UNKNOWN_FOR: Duration = Duration::from_secs(1);
/// Most unknown groups that are cached; the oldest is dropped.
const MAX_UNKNOWN: usize = 4096;

/// Why a lookup found no group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LookupError {
    /// The registry does not know it, or it is another relay's.
    NoSuchGroup,
    /// The lookup rate is used up, and the watch did not bring the group either.
    Busy,
    /// The registry does not answer.
    Unreachable,
}

/// Looks up groups at the registry, at a limited rate.
#[derive(Debug)]
pub(crate) struct GroupLookup {
    registry: Arc<RegistryLink>,
    lookups: RateLimit<()>,
    unknown: Mutex<UnknownGroups>,
}

#[derive(Debug, Default)]
struct UnknownGroups {
    since: HashMap<GroupId, Instant>,
    order: VecDeque<GroupId>,
}

impl GroupLookup {
    pub(crate) fn new(registry: Arc<RegistryLink>) -> Self {
        Self { registry, lookups: RateLimit::new(LOOKUPS.0, LOOKUPS.1), unknown: Mutex::default() }
    }

    /// Returns the group as the registry describes it; `None` if it became known here meanwhile.
    ///
    /// # Errors
    /// [`LookupError`], each case.
    pub(crate) async fn group(
        &self,
        directory: &Directory,
        group: GroupId,
    ) -> Result<Option<GroupConfig>, LookupError> {
        if self.unknown().has(group, Instant::now()) {
            return Err(LookupError::NoSuchGroup);
        }
        if self.lookups.take((), Instant::now()).is_err() {
            let known = timeout(WATCH_WAIT, directory.known(group)).await;
            return known.map(|()| None).map_err(|_| LookupError::Busy);
        }
        match self.registry.group(group).await {
            Ok(Some(config)) => Ok(Some(config)),
            Ok(None) => {
                self.unknown().note(group, Instant::now());
                Err(LookupError::NoSuchGroup)
            }
            Err(_) => Err(LookupError::Unreachable),
        }
    }

    fn unknown(&self) -> MutexGuard<'_, UnknownGroups> {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnknownGroups {
    fn has(&self, group: GroupId, now: Instant) -> bool {
        self.since.get(&group).is_some_and(|since| now.saturating_duration_since(*since) < UNKNOWN_FOR)
    }

    fn note(&mut self, group: GroupId, now: Instant) {
        if self.since.insert(group, now).is_none() {
            self.order.push_back(group);
        }
        if self.order.len() > MAX_UNKNOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.since.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_groups_are_remembered_for_a_moment_and_are_bounded() {
        let (mut unknown, now) = (UnknownGroups::default(), Instant::now());
        let group = |n: usize| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&n.to_be_bytes());
            GroupId(id)
        };
        unknown.note(group(0), now);
        assert!(unknown.has(group(0), now));
        assert!(!unknown.has(group(0), now + UNKNOWN_FOR));
        for n in 1..=MAX_UNKNOWN {
            unknown.note(group(n), now);
        }
        assert!(!unknown.has(group(0), now) && unknown.has(group(1), now));
        assert_eq!(unknown.since.len(), MAX_UNKNOWN);
    }
}
