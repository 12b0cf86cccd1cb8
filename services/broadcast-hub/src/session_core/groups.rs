//! The session as a member of its groups: from the request for a group to its end.

use std::sync::Arc;

use bytes::Bytes;
use gaung_engine::TicketError;
use gaung_proto::{DeviceId, GroupId, LogId, Seq, body::Cookie, limits::MAX_SESSION_GROUPS, policy::PolicyRefusal};
use tonic::Code;

use crate::{
    audience::ClientKey,
    directory::GroupInfo,
    failure::Failure,
    group::{GroupStart, StartPosition},
};

use super::{
    GroupKey, PublishRequest, ResumePoint, Say, SessionCore, Surroundings,
    subscription::{Live, Subscription, SubscriptionState},
};

/// A request that waits until the registry has answered which group it names.
#[derive(Debug)]
pub(super) enum WaitingRequest {
    Subscribe { from: Seq, log: Option<LogId>, ticket: Bytes },
    Publish(PublishRequest),
    Join,
}

/// How a subscription begins.
pub(super) struct SubscriptionStart {
    from: Seq,
    log: Option<LogId>,
    ticket: Bytes,
    /// True if it waits for the group without a limit.
    is_patient: bool,
}

impl SubscriptionStart {
    /// Begins with the next message, and waits for the group without a limit.
    pub(super) const EVERYONE: Self = Self { from: Seq::ZERO, log: None, ticket: Bytes::new(), is_patient: true };
    /// Begins with the next message.
    const JOINED: Self = Self { from: Seq::ZERO, log: None, ticket: Bytes::new(), is_patient: false };
}

impl SessionCore {
    /// Handles a change of a group: new messages, its beginning, a new log or its end.
    pub fn mark(&mut self, id: GroupId, around: &mut Surroundings<'_>) {
        // An ending session has no cursors any more, and a group that begins must not add one.
        if self.ending.is_some() {
            return;
        }
        let refused = self.check_policy(id);
        let Some(subscription) = self.subscriptions.get(id) else { return };
        let group = &subscription.group;
        if let Err(refusal) = refused {
            self.unsubscribe(id, around);
            let (code, message) = (Code::PermissionDenied, refusal.to_string());
            self.say(Say::Unsubscribed { group: id, code, message }, around);
        } else if group.has_ended() {
            self.group_ended(id, around);
        } else {
            match subscription.live() {
                Some(live) if group.is_current(live.log) => self.fan.mark(id),
                Some(_) => self.restart(id, around),
                None => self.start(id, around),
            }
        }
    }

    /// Leaves a group; returns false if the session was not in it.
    pub(super) fn unsubscribe(&mut self, id: GroupId, around: &mut Surroundings<'_>) -> bool {
        let Some(subscription) = self.subscriptions.remove(id) else { return false };
        if subscription.is_counted {
            let changed = subscription.group.audience.leave(self.client_key());
            report(&subscription, changed, around);
        }
        around.hub.unwatch(&subscription.group);
        self.fan.remove(id);
        true
    }

    /// Leaves all groups when the session is over.
    pub fn leave_all(&mut self, around: &mut Surroundings<'_>) {
        let groups: Vec<GroupId> = self.subscriptions.iter().map(|(id, _)| id).collect();
        for group in groups {
            self.unsubscribe(group, around);
        }
    }

    /// Returns where a peer that comes back should resume.
    pub(super) fn resume_points(&self) -> Vec<ResumePoint> {
        let point = |(group, subscription): (GroupId, &Subscription)| {
            let (log, next) = match &subscription.state {
                SubscriptionState::Live(live) => (Some(live.log), self.fan.next(group)?),
                SubscriptionState::Waiting { from, log, .. } => (*log, *from),
            };
            Some(ResumePoint { group, log, next })
        };
        self.subscriptions.iter().filter_map(point).collect()
    }

