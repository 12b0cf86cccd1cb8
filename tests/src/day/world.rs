//! The day itself: second by second everybody does what is due.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use gaung_proto::GroupId;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use super::{
    device::Device,
    hub::HubNode,
    judge::{DayCounts, Judge},
    machine::Machine,
    registry::RegistryNode,
    relay::{KEPT, RelayNode},
    settings::{DaySettings, Disturbance, Node, TimedDisturbance},
};

const TICK: Duration = Duration::from_secs(1);
/// Services that were disturbed need so long before they can do without the registry.
const SETTLED: Duration = Duration::from_secs(30);
/// A ticket is tried again when it must have expired: 30 s of lease, 5 min of slack, and a little.
const TICKET_TRIED_AFTER: Duration = Duration::from_secs(400);
/// One public group is made or deleted in so many seconds.
const CHURN: u32 = 300;

/// What came of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayReport {
    /// The first thing that did not hold, and when.
    pub failure: Option<String>,
    /// How often things happened.
    pub counts: DayCounts,
}

/// The services, and what all share.
#[derive(Debug)]
pub(super) struct Site {
    /// Virtual time since the beginning.
    pub(super) at: Duration,
    pub(super) group: GroupId,
    pub(super) registry: RegistryNode,
    pub(super) relay: RelayNode,
    pub(super) hub: HubNode,
    pub(super) judge: Judge,
    pub(super) rng: SmallRng,
}

/// Runs a day. The settings decide what happens.
#[must_use]
pub fn run_day(settings: &DaySettings) -> DayReport {
    let mut day = Day::new(settings);
    let mut ahead = settings.disturbances.iter().copied().peekable();
    while day.site.at < settings.length && day.site.judge.failure().is_none() {
        day.site.at += TICK;
        while let Some(next) = ahead.next_if(|next| next.at <= day.site.at) {
            day.begin(next);
        }
        day.end_disturbances();
        day.tick();
        day.judge();
    }
    let Site { judge, registry, .. } = &day.site;
    let counts = DayCounts { regained: registry.regained, ..judge.counts };
    DayReport { failure: judge.failure().map(ToOwned::to_owned), counts }
}

struct Day {
    site: Site,
    devices: Vec<Device>,
    owner: SigningKey,
    /// Outages that last.
    running: Vec<TimedDisturbance>,
    calm: Calm,
    /// A ticket of the first device, and when it was new.
    tried: Option<(Bytes, Duration)>,
}

/// Since when all is well.
#[derive(Debug)]
struct Calm {
    /// With relay and hub.
    services: Duration,
    relay: Duration,
    devices: Vec<Duration>,
    /// The registry went away before they had heard it long enough to do without it.
    stranded_services: bool,
    stranded_devices: Vec<bool>,
}

impl Day {
    fn new(settings: &DaySettings) -> Self {
        let base = Instant::now();
        let mut rng = SmallRng::seed_from_u64(settings.seed);
        let keys: Vec<SigningKey> = (1..=settings.devices).map(|n| SigningKey::from_bytes(&[n as u8; 32])).collect();
        let mut registry = RegistryNode::new(Machine::new(base));
        registry.start(Duration::ZERO);
        let mut relay = RelayNode::new(Machine::new(base), settings);
        relay.introduce(Duration::ZERO, &mut registry);
        let group = registry.private_group(Duration::ZERO, &keys).id;
        relay.serve(Duration::ZERO, group);
        let mut hub = HubNode::new(Machine::new(base), settings.by_own_clocks);
        hub.start(Duration::ZERO, group);
        let device = |(number, key)| Device::new(number, Machine::new(base), key, settings, &mut rng);
        let devices: Vec<Device> = keys.iter().enumerate().map(device).collect();
        let count = devices.len();
        Self {
            site: Site { at: Duration::ZERO, group, registry, relay, hub, judge: Judge::new(count), rng },
            devices,
            owner: keys[0].clone(),
            running: Vec::new(),
            calm: Calm {
                services: Duration::ZERO,
                relay: Duration::ZERO,
                devices: vec![Duration::ZERO; count],
                stranded_services: false,
                stranded_devices: vec![false; count],
            },
            tried: None,
        }
    }

    fn tick(&mut self) {
        let Site { at, registry, relay, hub, judge, rng, .. } = &mut self.site;
        if let Some(wrong) = registry.tick(*at) {
            judge.fail(*at, || wrong);
        }
        relay.tick(*at, registry);
        hub.tick(*at, registry, relay);
        if rng.random_ratio(1, CHURN)
            && registry.reach(*at).is_some()
            && let Some(wrong) = registry.churn(*at, &self.owner, rng)
        {
            judge.fail(*at, || wrong);
        }
        self.devices.iter_mut().for_each(|device| device.tick(&mut self.site));
    }

    fn judge(&mut self) {
        let at = self.site.at;
        for number in 0..self.devices.len() {
            if let Some(calm) = self.calm_since(number) {
                self.site.judge.check(at, number, calm);
            }
        }
        // A clock that was set back makes what was logged before look younger, for about as long as that is kept.
        let is_settled = self.site.relay.is_reachable() && at - self.calm.relay > 3 * KEPT;
        let unix_ms = self.site.relay.machine.now(at).unix_ms;
        self.site.judge.kept(at, self.site.relay.kept().0, unix_ms, is_settled);
        self.try_old_ticket();
    }

