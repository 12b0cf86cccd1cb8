//! One group of a session: waiting for the group to begin, then a running cursor.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_engine::ReadingRight;
use gaung_proto::{
    DeviceId, GroupId, LogId, Seq,
    policy::PolicyRefusal,
    signing::{ticket_expiry, ticket_holder},
};

use crate::group::Group;

use super::LogReadGuard;

/// A session's groups, of which most sessions have one.
#[derive(Default)]
pub(super) struct Subscriptions(Vec<(GroupId, Box<Subscription>)>);

/// A group that a session is in.
pub(super) struct Subscription {
    pub(super) group: Arc<Group>,
    /// The ticket shown with every read of the log; empty for a public group.
    pub(super) ticket: Bytes,
    pub(super) state: SubscriptionState,
    /// True if the peer subscribed; a session is in `everyone` without that.
    pub(super) is_wanted: bool,
    /// True if the session is counted in the group's audience.
    pub(super) is_counted: bool,
    right: ReadingRight,
    /// The version of the group's policy under which the session was let in: that of its ticket, or in a public group the one when
    /// its cursor began. `None` before that is known.
    admitted: Option<u64>,
    /// The version of the policy that the session was checked against last.
    checked: u64,
}

pub(super) enum SubscriptionState {
    /// The relay has not begun to send the group.
    Waiting {
        from: Seq,
        log: Option<LogId>,
        since: Instant,
        /// True if it waits without a limit.
        is_patient: bool,
    },
    Live(Live),
}

/// The state of a running cursor besides its position, which the fan-out has.
pub(super) struct Live {
    pub(super) log: LogId,
    /// True if the cursor has been at the head since the subscription began.
    was_at_head: bool,
    /// True if the socket was full at some time since the cursor was last at the head.
    was_blocked: bool,
    /// True if the cursor was resynchronised since it was last at the head.
    is_resyncing: bool,
    /// Number of log reads since the cursor was last at the head.
    reads: u32,
    resynced: Option<Instant>,
    reading: Option<Reading>,
    last_read_from: Option<Seq>,
}

/// A read of the log in progress.
struct Reading {
    number: u64,
    from: Seq,
    _guard: LogReadGuard,
}

/// What to do with a cursor that is older than the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recovery {
    /// Read the log from the cursor on.
    Read { is_resync: bool },
    /// Skip: the log was read from here and has nothing before the ring either.
    Skip,
    /// End the session: the reader is too slow to be resynchronised again.
    TooSlow,
}

/// Most log reads in a row by which a newcomer catches up with a busy group, or a reader whom a busy hub served late.
const CATCH_UP_READS: u32 = 16;

impl Subscriptions {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn contains(&self, id: GroupId) -> bool {
        self.get(id).is_some()
    }

    pub(super) fn get(&self, id: GroupId) -> Option<&Subscription> {
        self.iter().find(|(group, _)| *group == id).map(|(_, subscription)| subscription)
    }

    pub(super) fn get_mut(&mut self, id: GroupId) -> Option<&mut Subscription> {
        self.iter_mut().find(|(group, _)| *group == id).map(|(_, subscription)| subscription)
    }

    /// Adds a group that the session is not in.
    pub(super) fn add(&mut self, id: GroupId, subscription: Subscription) {
        self.0.push((id, Box::new(subscription)));
    }