    /// Finds the group in the directory, or looks it up at the registry and continues with the answer.
    pub(super) fn find(
        &mut self,
        key: GroupKey,
        ticket: Bytes,
        request: WaitingRequest,
        around: &mut Surroundings<'_>,
    ) {
        let known = match &key {
            GroupKey::Known(info) => Some(info.clone()),
            GroupKey::Name(_) | GroupKey::Id(_) => around.hub.known_group(&key),
        };
        if let Some(info) = known {
            return self.go_on(request, Ok(info), around);
        }
        if self.waiting.len() >= MAX_SESSION_GROUPS {
            let failure = Failure::new(Code::ResourceExhausted, "too many requests for unknown groups wait already");
            return self.go_on(request, Err(failure), around);
        }
        let number = self.number();
        match around.hub.look_up(number, key, ticket) {
            Ok(()) => drop(self.waiting.insert(number, request)),
            Err(failure) => self.go_on(request, Err(failure), around),
        }
    }

    /// Handles the registry's answer to the lookup with this number.
    pub fn handle_found(
        &mut self,
        number: u64,
        outcome: Result<Arc<GroupInfo>, Failure>,
        around: &mut Surroundings<'_>,
    ) {
        if let Some(request) = self.waiting.remove(&number) {
            self.go_on(request, outcome, around);
        }
    }

    fn go_on(
        &mut self,
        request: WaitingRequest,
        outcome: Result<Arc<GroupInfo>, Failure>,
        around: &mut Surroundings<'_>,
    ) {
        let info = match outcome {
            Ok(info) => info,
            Err(failure) => {
                let tag = if let WaitingRequest::Publish(publish) = &request { publish.tag } else { 0 };
                return self.say(Say::Error { tag, group: None, failure }, around);
            }
        };
        match request {
            WaitingRequest::Subscribe { from, log, ticket } => {
                let beginning = SubscriptionStart { from, log, ticket, is_patient: false };
                match self.check_ticket(&info, &beginning.ticket, around) {
                    Ok(()) => self.subscribe_or_say(&info, beginning, around),
                    Err(failure) => self.say(Say::Error { tag: 0, group: Some(info.id), failure }, around),
                }
            }
            WaitingRequest::Join => self.join(&info, around),
            WaitingRequest::Publish(publish) => self.publish(&info, publish, around),
        }
    }

    fn join(&mut self, info: &Arc<GroupInfo>, around: &mut Surroundings<'_>) {
        if info.private {
            let message = format!("{} is private; use `gaung chat` with an invite", info.name);
            let failure = Failure::new(Code::PermissionDenied, message);
            return self.say(Say::Error { tag: 0, group: None, failure }, around);
        }
        let is_subscribed = self.subscriptions.contains(info.id);
        self.say(Say::Joining { group: info.clone(), is_subscribed }, around);
        if !is_subscribed {
            self.subscribe_or_say(info, SubscriptionStart::JOINED, around);
        }
    }

    pub(super) fn subscribe_or_say(
        &mut self,
        info: &Arc<GroupInfo>,
        beginning: SubscriptionStart,
        around: &mut Surroundings<'_>,
    ) {
        if let Err(failure) = self.subscribe(info, beginning, around) {
            self.say(Say::Error { tag: 0, group: Some(info.id), failure }, around);
        }
    }

    pub(super) fn check_ticket(
        &self,
        info: &GroupInfo,
        ticket: &Bytes,
        around: &Surroundings<'_>,
    ) -> Result<(), Failure> {
        if !info.private {
            return Ok(());
        }
        self.check_exposure(info)?;
        let device = self.client.as_ref().map(|client| client.device).unwrap_or_default();
        // The error does not name the group: whoever subscribes by id need not know its name.
        around.hub.check_ticket(around.now, info.id, device, ticket).map_err(|error| {
            let code = match error {
                TicketError::NoKey => Code::Unavailable,
                TicketError::NoTicket | TicketError::NoDevice | TicketError::Ticket(_) => Code::PermissionDenied,
            };
            Failure::new(code, error.to_string())
        })
    }

    /// Refuses private groups where others on the network can read the session.
    pub(super) fn check_exposure(&self, info: &GroupInfo) -> Result<(), Failure> {
        if info.private && self.is_for_open_groups {
            return Err(Failure::exposed());
        }
        Ok(())
    }

