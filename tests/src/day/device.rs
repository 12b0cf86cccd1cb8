//! A member's machine: renews presence and ticket, keeps a session with the hub, and publishes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use gaung_engine::{MessageOutcome, Publisher, StreamKey, TicketStore};
use gaung_proto::{ClientId, ClientSeq, ContentType, DeviceId, GroupId, Seq};
use rand::{Rng as _, rngs::SmallRng};

use super::{machine::Machine, registry::device_of, relay::Refused, settings::DaySettings, world::Site};

/// As the registry's answer says; presence is renewed at a third of it.
const LEASE: Duration = Duration::from_secs(30);
const REGISTRY_RETRY: Duration = Duration::from_secs(3);
/// Between two tries to reach the relay or the hub, at most.
const RETRY: Duration = Duration::from_secs(3);
/// Longer than a day: nothing is given up.
const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);
/// One message in so many seconds.
const SAYS_EVERY: u32 = 60;
/// One answer in so many is lost with its connection.
const LOSES_ANSWERS: f64 = 0.02;

/// One machine.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) number: usize,
    pub(super) machine: Machine,
    id: DeviceId,
    process: Process,
    without_renewal: bool,
}

#[derive(Debug)]
struct Process {
    client: ClientId,
    tickets: TicketStore,
    publisher: Publisher,
    said: u64,
    told: u64,
    join_at: Instant,
    connect_at: Instant,
    is_connected: bool,
    session_at: Instant,
    has_session: bool,
    /// The last message that was delivered.
    heard: Seq,
}

impl Process {
    fn new(rng: &mut SmallRng, now: Instant, heard: Seq) -> Self {
        Self {
            client: ClientId(rng.random()),
            tickets: TicketStore::default(),
            publisher: Publisher::new(PATIENCE),
            said: 0,
            told: 0,
            join_at: now,
            connect_at: now,
            is_connected: false,
            session_at: now,
            has_session: false,
            heard,
        }
    }
}

impl Device {
    pub(super) fn new(
        number: usize,
        machine: Machine,
        key: &SigningKey,
        settings: &DaySettings,
        rng: &mut SmallRng,
    ) -> Self {
        let process = Process::new(rng, machine.now(Duration::ZERO).mono, Seq::ZERO);
        Self { number, machine, id: device_of(key), process, without_renewal: settings.without_renewal }
    }

    pub(super) const fn id(&self) -> DeviceId {
        self.id
    }

    pub(super) fn ticket(&self, group: GroupId) -> Bytes {
        self.process.tickets.newest(group)
    }

    /// Another process, which hears what comes from now on.
    pub(super) fn restart(&mut self, site: &mut Site) {
        site.hub.lose(self.number);
        self.process = Process::new(&mut site.rng, self.machine.now(site.at).mono, site.judge.head());
        site.judge.restarted(self.number);
    }

    /// The machine woke up: its connections are gone.
    pub(super) fn wake(&mut self, site: &mut Site) {
        self.machine.wake(site.at);
        site.hub.lose(self.number);
        (self.process.has_session, self.process.is_connected) = (false, false);
        self.process.publisher.handle_disconnected();
    }

    pub(super) fn tick(&mut self, site: &mut Site) {
        if !self.machine.works() {
            return;
        }
        let now = self.machine.now(site.at).mono;
        if self.process.join_at <= now {
            let client = Some(self.process.client);
            self.process.join_at = now + if self.join(site, client) { LEASE / 3 } else { REGISTRY_RETRY };
            if self.process.has_session {
                // One that is not taken changes nothing.
                let ticket = self.process.tickets.newest(site.group);
                let _refused = site.hub.show(site.at, self.number, self.id, &ticket);
            }
        }
        self.hear(site, now);
        self.say(site, now);
        self.publish(site, now);
    }

