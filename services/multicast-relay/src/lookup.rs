//! Calls for groups that this relay does not know: asking the registry, without standing in anybody's way.
//!
//! A group that was just made comes by the registry's watch, mostly before anybody asks. So only a few questions a second
//! go to the registry; the rest wait a moment for the watch. What the registry does not know is remembered for a moment.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use gaung_proto::GroupId;
use service_kit::share::RateLimit;
use tokio::time::timeout;

use crate::{directory::Directory, group::GroupConfig, registry::RegistryLink};

/// Questions to the registry, a second and at once. Each takes it some 100 µs.
const QUESTIONS: (f64, f64) = (100.0, 200.0);
/// How long a call waits for the watch where no question can be asked.
const WATCH_WAIT: Duration = Duration::from_millis(500);
/// How long a group that the registry does not know counts as unknown.
const UNKNOWN_FOR: Duration = Duration::from_secs(1);
/// Unknown groups that are remembered.
const MAX_UNKNOWN: usize = 4096;

/// Why a group cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LookupError {
    /// The registry does not know it, or it is another relay's.
    NoSuchGroup,
    /// Too many ask for what is not known here.
    Busy,
    /// The registry does not answer.
    Unreachable,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct GroupLookup {
    registry: Arc<RegistryLink>,
    questions: RateLimit<()>,
    unknown: Mutex<Unknown>,
}

#[derive(Debug, Default)]
struct Unknown {
    since: HashMap<GroupId, Instant>,
    order: VecDeque<GroupId>,
}

impl GroupLookup {
    pub(crate) fn new(registry: Arc<RegistryLink>) -> Self {
        Self { registry, questions: RateLimit::new(QUESTIONS.0, QUESTIONS.1), unknown: Mutex::default() }
    }

    /// The group as the registry has it; `None` if it became known here meanwhile.
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
        if self.questions.take((), Instant::now()).is_err() {
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

    fn unknown(&self) -> MutexGuard<'_, Unknown> {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unknown {
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
        let (mut unknown, now) = (Unknown::default(), Instant::now());
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