    /// Sets the group's cursor to the requested position, now or as soon as the group is followed.
    fn subscribe(
        &mut self,
        info: &Arc<GroupInfo>,
        beginning: SubscriptionStart,
        around: &mut Surroundings<'_>,
    ) -> Result<(), Failure> {
        if self.ending.is_some() {
            return Ok(());
        }
        let SubscriptionStart { from, log, ticket, is_patient } = beginning;
        // A ticket for a public group is ignored; it was not checked.
        let ticket = if info.private { ticket } else { Bytes::new() };
        let state = SubscriptionState::Waiting { from, log, since: around.now, is_patient };
        let is_wanted = !is_patient || !around.dialect.rules().acknowledges;
        if let Some(subscription) = self.subscriptions.get_mut(info.id) {
            around.hub.renew_ticket(&subscription.group, &ticket);
            subscription.show(ticket);
            subscription.state = state;
            subscription.is_wanted |= is_wanted;
            self.fan.remove(info.id);
        } else {
            if self.subscriptions.len() >= MAX_SESSION_GROUPS {
                return Err(Failure::new(Code::ResourceExhausted, "a session can be in 64 groups"));
            }
            let group = around.hub.watch(info, &ticket)?;
            let subscription = Subscription::new(group, ticket, state, is_wanted);
            self.subscriptions.add(info.id, subscription);
        }
        self.start(info.id, around);
        Ok(())
    }

    /// Checks whether the group's policy lets the session's device stay, if the policy is another one than at the last check.
    fn check_policy(&mut self, id: GroupId) -> Result<(), PolicyRefusal> {
        let device = self.client.as_ref().map(|client| client.device).unwrap_or_default();
        self.subscriptions.get_mut(id).map_or(Ok(()), |subscription| subscription.check_policy(device))
    }

    /// Starts the cursor if the group is followed by now.
    fn start(&mut self, id: GroupId, around: &mut Surroundings<'_>) {
        if let Err(refusal) = self.check_policy(id) {
            return self.fail_subscription(id, Failure::new(Code::PermissionDenied, refusal.to_string()), around);
        }
        let Some(subscription) = self.subscriptions.get(id) else { return };
        let SubscriptionState::Waiting { from, log, is_patient, .. } = subscription.state else { return };
        match subscription.group.start_at(from, log) {
            GroupStart::NotYet => {
                // A failure that does not pass by waiting is reported at once.
                let trouble = subscription.group.trouble();
                let refused = trouble.filter(|trouble| trouble.code == Code::FailedPrecondition && !is_patient);
                if let Some(failure) = refused {
                    self.fail_subscription(id, failure, around);
                }
            }
            GroupStart::Ended(ended) => {
                self.fail_subscription(id, Failure::new(ended.code, ended.message), around);
            }
            GroupStart::At(position) => self.place_cursor(id, position, around),
        }
    }

    /// Restarts the cursor at the beginning of the group's new log.
    pub(super) fn restart(&mut self, id: GroupId, around: &mut Surroundings<'_>) {
        let Some(group) = self.subscriptions.get(id).map(|subscription| &subscription.group) else { return };
        if let Some(log) = group.log() {
            let position = StartPosition { log, next: Seq::FIRST, head: group.head(), history_lost: true };
            self.place_cursor(id, position, around);
        }
    }

    fn place_cursor(&mut self, id: GroupId, position: StartPosition, around: &mut Surroundings<'_>) {
        let StartPosition { log, next, head, history_lost } = position;
        let Some(subscription) = self.subscriptions.get_mut(id) else { return };
        let group = subscription.group.info();
        subscription.admit();
        subscription.state = SubscriptionState::Live(Live::new(log));
        self.fan.place(id, next);
        self.count_from(id, next, around);
        self.say(Say::Subscribed { group, log, next, head, history_lost }, around);
    }

    fn group_ended(&mut self, id: GroupId, around: &mut Surroundings<'_>) {
        let ended = self.subscriptions.get(id).and_then(|subscription| subscription.group.ended());
        let Some(ended) = ended else { return };
        self.unsubscribe(id, around);
        self.say(Say::Unsubscribed { group: id, code: ended.code, message: ended.message }, around);
    }

    pub(super) fn fail_subscription(&mut self, id: GroupId, failure: Failure, around: &mut Surroundings<'_>) {
        self.unsubscribe(id, around);
        self.say(Say::Error { tag: 0, group: Some(id), failure }, around);
    }

