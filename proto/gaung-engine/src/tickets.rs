//! Tickets of private groups: what a client keeps, what services judge them by, and how long a stream that one opened
//! goes on.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_proto::{
    DeviceId, GroupId,
    signing::{self, SigningError},
};

use crate::timing::TIMING;

/// Why a private group stays closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// No ticket came with the request.
    #[error("this group is private: join it and send the ticket along")]
    NoTicket,
    /// The service has never met its registry.
    #[error("the registry has not been heard yet, and tickets cannot be checked without it; try again")]
    NoKey,
    /// The caller has no device that a ticket could be for.
    #[error(
        "this group is private, and this connection proves no device; connect by TLS with the key of a member's device"
    )]
    NoDevice,
    /// The ticket is no good.
    #[error(transparent)]
    Ticket(#[from] SigningError),
}

/// Judges tickets for a relay or a hub, by the registry's key and the registry's clock.
///
/// Only the clock that issued a ticket can decide whether it has expired: clocks of a LAN without internet differ by
/// hours or years, and a clock that is set right steps. So the registry sends its time whenever it is heard, and in
/// between the monotonic clock counts on from it. While the registry is away that time stands still, for nobody can get
/// a newer ticket then, and groups talk on without it.
#[derive(Debug, Clone, Copy, Default)]
pub struct TicketJudge {
    key: Option<[u8; 32]>,
    /// When the registry was heard last, and its clock then, ms since 1970.
    heard: Option<(Instant, i64)>,
}

impl TicketJudge {
    /// Makes a judge. `key`: the registry's, if it is known from an earlier start.
    #[must_use]
    pub const fn new(key: Option<[u8; 32]>) -> Self {
        Self { key, heard: None }
    }

    /// Notes the registry's key and its clock in ms since 1970, each time it is heard.
    pub const fn handle_registry(&mut self, now: Instant, key: [u8; 32], unix_ms: i64) {
        self.key = Some(key);
        self.heard = Some((now, unix_ms));
    }

    /// Returns the time at which tickets are judged, ms since 1970. `own_unix_ms`: the service's own clock, which
    /// counts only until the registry is heard for the first time.
    #[must_use]
    pub fn time_ms(&self, now: Instant, own_unix_ms: i64) -> i64 {
        let Some((heard, unix_ms)) = self.heard else { return own_unix_ms };
        let passed = now.saturating_duration_since(heard);
        if passed > TIMING.registry_away { unix_ms } else { unix_ms + passed.as_millis() as i64 }
    }

    /// Returns until when `device` may use `group` by this ticket, ms since 1970 by the registry's clock. `time_ms`: see
    /// [`Self::time_ms`].
    ///
    /// # Errors
    /// [`TicketError`], each case.
    pub fn check(&self, time_ms: i64, group: GroupId, device: DeviceId, ticket: &[u8]) -> Result<i64, TicketError> {
        let key = self.key_for(ticket)?;
        if device.is_none() {
            return Err(TicketError::NoDevice);
        }
        Ok(signing::verify_ticket(&key, ticket, group, device, time_ms)?)
    }

    /// Returns until when the ticket lets its holder read `group`, ms since 1970 by the registry's clock.
    ///
    /// # Errors
    /// [`TicketError`], each case.
    pub fn expiry(&self, time_ms: i64, group: GroupId, ticket: &[u8]) -> Result<i64, TicketError> {
        Ok(signing::verify_bearer(&self.key_for(ticket)?, ticket, group, time_ms)?)
    }

    const fn key_for(&self, ticket: &[u8]) -> Result<[u8; 32], TicketError> {
        match self.key {
            _ if ticket.is_empty() => Err(TicketError::NoTicket),
            Some(key) => Ok(key),
            None => Err(TicketError::NoKey),
        }
    }
}

/// The right of one stream or session to go on reading a private group: as long as a ticket that it showed is good, and a
/// little longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadingRight {
    /// When the best ticket that was shown expires, ms since 1970; `None` before there was one.
    expires_ms: Option<i64>,
    over_since: Option<Instant>,
}

impl ReadingRight {
    /// Extends the right by a ticket that is good until `expires_ms`; returns false if an earlier one is good for as
    /// long.
    pub fn extend(&mut self, expires_ms: i64) -> bool {
        let is_later = self.expires_ms.is_none_or(|known| known < expires_ms);
        if is_later {
            self.expires_ms = Some(expires_ms);
        }
        is_later
    }

    /// Whether a ticket was shown; a group that is not private needs none.
    #[must_use]
    pub const fn is_proven(&self) -> bool {
        self.expires_ms.is_some()
    }

    /// Whether the last ticket expired longer ago than the grace period; call it every few seconds. `time_ms`: see
    /// [`TicketJudge::time_ms`].
    pub fn is_over(&mut self, now: Instant, time_ms: i64) -> bool {
        let is_expired = self.expires_ms.is_some_and(|expires| expires < time_ms);
        self.over_since = if is_expired { self.over_since.or(Some(now)) } else { None };
        self.over_since.is_some_and(|since| now.saturating_duration_since(since) >= TIMING.ticket_grace)
    }
}

/// The newest ticket of each private group that a client uses, and when it is time for a newer one.
#[derive(Debug, Default)]
pub struct TicketStore {
    held: BTreeMap<GroupId, HeldTicket>,
}

