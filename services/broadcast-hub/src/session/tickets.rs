//! The tickets of a session's private groups: renewed by the client, and at last expired.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_proto::{GroupId, signing};
use tonic::Code;

use super::{
    Session,
    framed::{self, unix_ms},
    subscription::Subscription,
};

/// A session hears on for so long after its ticket has expired, so that a step of the wall clock, after which everybody's
/// tickets have expired at once, interrupts nobody who renews.
const EXPIRED_GRACE: Duration = Duration::from_secs(60);

impl Session {
    /// A newer ticket came for a group; what is read of its log from now on is read by it.
    pub(super) fn keep_ticket(&self, id: GroupId, ticket: Bytes) {
        if let Some(subscription) = self.subscriptions.borrow_mut().get_mut(&id) {
            self.hub().keep_ticket(&subscription.group, &ticket);
            subscription.ticket = ticket;
        }
    }

    /// Ends what a session hears of private groups by tickets that it did not renew.
    pub(super) fn sweep_expired(self: &Rc<Self>, now: Instant) {
        let directory = &self.hub().directory;
        if directory.is_registry_away(now) {
            // Nobody can renew, and groups talk on without the registry.
            return;
        }
        let unix_ms = unix_ms();
        let expired: Vec<GroupId> = {
            let subscriptions = self.subscriptions.borrow();
            let is_over = |subscription: &Subscription| {
                let expires = signing::ticket_expiry(&subscription.ticket);
                let since = match expires.filter(|expires| *expires < unix_ms) {
                    Some(_) => subscription.expired_since.get().or(Some(now)),
                    None => None,
                };
                subscription.expired_since.set(since);
                since.is_some_and(|since| now.saturating_duration_since(since) >= EXPIRED_GRACE)
            };
            let private = subscriptions.iter().filter(|(_, subscription)| !subscription.ticket.is_empty());
            private.filter(|(_, subscription)| is_over(subscription)).map(|(id, _)| *id).collect()
        };
        for id in expired {
            self.unsubscribe(id);
            let message = "the ticket has expired; join the group again and subscribe with the new one";
            self.control(framed::unsubscribed(id, Code::Unauthenticated, message));
        }
    }
}
