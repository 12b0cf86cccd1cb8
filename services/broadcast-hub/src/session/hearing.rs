//! The session as a member of its groups: from when it hears them, and how far it says it got.

use gaung_proto::{ClientId, DeviceId, GroupId, LogId, Seq, body::Cookie, pb::hub as pb};

use super::{Dialect, Session, subscription::Subscription, text::Text};
use crate::audience::ClientKey;

impl Session {
    /// The group's cursor was put at `next`: whoever asked for the group hears it from there.
    pub(super) fn hear_from(&self, subscription: &Subscription, next: Seq) {
        let delivered = Seq(next.0.saturating_sub(1));
        if subscription.hears() {
            let moved = subscription.group().audience.move_to(self.member(), delivered);
            self.tell(subscription, moved);
        } else if subscription.is_wanted() {
            self.enter(subscription, delivered);
        }
    }

    pub(super) fn hear_no_more(&self, subscription: &Subscription) {
        if subscription.hears() {
            let left = subscription.group().audience.leave(self.member());
            self.tell(subscription, left);
        }
    }

    /// The client says how far it delivered; one that does so for `everyone` wants to be counted there.
    pub(super) fn ack_frame(&self, ack: &pb::Ack) {
        self.hub().figures.acks.inc();
        let Ok(id) = GroupId::try_from(&ack.group_id[..]) else { return };
        let subscriptions = self.subscriptions.borrow();
        let Some(subscription) = subscriptions.get(&id) else { return };
        // Of a log that was replaced meanwhile.
        if subscription.live().is_none_or(|(_, live)| live.log != LogId(ack.log_id)) {
            return;
        }
        let delivered = Seq(ack.delivered_seq);
        if subscription.hears() {
            let further = subscription.group().audience.deliver(self.member(), delivered);
            self.tell(subscription, further);
        } else {
            self.enter(subscription, delivered);
        }
        if ack.cookie != 0 {
            let shown = subscription.group().audience.show_cookie(self.member(), Cookie(ack.cookie));
            self.tell(subscription, shown);
        }
    }

    /// A text session has another name.
    pub(super) fn renamed(&self, text: &Text) {
        for subscription in self.subscriptions.borrow().values().filter(|subscription| subscription.hears()) {
            let renamed = subscription.group().audience.rename(self.member(), &text.name.borrow());
            self.tell(subscription, renamed);
        }
    }

    fn enter(&self, subscription: &Subscription, delivered: Seq) {
        let audience = &subscription.group().audience;
        let entered = match &self.dialect {
            Dialect::Framed(framed) => {
                let Some(client) = framed.client() else { return };
                audience.enter(self.member(), client.device, "", Some(delivered))
            }
            Dialect::Text(text) => audience.enter(self.member(), DeviceId::NONE, &text.name.borrow(), None),
        };
        subscription.set_hears();
        self.tell(subscription, entered);
    }

    fn member(&self) -> ClientKey {
        let (id, stream_key) = match &self.dialect {
            Dialect::Framed(framed) => {
                let client = framed.client();
                (client.map_or(ClientId::NONE, |client| client.id), client.and_then(|client| client.stream_key))
            }
            Dialect::Text(text) => (text.client, None),
        };
        ClientKey { id, owner: self.hub().owner_of(stream_key, self.address) }
    }

    fn tell(&self, subscription: &Subscription, changed: bool) {
        if changed {
            self.hub().audience_changed(subscription.group());
        }
    }
}
