//! A session's groups: from the wish to a running cursor, back through the log when it falls behind, to the end.

use std::{
    cell::Cell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_engine::{ReadingRight, Stalled};
use gaung_proto::{GroupId, LogId, Seq, SeqRange, limits::MAX_SESSION_GROUPS, pb};
use tokio::task::AbortHandle;
use tonic::Code;

use crate::{
    directory::GroupInfo,
    group::{Group, Place},
    history::{HistoryItem, HistoryPart, HistoryRead},
    inbox::{Failure, Found, GroupKey},
    registry::{self, Asker},
};

use super::{Dialect, Session, ask::Ask, framed};

/// One group of a session.
pub(super) struct Subscription {
    pub(super) group: Arc<Group>,
    pub(super) ticket: Bytes,
    pub(super) right: Cell<ReadingRight>,
    state: State,
    /// The session asked for it, or is a text session: it is a member from the beginning.
    wanted: bool,
    /// It stands in the group's audience.
    hears: Cell<bool>,
}

enum State {
    /// The relay has not begun to send the group.
    Waiting {
        from: Seq,
        log: Option<LogId>,
        since: Instant,
        patient: bool,
    },
    Live(Live),
}

/// A cursor's life besides its place.
pub(super) struct Live {
    pub(super) log: LogId,
    /// It has not been at the head since the subscription, or since it was led back.
    catching_up: Cell<bool>,
    /// Reads of the log since it was last at the head.
    reads: u32,
    led_back: Option<Instant>,
    read: Option<Reading>,
    last_read_from: Option<Seq>,
}

/// A read of the log under way; dropping it ends the read.
struct Reading {
    number: u64,
    from: Seq,
    task: AbortHandle,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads of the log in a row that a newcomer may need to catch up with a busy group.
const CATCH_UP_READS: u32 = 16;
/// A session that took nothing for so long loses what was read from the log for it, if another address needs the place.
const EVICTED_STALL: Duration = Duration::from_secs(1);

impl Subscription {
    pub(super) fn group(&self) -> &Arc<Group> {
        &self.group
    }

    /// It stands in the group's audience.
    pub(super) fn hears(&self) -> bool {
        self.hears.get()
    }

    pub(super) fn set_hears(&self) {
        self.hears.set(true);
    }

    /// The session asked for it.
    pub(super) const fn is_wanted(&self) -> bool {
        self.wanted
    }

    pub(super) fn live(&self) -> Option<(&Arc<Group>, &Live)> {
        match &self.state {
            State::Live(live) => Some((&self.group, live)),
            State::Waiting { .. } => None,
        }
    }

    fn live_mut(&mut self) -> Option<&mut Live> {
        match &mut self.state {
            State::Live(live) => Some(live),
            State::Waiting { .. } => None,
        }
    }
}

impl Live {
    pub(super) fn reached_head(&self) {
        self.catching_up.set(false);
    }
}

impl Session {
    /// Finds the group in the directory, or asks the registry and goes on with `ask` when it has answered.
    pub(super) fn find(self: &Rc<Self>, key: GroupKey, ask: Ask) {
        let known = match &key {
            GroupKey::Name(name) => self.hub().directory.by_name(name),
            GroupKey::Id(id) => self.hub().directory.by_id(*id),
        };
        if let Some(info) = known {
            return self.go_on(ask, Ok(info));
        }
        if self.asks.borrow().len() >= MAX_SESSION_GROUPS {
            let failure = Failure::new(Code::ResourceExhausted, "too many requests for unknown groups wait already");
            return self.go_on(ask, Err(failure));
        }
        // Sessions cost an address little, so that they share what they may ask.
        let place = match self.hub().lookups.take(self.address.into(), 1) {
            Ok(place) => place,
            Err(full) => return self.go_on(ask, Err(Failure::new(Code::ResourceExhausted, full.to_string()))),
        };
        let number = self.number();
        let ticket = ask.ticket();
        self.asks.borrow_mut().insert(number, ask);
        let asker = Asker { shard: self.shard.index, session: self.id, ask: number, place };
        registry::look_up(self.hub(), key, ticket, asker);
    }

    /// The registry has answered.
    pub(super) fn found(self: &Rc<Self>, found: Found) {
        let ask = self.asks.borrow_mut().remove(&found.ask);
        if let Some(ask) = ask {
            self.go_on(ask, found.outcome);
        }
    }

    fn go_on(self: &Rc<Self>, ask: Ask, outcome: Result<Arc<GroupInfo>, Failure>) {
        match (ask, outcome) {
            (Ask::Subscribe { from, log, ticket }, Ok(info)) => self.subscribe_checked(&info, from, log, ticket),
            (Ask::Subscribe { .. }, Err(failure)) => self.control(framed::error(0, &failure, None)),
            (Ask::Publish(wish), outcome) => self.publish_found(wish, outcome),
            (Ask::Join, outcome) => self.join_found(outcome),
        }
    }

    /// Puts the group's cursor where it was asked for, now or as soon as the group is followed.
    ///
    /// `patient`: without a limit of time.
    pub(super) fn subscribe(
        self: &Rc<Self>,
        info: &Arc<GroupInfo>,
        from: Seq,
        log: Option<LogId>,
        ticket: Bytes,
        patient: bool,
    ) -> Result<(), Failure> {
        if self.is_closing() {
            return Ok(());
        }
        // A client may send one for a public group too, where it means nothing and was not checked.
        let ticket = if info.private { ticket } else { Bytes::new() };
        let state = State::Waiting { from, log, since: Instant::now(), patient };
        let wanted = !patient || matches!(self.dialect, Dialect::Text(_));
        let known = self.subscriptions.borrow().contains_key(&info.id);
        if known {
            let mut subscriptions = self.subscriptions.borrow_mut();
            let subscription = subscriptions.get_mut(&info.id).expect("it was just seen");
            self.hub().keep_ticket(&subscription.group, &ticket);
            subscription.show(ticket);
            subscription.state = state;
            subscription.wanted |= wanted;
            self.fan.borrow_mut().remove(info.id);
        } else {
            if self.subscriptions.borrow().len() >= MAX_SESSION_GROUPS {
                return Err(Failure::new(Code::ResourceExhausted, "a session can be in 64 groups"));
            }
            let group = self.hub().watch(info, self.shard.index, self.address.into(), &ticket);
            let group = group.map_err(|full| Failure::new(Code::ResourceExhausted, full.to_string()))?;
            let (hears, right) = (Cell::new(false), Cell::default());
            let mut subscription = Subscription { group, ticket: Bytes::new(), right, state, wanted, hears };
            subscription.show(ticket);
            self.subscriptions.borrow_mut().insert(info.id, Box::new(subscription));
            self.shard.enter(info.id, self);
        }
        self.start(info.id);
        Ok(())
    }

    /// Leaves a group; false if the session was not in it.
    pub(super) fn unsubscribe(&self, group: GroupId) -> bool {
        let Some(subscription) = self.subscriptions.borrow_mut().remove(&group) else { return false };
        self.hear_no_more(&subscription);
        self.hub().groups.unwatch(&subscription.group, self.shard.index, self.address.into());
        self.fan.borrow_mut().remove(group);
        self.shard.leave(group, self.id);
        true
    }

    pub(super) fn leave_all(&self) {
        let groups: Vec<GroupId> = self.subscriptions.borrow().keys().copied().collect();
        for group in groups {
            self.unsubscribe(group);
        }
    }

    /// Where a client that comes back should go on.
    pub(super) fn resumes(&self) -> Vec<pb::hub::Resume> {
        let fan = self.fan.borrow();
        let subscriptions = self.subscriptions.borrow();
        let resume = |id: &GroupId, subscription: &Subscription| match &subscription.state {
            State::Live(live) => {
                let from_seq = fan.next(*id)?.0;
                Some(pb::hub::Resume { group_id: (*id).into(), log_id: live.log.0, from_seq })
            }
            State::Waiting { from, log, .. } => {
                let log_id = log.map_or(0, |log| log.0);
                Some(pb::hub::Resume { group_id: (*id).into(), log_id, from_seq: from.0 })
            }
        };
        subscriptions.iter().filter_map(|(id, subscription)| resume(id, subscription)).collect()
    }

    /// The group has something new, has begun, changed its log or ended.
    pub(super) fn mark(self: &Rc<Self>, id: GroupId) {
        let (waiting, replaced, ended) = {
            let subscriptions = self.subscriptions.borrow();
            let Some(subscription) = subscriptions.get(&id) else { return };
            let replaced = subscription.live().is_some_and(|(group, live)| !group.is_current(live.log));
            (subscription.live().is_none(), replaced, subscription.group.has_ended())
        };
        if ended {
            self.group_ended(id);
        } else if replaced {
            self.replaced(id);
        } else if waiting {
            self.start(id);
        } else {
            self.fan.borrow_mut().mark(id);
        }
    }

    /// Handles the cursors that cannot go on by themselves.
    pub(super) fn settle(self: &Rc<Self>) {
        loop {
            let stalled = self.fan.borrow_mut().poll_stalled();
            match stalled {
                Some(Stalled::Behind { group, next, oldest }) => self.behind(group, next, oldest),
                Some(Stalled::Replaced { group }) => self.replaced(group),
                None => return,
            }
        }
    }

    /// Something was read from the log.
    pub(super) fn history_came(self: &Rc<Self>, part: HistoryPart) {
        let current = {
            let subscriptions = self.subscriptions.borrow();
            let live = subscriptions.get(&part.group).and_then(|subscription| subscription.live());
            live.and_then(|(_, live)| live.read.as_ref()).filter(|read| read.number == part.read).map(|read| read.from)
        };
        let Some(from) = current else { return };
        match part.item {
            HistoryItem::Begun(place) => self.history_places.borrow_mut().push(place),
            HistoryItem::Run(run) => {
                let piece = self.piece_of(part.group, &run, from);
                self.fan.borrow_mut().feed(part.group, piece);
            }
            HistoryItem::Gap(range) => self.gap(part.group, range),
            HistoryItem::End => {
                if let Some(live) = self
                    .subscriptions
                    .borrow_mut()
                    .get_mut(&part.group)
                    .and_then(|subscription| subscription.live_mut())
                {
                    live.read = None;
                }
                self.fan.borrow_mut().release(part.group);
            }
            HistoryItem::Failed(failure) => self.history_failed(part.group, &failure),
        }
    }

    /// Gives the places back once what was read from the log is written.
    pub(super) fn leave_history(&self) {
        if self.history_places.borrow().is_empty() || self.fan.borrow().feed_bytes() > 0 {
            return;
        }
        let is_reading = |subscription: &Subscription| subscription.live().is_some_and(|(_, live)| live.read.is_some());
        if !self.subscriptions.borrow().values().any(|subscription| is_reading(subscription)) {
            self.history_places.take();
        }
    }

    /// Ends a session whose place for history another address needs, if it takes nothing; one that does may finish.
    pub(super) fn sweep_history(&self, now: Instant) {
        let is_evicted = self.history_places.borrow().iter().any(|place| place.is_evicted());
        if is_evicted
            && now.saturating_duration_since(self.progress.get()) >= EVICTED_STALL
            && self.ending.get().is_none()
        {
            self.hub().figures.evicted.inc();
            self.end("nothing was read while others wait for history", false);
        }
    }

    /// Ends the wait for groups that do not begin.
    pub(super) fn sweep_subscriptions(self: &Rc<Self>, now: Instant) {
        let limit = self.hub().config.limits.subscribe;
        let late: Vec<(GroupId, Option<Failure>)> = {
            let subscriptions = self.subscriptions.borrow();
            let is_late = |subscription: &Subscription| match subscription.state {
                State::Waiting { since, patient, .. } => !patient && now.saturating_duration_since(since) >= limit,
                State::Live(_) => false,
            };
            let late = subscriptions.iter().filter(|(_, subscription)| is_late(subscription));
            late.map(|(id, subscription)| (*id, subscription.group.trouble())).collect()
        };
        self.sweep_expired(now);
        for (id, trouble) in late {
            self.unsubscribe(id);
            let away =
                || Failure::new(Code::Unavailable, "the group's relay cannot be reached at the moment; try again");
            self.subscription_failed(id, &trouble.unwrap_or_else(away));
        }
    }

    /// Starts the cursor if the group is followed by now.
    fn start(self: &Rc<Self>, id: GroupId) {
        let (group, from, log, patient) = {
            let subscriptions = self.subscriptions.borrow();
            let Some(subscription) = subscriptions.get(&id) else { return };
            let State::Waiting { from, log, patient, .. } = subscription.state else { return };
            (subscription.group.clone(), from, log, patient)
        };
        match group.place(from, log) {
            Place::NotYet => {
                // What waiting does not mend is told at once.
                let refused = group.trouble().filter(|trouble| trouble.code == Code::FailedPrecondition && !patient);
                if let Some(trouble) = refused {
                    self.unsubscribe(id);
                    self.subscription_failed(id, &trouble);
                }
            }
            Place::Ended(ended) => {
                self.unsubscribe(id);
                self.subscription_failed(id, &Failure::new(ended.code, ended.message));
            }
            Place::At { log, next, head, history_lost } => {
                self.place_at(id, &group.info().name, log, next, head, history_lost);
            }
        }
    }

    fn place_at(&self, id: GroupId, name: &str, log: LogId, next: Seq, head: Seq, history_lost: bool) {
        if let Some(subscription) = self.subscriptions.borrow_mut().get_mut(&id) {
            let live =
                Live { log, catching_up: Cell::new(true), reads: 0, led_back: None, read: None, last_read_from: None };
            subscription.state = State::Live(live);
            self.hear_from(subscription, next);
        }
        self.fan.borrow_mut().place(id, next);
        match &self.dialect {
            Dialect::Framed(_) => self.control(framed::subscribed(id, name, log, next, head, history_lost)),
            Dialect::Text(text) => self.text_subscribed(text, id, history_lost),
        }
    }

    /// The group's log is another one: everything in it is new.
    fn replaced(&self, id: GroupId) {
        let found = {
            let subscriptions = self.subscriptions.borrow();
            subscriptions.get(&id).map(|subscription| (subscription.group.clone(), subscription.group.info()))
        };
        let Some((group, info)) = found else { return };
        if let Some(log) = group.log() {
            self.place_at(id, &info.name, log, Seq::FIRST, group.head(), true);
        }
    }

    fn group_ended(&self, id: GroupId) {
        let ended = self.subscriptions.borrow().get(&id).and_then(|subscription| subscription.group.ended());
        let Some(ended) = ended else { return };
        self.unsubscribe(id);
        match &self.dialect {
            Dialect::Framed(_) => self.control(framed::unsubscribed(id, ended.code, &ended.message)),
            Dialect::Text(text) => self.text_group_ended(text, id, &ended),
        }
    }

    fn subscription_failed(&self, id: GroupId, failure: &Failure) {
        match &self.dialect {
            Dialect::Framed(_) => self.control(framed::error(0, failure, Some(id))),
            Dialect::Text(text) => self.text_join_failed(text, failure),
        }
    }

    /// The cursor is older than the ring: leads it back through the log, but a slow reader only once.
    fn behind(self: &Rc<Self>, id: GroupId, next: Seq, oldest: Seq) {
        let now = Instant::now();
        let limits = &self.hub().config.limits;
        let mut subscriptions = self.subscriptions.borrow_mut();
        let Some(subscription) = subscriptions.get_mut(&id) else { return };
        let (group, ticket) = (subscription.group.clone(), subscription.ticket.clone());
        let Some(live) = subscription.live_mut() else { return };
        let lately = live.led_back.is_some_and(|at| now.saturating_duration_since(at) < limits.resync);
        let too_slow =
            if live.catching_up.get() { live.led_back.is_some() || live.reads >= CATCH_UP_READS } else { lately };
        if too_slow {
            drop(subscriptions);
            self.hub().figures.slow_readers.inc();
            return self.end("too slow: the messages left memory before they were read", false);
        }
        if !live.catching_up.replace(true) {
            live.led_back = Some(now);
            live.reads = 0;
            self.hub().figures.resyncs.inc();
        }
        live.reads += 1;
        let nothing_came = live.last_read_from == Some(next);
        if nothing_came {
            drop(subscriptions);
            if let Some(range) = SeqRange::new(next, Seq(oldest.0.saturating_sub(1))) {
                self.gap(id, range);
            }
            return self.fan.borrow_mut().place(id, oldest);
        }
        let number = self.number();
        let to = self.history_sender();
        let hub = self.hub().clone();
        let read = HistoryRead {
            hub: hub.clone(),
            group,
            log: live.log,
            next,
            ticket,
            origin: self.address.into(),
            number,
            to,
        };
        let task = hub.runtime.spawn(read.run()).abort_handle();
        live.last_read_from = Some(next);
        live.read = Some(Reading { number, from: next, task });
    }

    fn history_failed(&self, id: GroupId, failure: &Failure) {
        let log_changes = matches!(failure.code, Code::FailedPrecondition | Code::NotFound);
        if let Some(live) =
            self.subscriptions.borrow_mut().get_mut(&id).and_then(|subscription| subscription.live_mut())
        {
            live.read = None;
        }
        // A new log or the group's end is told by the stream of runs; until then the cursor is held.
        if !log_changes {
            self.unsubscribe(id);
            self.subscription_failed(id, failure);
        }
    }

    fn gap(&self, id: GroupId, range: SeqRange) {
        match &self.dialect {
            Dialect::Framed(_) => self.control(framed::gap(id, range)),
            Dialect::Text(_) => self.control(super::text::gap(range)),
        }
    }
}