    /// A ticket is no good for ever.
    fn try_old_ticket(&mut self) {
        let at = self.site.at;
        let is_well = self.calm_since(0).is_some() && self.site.registry.reach(at).is_some();
        match self.tried.take_if(|(_, new)| !is_well || self.calm.services > *new || at - *new > TICKET_TRIED_AFTER) {
            Some((ticket, new)) if is_well && self.calm.services <= new => {
                if self.site.relay.takes(at, self.devices[0].id(), &ticket) {
                    let (expires, judged) =
                        (gaung_proto::signing::ticket_expiry(&ticket), self.site.relay.ticket_time(at));
                    self.site.judge.fail(at, || {
                        format!("a ticket of {new:?} that expires at {expires:?} ms is taken still, at {judged} ms")
                    });
                }
                self.site.judge.counts.expired += 1;
            }
            Some(_) | None => {}
        }
        // Not one from before the registry's clock was set.
        let is_settled = self.calm_since(0).is_some_and(|calm| at > calm + SETTLED);
        if self.tried.is_none() && is_well && is_settled {
            let ticket = self.devices[0].ticket(self.site.group);
            self.tried = (!ticket.is_empty()).then_some((ticket, at));
        }
    }

    /// Since when a member can expect to be heard and to hear; `None`: it cannot.
    fn calm_since(&self, number: usize) -> Option<Duration> {
        let Site { relay, hub, .. } = &self.site;
        let is_well = relay.is_reachable() && hub.machine.works() && self.devices[number].machine.works();
        let is_stranded = self.calm.stranded_services || self.calm.stranded_devices[number];
        (is_well && !is_stranded).then(|| self.calm.services.max(self.calm.devices[number]))
    }

    fn begin(&mut self, disturbance: TimedDisturbance) {
        let at = self.site.at;
        match disturbance.what {
            Disturbance::ClockSet(node, by_ms) => {
                self.machine(node).set_clock(by_ms);
                return self.disturbed(node);
            }
            Disturbance::Sleep(node, is_counted) => self.machine(node).sleep(at, is_counted),
            Disturbance::Crash(node) => {
                self.machine(node).is_down = true;
                match node {
                    Node::Registry => self.site.registry.kill(),
                    Node::Relay => self.site.relay.kill(),
                    Node::Hub => self.site.hub.kill(),
                    Node::Device(_) => {}
                }
            }
        }
        self.running.push(disturbance);
        match disturbance.what {
            // Groups talk on without it, if it was heard lately.
            Disturbance::Crash(Node::Registry) | Disturbance::Sleep(Node::Registry, _) => {
                let is_young = |calm: &Duration| at < *calm + SETTLED;
                self.calm.stranded_services |= is_young(&self.calm.services);
                for (stranded, calm) in self.calm.stranded_devices.iter_mut().zip(&self.calm.devices) {
                    *stranded |= is_young(calm);
                }
            }
            Disturbance::Crash(node) | Disturbance::Sleep(node, _) | Disturbance::ClockSet(node, _) => {
                self.disturbed(node);
            }
        }
    }

    fn end_disturbances(&mut self) {
        let at = self.site.at;
        let (over, running) = self.running.drain(..).partition(|disturbance| disturbance.over_at() <= at);
        self.running = running;
        let over: Vec<TimedDisturbance> = over;
        for TimedDisturbance { what, .. } in over {
            let still = self.running.iter().any(|other| other.what == what);
            match what {
                _ if still => continue,
                Disturbance::Sleep(Node::Device(number), _) => self.devices[number].wake(&mut self.site),
                Disturbance::Sleep(node, _) => self.machine(node).wake(at),
                Disturbance::Crash(node) => {
                    self.machine(node).is_down = false;
                    match node {
                        Node::Registry => self.site.registry.start(at),
                        Node::Relay => self.site.relay.start(at),
                        Node::Hub => self.site.hub.restart(at),
                        Node::Device(number) => self.devices[number].restart(&mut self.site),
                    }
                }
                Disturbance::ClockSet(..) => {}
            }
            match what {
                Disturbance::Crash(node) | Disturbance::Sleep(node, _) | Disturbance::ClockSet(node, _) => {
                    self.disturbed(node);
                }
            }
        }
    }

    fn disturbed(&mut self, node: Node) {
        let at = self.site.at;
        let is_away = self.site.registry.reach(at).is_none();
        match node {
            Node::Device(number) => {
                self.calm.devices[number] = at;
                self.calm.stranded_devices[number] |= is_away;
            }
            Node::Registry => {
                self.calm.services = at;
                if !is_away {
                    self.calm.stranded_services = false;
                    self.calm.stranded_devices.fill(false);
                }
            }
            Node::Relay | Node::Hub => {
                self.calm.services = at;
                self.calm.stranded_services |= is_away;
                if node == Node::Relay {
                    self.calm.relay = at;
                }
            }
        }
    }

    fn machine(&mut self, node: Node) -> &mut Machine {
        match node {
            Node::Registry => &mut self.site.registry.machine,
            Node::Relay => &mut self.site.relay.machine,
            Node::Hub => &mut self.site.hub.machine,
            Node::Device(number) => &mut self.devices[number].machine,
        }
    }
}
