//! Access to private groups, for holders of a ticket that the registry signed.

use std::{
    sync::{PoisonError, RwLock},
    time::Instant,
};

use gaung_engine::{TicketError, TicketJudge};
use gaung_proto::{DeviceId, GroupId};
use service_kit::secure::PeerDevice;

use crate::{clock, group::GroupConfig};

/// Checks tickets by the registry's key and clock, which are learned at each registration.
#[derive(Debug)]
pub(crate) struct GroupAccess(RwLock<TicketJudge>);

impl GroupAccess {
    /// Makes a judge of tickets. `key`: the registry's public key, if a former registration stored it.
    pub(crate) const fn new(key: Option<[u8; 32]>) -> Self {
        Self(RwLock::new(TicketJudge::new(key)))
    }

    /// Takes the registry's key and its clock in ms since 1970 (0 if it does not send it) from a registration.
    pub(crate) fn handle_registry(&self, key: [u8; 32], unix_ms: i64) {
        let unix_ms = if unix_ms == 0 { clock::unix_ms() } else { unix_ms };
        let mut judge = self.0.write().unwrap_or_else(PoisonError::into_inner);
        judge.handle_registry(Instant::now(), key, unix_ms);
    }

    /// Checks that `device` may write to the group by this ticket; anyone may where it is not private.
    pub(crate) fn check_writer(&self, group: &GroupConfig, device: DeviceId, ticket: &[u8]) -> Result<(), TicketError> {
        if !group.private {
            return Ok(());
        }
        self.judge().check(self.ticket_time(), group.id, device, ticket).map(|_| ())
    }

    /// Checks that a caller with this device may read the group by this ticket. Returns the expiry in ms since 1970, or `None` for a
    /// group that is not private.
    pub(crate) fn check_reader(
        &self,
        group: &GroupConfig,
        peer: PeerDevice,
        ticket: &[u8],
    ) -> Result<Option<i64>, TicketError> {
        if !group.private {
            return Ok(None);
        }
        let (judge, time) = (self.judge(), self.ticket_time());
        match peer {
            PeerDevice::Proven(device) => judge.check(time, group.id, device, ticket),
            PeerDevice::Believed => judge.expiry(time, group.id, ticket),
            PeerDevice::Absent => judge.check(time, group.id, DeviceId::NONE, ticket),
        }
        .map(Some)
    }

    /// Returns when a ticket that a hub shows for its sessions expires, in ms since 1970 by the registry's clock.
    pub(crate) fn expiry(&self, group: GroupId, ticket: &[u8]) -> Result<i64, TicketError> {
        self.judge().expiry(self.ticket_time(), group, ticket)
    }

    /// Returns the registry's clock as far as it is known, in ms since 1970; tickets expire by it.
    pub(crate) fn ticket_time(&self) -> i64 {
        self.judge().time_ms(Instant::now(), clock::unix_ms())
    }

    fn judge(&self) -> TicketJudge {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}