#[derive(Debug)]
struct HeldTicket {
    ticket: Bytes,
    /// From then on a newer one is fetched at the next use. A ticket outlasts its lease by minutes, so the use itself need
    /// not wait.
    renew_at: Instant,
    /// Whether a renewal is in progress.
    renewing: bool,
}

impl TicketStore {
    /// Keeps the ticket of a join.
    pub fn keep(&mut self, now: Instant, group: GroupId, ticket: Bytes, lease: Duration) {
        self.held.insert(group, HeldTicket { ticket, renew_at: now + lease, renewing: false });
    }

    /// Returns the newest ticket of the group; empty for a group that needs none.
    #[must_use]
    pub fn newest(&self, group: GroupId) -> Bytes {
        self.held.get(&group).map(|held| held.ticket.clone()).unwrap_or_default()
    }

    /// Returns the newest ticket if it is another one than `refused`, which a service did not take.
    #[must_use]
    pub fn newer_than(&self, group: GroupId, refused: &Bytes) -> Option<Bytes> {
        self.held.get(&group).map(|held| held.ticket.clone()).filter(|newest| newest != refused)
    }

    /// Returns true once each time that the group's ticket is due for renewal; the caller renews it.
    pub fn take_due(&mut self, now: Instant, group: GroupId) -> bool {
        let held = self.held.get_mut(&group).filter(|held| !held.renewing && held.renew_at <= now);
        held.map(|held| held.renewing = true).is_some()
    }

    /// Handles a failed renewal; the next one waits for `delay`.
    pub fn renewal_failed(&mut self, now: Instant, group: GroupId, delay: Duration) {
        if let Some(held) = self.held.get_mut(&group) {
            (held.renewing, held.renew_at) = (false, now + delay);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GROUP: GroupId = GroupId([1; 16]);
    const NOON: i64 = 1_800_000_000_000;
    const HOUR_MS: i64 = 3_600_000;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn the_registrys_clock_judges_and_not_the_services_own() {
        let (start, mut judge) = (Instant::now(), TicketJudge::new(None));
        assert_eq!(judge.time_ms(start, NOON), NOON, "until the registry is heard");
        judge.handle_registry(start, [1; 32], NOON);
        for own in [0, NOON - 24 * HOUR_MS, NOON + 24 * HOUR_MS] {
            assert_eq!(judge.time_ms(start + seconds(30), own), NOON + 30_000);
        }
        judge.handle_registry(start + seconds(30), [1; 32], NOON + HOUR_MS);
        assert_eq!(judge.time_ms(start + seconds(31), NOON), NOON + HOUR_MS + 1000, "its own steps are followed");
    }

    #[test]
    fn tickets_do_not_age_while_the_registry_is_away() {
        let (start, mut judge) = (Instant::now(), TicketJudge::new(None));
        judge.handle_registry(start, [1; 32], NOON);
        assert_eq!(judge.time_ms(start + seconds(600), NOON + 600_000), NOON);
    }

    #[test]
    fn a_right_outlasts_its_ticket_by_the_grace_period() {
        let (start, mut right) = (Instant::now(), ReadingRight::default());
        assert!(!right.is_proven() && !right.is_over(start, i64::MAX), "a group that is not private");
        assert!(right.extend(NOON) && !right.extend(NOON - 1) && right.is_proven());
        assert!(!right.is_over(start, NOON));
        assert!(!right.is_over(start, NOON + 24 * HOUR_MS), "a step of the clock ends nothing at once");
        assert!(!right.is_over(start + TIMING.ticket_grace - seconds(1), NOON + 24 * HOUR_MS));
        assert!(right.is_over(start + TIMING.ticket_grace, NOON + 24 * HOUR_MS));
        assert!(right.extend(NOON + 25 * HOUR_MS));
        assert!(!right.is_over(start + TIMING.ticket_grace, NOON + 24 * HOUR_MS));
        assert!(!right.is_over(start + 2 * TIMING.ticket_grace, NOON + 26 * HOUR_MS), "its grace begins anew");
    }

    #[test]
    fn the_newest_is_given_and_comes_of_age_once() {
        let (now, mut tickets) = (Instant::now(), TicketStore::default());
        assert_eq!(tickets.newest(GROUP), "", "a group that needs none");
        assert!(!tickets.take_due(now, GROUP));
        let (first, second) = (Bytes::from_static(b"first"), Bytes::from_static(b"second"));
        tickets.keep(now, GROUP, first.clone(), seconds(30));
        assert!(!tickets.take_due(now, GROUP));
        assert_eq!(tickets.newer_than(GROUP, &first), None);
        let later = now + seconds(40);
        assert!(tickets.take_due(later, GROUP));
        assert!(!tickets.take_due(later, GROUP), "one renewal at a time");
        assert_eq!(tickets.newest(GROUP), "first", "is good for minutes still");
        tickets.renewal_failed(later, GROUP, Duration::ZERO);
        assert!(tickets.take_due(later, GROUP));
        tickets.keep(later, GROUP, second.clone(), seconds(90));
        assert_eq!((tickets.newest(GROUP), tickets.newer_than(GROUP, &first)), (second.clone(), Some(second)));
        assert!(!tickets.take_due(later + seconds(89), GROUP));
    }
}