    /// Leaves private groups whose tickets have expired, and groups that did not begin in time.
    pub(super) fn sweep_subscriptions(&mut self, around: &mut Surroundings<'_>) {
        let (now, limit) = (around.now, self.limits.subscribe);
        let time_ms = around.hub.ticket_time(now);
        let (mut expired, mut late) = (Vec::new(), Vec::new());
        for (id, subscription) in self.subscriptions.iter_mut() {
            if subscription.is_expired(now, time_ms) {
                expired.push(id);
            } else if subscription.is_late(now, limit) {
                late.push((id, subscription.group.trouble()));
            }
        }
        for group in expired {
            self.unsubscribe(group, around);
            let message = "the ticket has expired; join the group again and subscribe with the new one".to_owned();
            self.say(Say::Unsubscribed { group, code: Code::Unauthenticated, message }, around);
        }
        for (id, trouble) in late {
            let away =
                || Failure::new(Code::Unavailable, "the group's relay cannot be reached at the moment; try again");
            self.fail_subscription(id, trouble.unwrap_or_else(away), around);
        }
    }

    /// Handles an acknowledgement. The first one for `everyone` counts the peer in its audience.
    pub(super) fn acknowledge(
        &mut self,
        id: GroupId,
        log: LogId,
        delivered: Seq,
        cookie: Cookie,
        around: &mut Surroundings<'_>,
    ) {
        let client = self.client_key();
        let Some(subscription) = self.subscriptions.get(id) else { return };
        // The acknowledgement is for a log that was replaced meanwhile.
        if subscription.live().is_none_or(|live| live.log != log) {
            return;
        }
        if subscription.is_counted {
            let further = subscription.group.audience.deliver(client, delivered);
            report(subscription, further, around);
        } else {
            self.enter_audience(id, delivered, around);
        }
        if cookie.0 != 0
            && let Some(subscription) = self.subscriptions.get(id)
        {
            let shown = subscription.group.audience.show_cookie(client, cookie);
            report(subscription, shown, around);
        }
    }

    /// Counts a peer that subscribed in the group's audience, as having delivered everything before `next`.
    fn count_from(&mut self, id: GroupId, next: Seq, around: &mut Surroundings<'_>) {
        let delivered = Seq(next.0.saturating_sub(1));
        let client = self.client_key();
        let Some(subscription) = self.subscriptions.get(id) else { return };
        if subscription.is_counted {
            let moved = subscription.group.audience.move_to(client, delivered);
            report(subscription, moved, around);
        } else if subscription.is_wanted {
            self.enter_audience(id, delivered, around);
        }
    }

    fn enter_audience(&mut self, id: GroupId, delivered: Seq, around: &mut Surroundings<'_>) {
        let (Some(client), Some(subscription)) = (&self.client, self.subscriptions.get_mut(id)) else { return };
        let delivered = around.dialect.rules().acknowledges.then_some(delivered);
        let entered = subscription.group.audience.enter(client.key, client.device, &client.name, delivered);
        subscription.is_counted = true;
        report(subscription, entered, around);
    }

    pub(super) fn rename(&mut self, name: String, around: &mut Surroundings<'_>) {
        let Some(client) = &mut self.client else { return };
        client.name = name;
        for (_, subscription) in self.subscriptions.iter().filter(|(_, subscription)| subscription.is_counted) {
            let renamed = subscription.group.audience.rename(client.key, &client.name);
            report(subscription, renamed, around);
        }
    }

    /// Tells the audiences that count the peer which device it has.
    pub(super) fn tell_device(&self, device: DeviceId, around: &mut Surroundings<'_>) {
        let client = self.client_key();
        for (_, subscription) in self.subscriptions.iter().filter(|(_, subscription)| subscription.is_counted) {
            let changed = subscription.group.audience.set_device(client, device);
            report(subscription, changed, around);
        }
    }

    pub(super) fn client_key(&self) -> ClientKey {
        self.client.as_ref().map(|client| client.key).unwrap_or_default()
    }
}

fn report(subscription: &Subscription, changed: bool, around: &mut Surroundings<'_>) {
    if changed {
        around.hub.audience_changed(&subscription.group);
    }
}
