//! Who may use a private group: holders of a ticket that the registry signed.

use std::{
    sync::{PoisonError, RwLock},
    time::Instant,
};

use gaung_engine::{TicketError, TicketJudge};
use gaung_proto::{DeviceId, GroupId};

use crate::{clock, group::GroupConfig};

/// Checks tickets by the registry's key and clock, which are learned at each registration.
#[derive(Debug)]
pub(crate) struct Access(RwLock<TicketJudge>);

impl Access {
    /// `key`: the registry's, if it was kept.
    pub(crate) const fn new(key: Option<[u8; 32]>) -> Self {
        Self(RwLock::new(TicketJudge::new(key)))
    }

    /// The registry was heard: its key, and its clock in ms since 1970; 0 from one that does not tell it.
    pub(crate) fn handle_registry(&self, key: [u8; 32], unix_ms: i64) {
        let unix_ms = if unix_ms == 0 { clock::unix_ms() } else { unix_ms };
        let mut judge = self.0.write().unwrap_or_else(PoisonError::into_inner);
        judge.handle_registry(Instant::now(), key, unix_ms);
    }

    /// Whether `device` may write to the group with this ticket; anyone may where it is not private.
    pub(crate) fn check(&self, group: &GroupConfig, device: DeviceId, ticket: &[u8]) -> Result<(), TicketError> {
        if !group.private {
            return Ok(());
        }
        self.judge().check(self.ticket_time(), group.id, device, ticket)
    }

    /// Whether the ticket, whosever it is, lets its holder read the group.
    pub(crate) fn check_bearer(&self, group: &GroupConfig, ticket: &[u8]) -> Result<(), TicketError> {
        self.expiry_for(group, ticket).map(|_| ())
    }

    /// As [`Self::check_bearer`]; gives until when, in ms since 1970, or `None` for a group that is not private.
    pub(crate) fn expiry_for(&self, group: &GroupConfig, ticket: &[u8]) -> Result<Option<i64>, TicketError> {
        if !group.private {
            return Ok(None);
        }
        self.expiry(group.id, ticket).map(Some)
    }

    /// Until when the ticket lets its holder read the group, in ms since 1970 by the registry's clock.
    pub(crate) fn expiry(&self, group: GroupId, ticket: &[u8]) -> Result<i64, TicketError> {
        self.judge().expiry(self.ticket_time(), group, ticket)
    }

    /// The time at which tickets are judged, in ms since 1970.
    pub(crate) fn ticket_time(&self) -> i64 {
        self.judge().time_ms(Instant::now(), clock::unix_ms())
    }

    fn judge(&self) -> TicketJudge {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}