    pub(super) fn remove(&mut self, id: GroupId) -> Option<Box<Subscription>> {
        let index = self.0.iter().position(|(group, _)| *group == id)?;
        Some(self.0.swap_remove(index).1)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (GroupId, &Subscription)> {
        self.0.iter().map(|(id, subscription)| (*id, &**subscription))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (GroupId, &mut Subscription)> {
        self.0.iter_mut().map(|(id, subscription)| (*id, &mut **subscription))
    }
}

impl Subscription {
    pub(super) fn new(group: Arc<Group>, ticket: Bytes, state: SubscriptionState, is_wanted: bool) -> Self {
        let right = ReadingRight::default();
        let mut subscription = Self {
            group,
            ticket: Bytes::new(),
            state,
            is_wanted,
            is_counted: false,
            right,
            admitted: None,
            checked: 0,
        };
        subscription.show(ticket);
        subscription
    }

    /// Sets the checked ticket by which the group's log is read; empty for a public group.
    pub(super) fn show(&mut self, ticket: Bytes) {
        if let Some(expires_ms) = ticket_expiry(&ticket).filter(|_| !ticket.is_empty()) {
            self.right.extend(expires_ms);
            self.admitted = ticket_holder(&ticket).map(|(_, version)| version);
        }
        self.ticket = ticket;
    }

    /// Notes that the cursor begins: kicks of before do not concern it.
    pub(super) fn admit(&mut self) {
        let version = self.group.policy_version();
        self.admitted.get_or_insert(version);
    }

    /// Checks the session's device against the group's policy, if that is another one than at the last check.
    pub(super) fn check_policy(&mut self, device: DeviceId) -> Result<(), PolicyRefusal> {
        let version = self.group.policy_version();
        if version == self.checked {
            return Ok(());
        }
        self.checked = version;
        let Some(signed) = self.group.policy() else { return Ok(()) };
        signed.policy().check_ticket(device, self.admitted.unwrap_or(u64::MAX))
    }

    /// Returns true if the group is private and the session's ticket has expired.
    pub(super) fn is_expired(&mut self, now: Instant, time_ms: i64) -> bool {
        self.right.is_over(now, time_ms)
    }

    /// Returns true if the group should have begun by now.
    pub(super) fn is_late(&self, now: Instant, limit: Duration) -> bool {
        match self.state {
            SubscriptionState::Waiting { since, is_patient, .. } => {
                !is_patient && now.saturating_duration_since(since) >= limit
            }
            SubscriptionState::Live(_) => false,
        }
    }

    pub(super) const fn live(&self) -> Option<&Live> {
        match &self.state {
            SubscriptionState::Live(live) => Some(live),
            SubscriptionState::Waiting { .. } => None,
        }
    }

    pub(super) const fn live_mut(&mut self) -> Option<&mut Live> {
        match &mut self.state {
            SubscriptionState::Live(live) => Some(live),
            SubscriptionState::Waiting { .. } => None,
        }
    }
}

impl Live {
    pub(super) const fn new(log: LogId) -> Self {
        Self {
            log,
            was_at_head: false,
            was_blocked: false,
            is_resyncing: false,
            reads: 0,
            resynced: None,
            reading: None,
            last_read_from: None,
        }
    }

    /// Notes that the cursor is at the head.
    pub(super) const fn reached_head(&mut self) {
        self.was_at_head = true;
        self.was_blocked = false;
        self.is_resyncing = false;
        self.reads = 0;
    }

    /// Notes that the socket is full.
    pub(super) const fn handle_blocked(&mut self) {
        self.was_blocked = true;
    }

    /// Decides how to recover a cursor at `next`, which the ring has dropped. A slow reader, which
    /// was at the head and then let its socket fill, is resynchronised from the log, but not twice within `resync_limit`.
    /// A reader whose socket always had room is not slow: the hub was late.
    pub(super) fn fall_behind(&mut self, now: Instant, next: Seq, resync_limit: Duration) -> Recovery {
        let is_slow = self.was_at_head && self.was_blocked;
        let lately = self.resynced.is_some_and(|at| now.saturating_duration_since(at) < resync_limit);
        if (is_slow && (self.is_resyncing || lately)) || self.reads >= CATCH_UP_READS {
            return Recovery::TooSlow;
        }
        if is_slow {
            self.resynced = Some(now);
            self.is_resyncing = true;
        }
        self.reads += 1;
        if self.last_read_from == Some(next) { Recovery::Skip } else { Recovery::Read { is_resync: is_slow } }
    }

    pub(super) fn begin_reading(&mut self, number: u64, from: Seq, guard: LogReadGuard) {
        self.last_read_from = Some(from);
        self.reading = Some(Reading { number, from, _guard: guard });
    }

    pub(super) fn end_reading(&mut self) {
        self.reading = None;
    }

    pub(super) const fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Returns where the read with this number began; `None` if it is over.
    pub(super) fn reading_from(&self, number: u64) -> Option<Seq> {
        self.reading.as_ref().filter(|reading| reading.number == number).map(|reading| reading.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn a_slow_reader_is_resynchronised_once_within_the_limit() {
        let (mut live, now) = (Live::new(LogId(1)), Instant::now());
        live.reached_head();
        live.handle_blocked();
        assert_eq!(live.fall_behind(now, Seq(10), LIMIT), Recovery::Read { is_resync: true });
        live.reached_head();
        live.handle_blocked();
        assert_eq!(live.fall_behind(now + LIMIT, Seq(20), LIMIT), Recovery::Read { is_resync: true });
        live.reached_head();
        live.handle_blocked();
        assert_eq!(live.fall_behind(now + LIMIT * 3 / 2, Seq(30), LIMIT), Recovery::TooSlow);
    }

    #[test]
    fn a_slow_reader_has_to_reach_the_head_before_it_is_resynchronised_again() {
        let (mut live, now) = (Live::new(LogId(1)), Instant::now());
        live.reached_head();
        live.handle_blocked();
        assert_eq!(live.fall_behind(now, Seq(10), LIMIT), Recovery::Read { is_resync: true });
        assert_eq!(live.fall_behind(now + 2 * LIMIT, Seq(20), LIMIT), Recovery::TooSlow);
    }

    #[test]
    fn a_reader_that_a_busy_hub_serves_late_is_not_slow() {
        let (mut live, now) = (Live::new(LogId(1)), Instant::now());
        live.reached_head();
        for next in 1..=3 {
            assert_eq!(live.fall_behind(now, Seq(next), LIMIT), Recovery::Read { is_resync: false });
        }
        live.handle_blocked();
        assert_eq!(live.fall_behind(now, Seq(4), LIMIT), Recovery::Read { is_resync: true });
    }

    #[test]
    fn a_newcomer_reads_the_log_a_limited_number_of_times() {
        let (mut live, now) = (Live::new(LogId(1)), Instant::now());
        live.handle_blocked();
        for next in 1..=u64::from(CATCH_UP_READS) {
            assert_eq!(live.fall_behind(now, Seq(next), LIMIT), Recovery::Read { is_resync: false });
        }
        assert_eq!(live.fall_behind(now, Seq(100), LIMIT), Recovery::TooSlow);
    }

    #[test]
    fn messages_that_the_log_dropped_are_skipped() {
        let mut live = Live::new(LogId(1));
        live.last_read_from = Some(Seq(5));
        assert_eq!(live.fall_behind(Instant::now(), Seq(5), LIMIT), Recovery::Skip);
    }
}