    fn hear(&mut self, site: &mut Site, now: Instant) {
        let process = &mut self.process;
        if process.has_session && site.hub.heard(self.number).is_none() {
            process.has_session = false;
            process.session_at = now + retry(&mut site.rng);
            // It may have ended because the ticket had expired.
            process.join_at = process.join_at.min(now);
        }
        let ticket = process.tickets.newest(site.group);
        if !process.has_session && process.session_at <= now && !ticket.is_empty() {
            process.session_at = now + retry(&mut site.rng);
            match site.hub.show(site.at, self.number, self.id, &ticket) {
                None => process.has_session = site.hub.heard(self.number).is_some(),
                Some(_) => {
                    site.judge.counts.refused += 1;
                    process.join_at = process.join_at.min(now);
                }
            }
        }
        let Some(head) = site.hub.heard(self.number).filter(|_| process.has_session) else { return };
        while process.heard < head {
            process.heard = process.heard.next();
            site.judge.delivered(site.at, self.number, process.heard);
        }
    }

    fn say(&mut self, site: &mut Site, now: Instant) {
        let process = &mut self.process;
        if site.rng.random_ratio(1, SAYS_EVERY) && process.publisher.has_room() {
            process.said += 1;
            let payload = Bytes::from(format!("{} {}", self.number, process.said));
            process.publisher.handle_message(now, ContentType::Text, payload);
            site.judge.said(site.at, self.number, ClientSeq(process.said));
        }
    }

    fn publish(&mut self, site: &mut Site, now: Instant) {
        if self.process.publisher.is_idle() {
            return;
        }
        if !self.process.is_connected {
            if self.process.connect_at > now {
                return;
            }
            self.process.connect_at = now + retry(&mut site.rng);
            // The registry may be away: then the last ticket has to do.
            let _joined = self.join(site, None);
            let has_ticket = !self.process.tickets.newest(site.group).is_empty();
            self.process.is_connected = site.relay.is_reachable() && has_ticket;
        }
        while self.process.is_connected
            && let Some(entries) = self.process.publisher.poll_request()
        {
            if self.process.tickets.take_due(now, site.group) && !self.join(site, None) {
                self.process.tickets.renewal_failed(now, site.group, REGISTRY_RETRY);
            }
            let process = &mut self.process;
            let (ticket, key) = (process.tickets.newest(site.group), StreamKey([self.number as u8; 16]));
            let (answer, logged) = site.relay.publish(site.at, (self.id, process.client, key), &ticket, entries);
            logged.iter().for_each(|run| site.judge.logged(site.at, run));
            match answer {
                Ok(acks) if !site.rng.random_bool(LOSES_ANSWERS) => process.publisher.handle_acks(&acks),
                Ok(_) | Err(Refused::Unavailable) => process.is_connected = false,
                Err(Refused::Ticket(_)) => {
                    site.judge.counts.refused += 1;
                    process.is_connected = false;
                }
            }
            if !process.is_connected {
                process.publisher.handle_disconnected();
            }
        }
        while let Some(outcome) = self.process.publisher.poll_outcome() {
            let process = &mut self.process;
            process.told += 1;
            match outcome {
                MessageOutcome::Logged(seq) => {
                    site.judge.acked(site.at, self.number, process.client, ClientSeq(process.told), seq);
                }
                MessageOutcome::Failed => {
                    site.judge.fail(site.at, || format!("device {} gave a message up", self.number))
                }
            }
        }
    }

    /// Asks the registry for a ticket; false if it does not answer.
    fn join(&mut self, site: &mut Site, client: Option<ClientId>) -> bool {
        if self.without_renewal && !self.process.tickets.newest(site.group).is_empty() {
            return true;
        }
        match site.registry.join(site.at, site.group, self.id, client) {
            None => false,
            Some(Ok(ticket)) => {
                self.process.tickets.keep(self.machine.now(site.at).mono, site.group, ticket, LEASE);
                site.judge.counts.tickets += 1;
                true
            }
            Some(Err(error)) => {
                site.judge.fail(site.at, || format!("the registry refused device {}: {error}", self.number));
                false
            }
        }
    }
}

fn retry(rng: &mut SmallRng) -> Duration {
    RETRY.mul_f64(rng.random_range(0.2..1.0))
}
