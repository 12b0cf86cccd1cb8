//! The tickets of a session's private groups: renewed by the client, and at last expired.

use std::{rc::Rc, time::Instant};

use bytes::Bytes;
use gaung_proto::{GroupId, signing::ticket_expiry};
use tonic::Code;

use super::{Session, framed, subscription::Subscription};

impl Subscription {
    /// Reads the group's log by this ticket from now on, which was checked; empty for a public group.
    pub(super) fn show(&mut self, ticket: Bytes) {
        if let Some(expires_ms) = ticket_expiry(&ticket).filter(|_| !ticket.is_empty()) {
            self.right.get_mut().extend(expires_ms);
        }
        self.ticket = ticket;
    }

    /// Whether the group is private and no ticket lets the session hear it any more.
    pub(super) fn is_expired(&self, now: Instant, time_ms: i64) -> bool {
        let mut right = self.right.get();
        let is_over = right.is_over(now, time_ms);
        self.right.set(right);
        is_over
    }
}

impl Session {
    /// A newer ticket came for a group; what is read of its log from now on is read by it.
    pub(super) fn keep_ticket(&self, id: GroupId, ticket: Bytes) {
        if let Some(subscription) = self.subscriptions.borrow_mut().get_mut(&id) {
            self.hub().keep_ticket(&subscription.group, &ticket);
            subscription.show(ticket);
        }
    }

    /// Ends what a session hears of private groups by tickets that it did not renew.
    pub(super) fn sweep_expired(self: &Rc<Self>, now: Instant) {
        let time_ms = self.hub().directory.ticket_time(now);
        let subscriptions = self.subscriptions.borrow();
        let expired = subscriptions.iter().filter(|(_, subscription)| subscription.is_expired(now, time_ms));
        let expired: Vec<GroupId> = expired.map(|(id, _)| *id).collect();
        drop(subscriptions);
        for id in expired {
            self.unsubscribe(id);
            let message = "the ticket has expired; join the group again and subscribe with the new one";
            self.control(framed::unsubscribed(id, Code::Unauthenticated, message));
        }
    }
}
