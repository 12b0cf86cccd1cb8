//! The tickets of this client: the one place that keeps them, so that whoever speaks beside a living connection sends the
//! newest, and not the one that the connection was opened with.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_proto::GroupId;
use tracing::debug;

use crate::{
    client::Inner,
    error::ClientError,
    registry::{By, Joined},
};

/// The newest ticket of each private group that this client uses.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    held: Mutex<HashMap<GroupId, HeldTicket>>,
}

#[derive(Debug)]
struct HeldTicket {
    ticket: Bytes,
    /// From then on a newer one is fetched at the next use. A ticket outlasts its lease by minutes, so the use itself need
    /// not wait.
    renew_at: Instant,
    /// A renewal is under way.
    renewing: bool,
}

impl Tickets {
    /// Keeps what a join gave.
    pub(crate) fn keep(&self, joined: &Joined) {
        if joined.ticket.is_empty() || !joined.group.private {
            return;
        }
        let held =
            HeldTicket { ticket: joined.ticket.clone(), renew_at: Instant::now() + joined.lease, renewing: false };
        self.held().insert(joined.group.id, held);
    }

    /// The newest ticket of the group; empty for a group that needs none.
    pub(crate) fn newest(&self, group: GroupId) -> Bytes {
        self.held().get(&group).map(|held| held.ticket.clone()).unwrap_or_default()
    }

    /// True once for each time that the group's ticket has come of age; the caller renews it.
    fn take_due(&self, group: GroupId, now: Instant) -> bool {
        let mut held = self.held();
        let Some(held) = held.get_mut(&group).filter(|held| !held.renewing && held.renew_at <= now) else {
            return false;
        };
        held.renewing = true;
        true
    }

    /// A renewal came to nothing; the next one waits for `delay`.
    fn renewal_failed(&self, group: GroupId, delay: Duration) {
        if let Some(held) = self.held().get_mut(&group) {
            held.renewing = false;
            held.renew_at = Instant::now() + delay;
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<GroupId, HeldTicket>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Delay between renewals while the registry does not answer.
const RENEWAL_RETRY: Duration = Duration::from_secs(3);

impl Inner {
    /// The newest ticket of the group, to be sent now. If it is no longer young a newer one is fetched beside, so that a
    /// connection in use never comes to send one that has expired.
    pub(crate) fn ticket(self: &Arc<Self>, group: GroupId) -> Bytes {
        if self.tickets.take_due(group, Instant::now()) {
            let inner = Arc::clone(self);
            tokio::spawn(async move {
                if let Err(error) = inner.visit(&By::Id(group)).await {
                    debug!(%group, %error, "ticket not renewed");
                    inner.tickets.renewal_failed(group, RENEWAL_RETRY);
                }
            });
        }
        self.tickets.newest(group)
    }

    /// A ticket other than `refused`, which a service did not take: one that came meanwhile, else a new one.
    ///
    /// # Errors
    /// What the registry says: [`ClientError::NotAllowed`] means that this device is no longer a member.
    pub(crate) async fn other_ticket(&self, group: GroupId, refused: &Bytes) -> Result<Bytes, ClientError> {
        let newest = self.tickets.newest(group);
        if !newest.is_empty() && newest != *refused {
            return Ok(newest);
        }
        Ok(self.visit(&By::Id(group)).await?.ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::test_doubles::{group, joined};

    fn private(ticket: &'static [u8], lease: Duration) -> Joined {
        let mut joined = joined(1);
        joined.group.private = true;
        Joined { ticket: Bytes::from_static(ticket), lease, ..joined }
    }

    #[test]
    fn the_newest_is_given_and_comes_of_age_once() {
        let tickets = Tickets::default();
        let (id, now) = (group().id, Instant::now());
        assert_eq!(tickets.newest(id), "", "a group that needs none");
        assert!(!tickets.take_due(id, now));
        tickets.keep(&private(b"first", Duration::from_secs(30)));
        assert!(!tickets.take_due(id, now));
        let later = now + Duration::from_secs(40);
        assert!(tickets.take_due(id, later));
        assert!(!tickets.take_due(id, later), "one renewal at a time");
        assert_eq!(tickets.newest(id), "first", "is good for minutes still");
        tickets.renewal_failed(id, Duration::ZERO);
        assert!(tickets.take_due(id, later));
        tickets.keep(&private(b"second", Duration::from_secs(90)));
        assert_eq!(tickets.newest(id), "second");
        assert!(!tickets.take_due(id, later));
    }
}
