//! The hub: sessions that hear the group by their tickets, and one stream from the relay by the best of them.

use std::{collections::BTreeMap, time::Duration, time::Instant};

use bytes::Bytes;
use gaung_engine::{ReadingRight, TicketError, TicketJudge};
use gaung_proto::{DeviceId, GroupId, RelayId, Seq, pb::registry::ServiceKind, signing::ticket_expiry};

use super::{
    machine::Machine,
    registry::RegistryNode,
    relay::{REGISTER, RelayNode},
};

const HUB: RelayId = RelayId([8; 16]);

/// The hub's machine.
#[derive(Debug)]
pub(super) struct HubNode {
    pub(super) machine: Machine,
    group: GroupId,
    process: Option<Process>,
    by_own_clock: bool,
}

#[derive(Debug)]
struct Process {
    judge: TicketJudge,
    register_at: Instant,
    /// The ticket of its sessions that lasts longest, and until when.
    pass: Option<(Bytes, i64)>,
    /// The last message that the relay sent.
    head: Seq,
    /// By the device's number.
    sessions: BTreeMap<usize, ReadingRight>,
}

impl HubNode {
    pub(super) const fn new(machine: Machine, by_own_clock: bool) -> Self {
        Self { machine, group: GroupId::NONE, process: None, by_own_clock }
    }

    pub(super) fn start(&mut self, at: Duration, group: GroupId) {
        self.group = group;
        let (judge, register_at) = (TicketJudge::new(None), self.machine.now(at).mono);
        self.process = Some(Process { judge, register_at, pass: None, head: Seq::ZERO, sessions: BTreeMap::new() });
    }

    pub(super) fn kill(&mut self) {
        self.process = None;
    }

    pub(super) fn restart(&mut self, at: Duration) {
        self.start(at, self.group);
    }

    pub(super) fn tick(&mut self, at: Duration, registry: &mut RegistryNode, relay: &mut RelayNode) {
        let (now, time_ms) = (self.machine.now(at), self.ticket_time(at));
        let Some(process) = self.process.as_mut().filter(|_| self.machine.works()) else { return relay.lose_hub() };
        if process.register_at <= now.mono {
            process.register_at = now.mono + REGISTER;
            if let Some((key, unix_ms)) = registry.register(at, HUB, ServiceKind::Hub) {
                process.judge.handle_registry(now.mono, key, unix_ms);
            }
        }
        if let Some((ticket, _)) = &process.pass {
            relay.follow(at, ticket);
        }
        if relay.is_followed() {
            process.head = relay.kept().1;
        }
        process.sessions.retain(|_, right| !right.is_over(now.mono, time_ms));
    }

    /// A session begins, or its ticket is renewed.
    pub(super) fn show(
        &mut self,
        at: Duration,
        number: usize,
        device: DeviceId,
        ticket: &Bytes,
    ) -> Option<TicketError> {
        let time_ms = self.ticket_time(at);
        let process = self.process.as_mut().filter(|_| self.machine.works())?;
        if let Err(error) = process.judge.check(time_ms, self.group, device, ticket) {
            return Some(error);
        }
        let expires = ticket_expiry(ticket).expect("it was just checked");
        process.sessions.entry(number).or_default().extend(expires);
        if process.pass.as_ref().is_none_or(|(_, known)| *known < expires) {
            process.pass = Some((ticket.clone(), expires));
        }
        None
    }

    /// The last message that the device's session has been sent; `None` without a session.
    pub(super) fn heard(&self, number: usize) -> Option<Seq> {
        let process = self.process.as_ref().filter(|_| self.machine.works())?;
        process.sessions.contains_key(&number).then_some(process.head)
    }

    /// The device's connection is lost.
    pub(super) fn lose(&mut self, number: usize) {
        if let Some(process) = &mut self.process {
            process.sessions.remove(&number);
        }
    }

    fn ticket_time(&self, at: Duration) -> i64 {
        let now = self.machine.now(at);
        match &self.process {
            Some(process) if !self.by_own_clock => process.judge.time_ms(now.mono, 0),
            Some(_) | None => now.unix_ms,
        }
    }
}
