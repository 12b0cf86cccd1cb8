//! The world of one run, and the loop that lets it happen.

use std::time::{Duration, Instant};

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use super::{
    attacker::Attacker,
    clock::NodeClock,
    disk::Disk,
    event::{Event, Node, Noted, Queue},
    figures::{Bookkeeping, Figures},
    lanes::Hub,
    member::Member,
    model::Judge,
    network::{Network, Place},
    publisher::Publisher,
    relay::Relay,
    settings::{Fault, Settings, Target},
    trace::Trace,
    weather::Weather,
};

/// How long after the healing everybody has everything.
const RECOVERY: Duration = Duration::from_secs(10);
/// More events mean that something never comes to rest.
const MAX_EVENTS: u64 = 60_000_000;
/// NAKs of all members for one loss event, where nothing is lost on the way back.
const MAX_NAKS_PER_LOSS: f64 = 10.0;
/// Repair bytes for each byte that two or more members lost.
const MAX_REPAIR_RATIO: f64 = 1.5;
/// The same where members are too few for NAKs to be confirmed: two that ask a little apart are repaired apart.
const MAX_REPAIR_RATIO_OF_FEW: f64 = 2.5;
const FEW: usize = 8;
/// Fewer loss events say nothing about either.
const MIN_LOSS_EVENTS: u64 = 30;
/// Some thirty datagrams; less says nothing either.
const MIN_SHARED_BYTES: u64 = 30_000;

/// What came of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The first thing that did not hold.
    pub failure: Option<String>,
    /// The same for the same run.
    pub trace: u64,
    /// Events that happened.
    pub events: u64,
    /// Repair and its price.
    pub figures: Figures,
    /// What else happened, so that one sees what a set of seeds covers.
    pub counts: Counts,
}

/// How often things happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Messages that are in the log at the end.
    pub logged: u64,
    /// Messages whose publishers know.
    pub acked: u64,
    /// Messages given to readers.
    pub delivered: u64,
    /// Messages that members gave up: without a log, or below what it keeps.
    pub lost: u64,
    /// Readings of the log.
    pub readings: u64,
    /// Members that found multicast no good.
    pub moves: u64,
    /// Members that followed the group to another address.
    pub followed: u64,
    /// Times that members found that they were given forged messages.
    pub corrected: u64,
    /// Openings of the log.
    pub epochs: u64,
}

/// Runs what `settings` say. Nothing else decides what happens.
#[must_use]
pub fn run(settings: &Settings) -> Report {
    let mut simulation = Simulation::new(settings.clone());
    simulation.begin();
    simulation.go_on();
    simulation.report()
}

/// What all nodes share.
#[derive(Debug)]
pub(super) struct World {
    /// Virtual time since the beginning.
    pub(super) now: Duration,
    pub(super) settings: Settings,
    pub(super) weather: Weather,
    pub(super) rng: SmallRng,
    pub(super) queue: Queue,
    pub(super) network: Network,
    pub(super) place: Place,
    pub(super) disk: Disk,
    pub(super) hub: Hub,
    pub(super) judge: Judge,
    pub(super) figures: Bookkeeping,
    pub(super) counts: Counts,
    pub(super) trace: Trace,
}

impl World {
    pub(super) const fn tcp_delay(&self) -> Duration {
        Duration::from_micros(self.settings.disk.tcp_us)
    }

    /// Lets something happen after so many ways over TCP.
    pub(super) fn after_tcp(&mut self, ways: u32, event: Event) {
        self.queue.put(self.now + self.tcp_delay() * ways, event);
    }

    /// A sync of the log's disk begins.
    pub(super) fn begin_sync(&mut self) {
        let (low, high) = self.settings.disk.sync_us;
        let takes = Duration::from_micros(self.rng.random_range(low..=high));
        self.queue.put(self.now + takes, Event::Synced);
    }
}

/// Everybody and the world.
#[derive(Debug)]
pub(super) struct Simulation {
    pub(super) world: World,
    pub(super) relay: Relay,
    pub(super) members: Vec<Member>,
    publishers: Vec<Publisher>,
    /// Messages that each was asked to say.
    said: Vec<u64>,
    unsaid: u32,
    attackers: Vec<Attacker>,
}

impl Simulation {
    fn new(settings: Settings) -> Self {
        let base = Instant::now();
        let mut rng = SmallRng::seed_from_u64(settings.seed);
        let drift = settings.drift_ppm;
        let clock = |rng: &mut SmallRng| NodeClock::new(base, rng.random_range(-drift..=drift));
        let relay = Relay::new(clock(&mut rng));
        let members: Vec<_> = (0..settings.members)
            .map(|id| {
                let clock = clock(&mut rng);
                Member::new(id, clock, &settings.mix, &mut rng)
            })
            .collect();
        let streams = settings.traffic.streams;
        let publishers: Vec<_> = (0..streams + settings.traffic.datagrams)
            .map(|id| {
                let clock = clock(&mut rng);
                match id < streams {
                    true => Publisher::over_stream(id, clock),
                    false => Publisher::by_datagrams(id, clock, rng.random(), Duration::ZERO),
                }
            })
            .collect();
        let attackers = (0..).zip(&settings.attacks).map(|(id, attack)| Attacker::new(id, *attack)).collect();
        let world = World {
            now: Duration::ZERO,
            weather: settings.weather,
            rng,
            queue: Queue::default(),
            network: Network::new(settings.members),
            place: Place::FIRST,
            disk: Disk::new(settings.breakage.takes_old_epochs),
            hub: Hub::default(),
            judge: Judge::new(settings.members, settings.may_be_forged(), settings.weather == Weather::FAIR),
            figures: Bookkeeping::new(settings.members),
            counts: Counts::default(),
            trace: Trace::new(std::env::var_os("GAUNG_TRACE").is_some()),
            settings,
        };
        let (said, unsaid) = (vec![0; publishers.len()], world.settings.traffic.messages);
        Self { world, relay, members, publishers, said, unsaid, attackers }
    }

    fn begin(&mut self) {
        let Self { world, relay, members, publishers, attackers, .. } = self;
        relay.start(world);
        for member in members.iter() {
            world.network.links[member.id].deaf = u32::from(member.is_deaf());
        }
        let is_early = |member: usize| comes_at_the_beginning(&world.settings, member);
        let early: Vec<usize> = (0..members.len()).filter(|&member| is_early(member)).collect();
        for member in early {
            members[member].join(world);
        }
        for publisher in 0..publishers.len() {
            world.queue.put(Duration::ZERO, Event::Connect { publisher });
            let first = world.settings.traffic.from + Duration::from_micros(world.rng.random_range(0..10_000));
            world.queue.put(first, Event::Speak { publisher });
        }
        for (id, attacker) in attackers.iter().enumerate() {
            world.queue.put(attacker.begins_at(), Event::Wake(Node::Attacker(id)));
        }
        for &fault in &world.settings.faults {
            world.queue.put(fault.at, Event::Fault(fault));
        }
        for &at in &world.settings.calm_at {
            world.queue.put(at, Event::Calm);
        }
        // After the last of what ends then.
        world.queue.put(world.settings.heals_at + Duration::from_micros(1), Event::Heal);
        world.queue.put(world.settings.heals_at + RECOVERY, Event::Check);
    }

    fn go_on(&mut self) {
        while let Some((at, event)) = self.world.queue.pop() {
            self.world.now = at;
            let is_over = matches!(event, Event::Check);
            self.handle(event);
            if std::mem::take(&mut self.world.hub.has_news) {
                self.members.iter_mut().for_each(|member| member.lanes.send_session(member.id, &mut self.world));
            }
            if self.world.trace.events() > MAX_EVENTS {
                self.world.judge.fail(|| "it never comes to rest".to_owned());
            }
            if is_over || self.world.judge.failure().is_some() {
                return;
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let Self { world, relay, members, publishers, attackers, .. } = self;
        match event {
            Event::Arrive(to, arrival) => {
                let marks =
                    arrival.bytes.get(16..24).map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().expect("8")));
                world.trace.note(world.now, [10, marks, arrival.bytes.len() as u64], || format!("{to:?} is reached"));
                match to {
                    Node::Relay => relay.handle_datagram(world, arrival),
                    Node::Member(id) => members[id].handle_datagram(world, arrival),
                    Node::Publisher(id) => publishers[id].handle_datagram(world, &arrival),
                    Node::Attacker(id) => attackers[id].handle_datagram(&arrival),
                }
            }
            Event::Wake(node) => match node {
                Node::Relay => {}
                Node::Member(id) => members[id].wake(world),
                Node::Publisher(id) => publishers[id].wake(world),
                Node::Attacker(id) => attackers[id].wake(world),
            },
            Event::WakeRelay { process } => relay.wake(world, process),
            Event::Synced => self.handle_synced(),
            Event::Appended { process, runs, durable } => relay.handle_appended(world, process, runs, durable),
            Event::Reopen { process } => relay.reopen(world, process),
            Event::KillRelay { process } => relay.kill(world, process),
            Event::Speak { publisher } => self.speak(publisher),
            Event::Connect { publisher } => publishers[publisher].connect(world, relay),
            Event::Request { connection, entries } => relay.handle_request(world, connection, entries),
            Event::Answered { publisher, connection, answer } => {
                publishers[publisher].handle_answer(world, connection, answer);
            }
            Event::Broken { publisher, connection } => publishers[publisher].handle_broken(world, connection),
            Event::Read { member, reading, step } => {
                let is_served = relay.is_served().then(|| relay.is_reachable());
                members[member].handle_read(world, reading, step, is_served);
            }
            Event::Hub { member, session, step } => members[member].handle_hub(world, session, step),
            Event::PlaceTold { publisher } => publishers[publisher].handle_place(world),
            Event::PlaceAnswered { member, life } => members[member].handle_place(world, life),
            Event::Fault(fault) => {
                world.trace.note(world.now, [11, 0, 0], || format!("{fault:?}"));
                self.begin_fault(fault);
            }
            Event::FaultOver(fault) => {
                world.trace.note(world.now, [12, 0, 0], || format!("over: {:?}", fault.fault));
                self.end_fault(fault);
            }
            Event::Heal => {
                world.weather = Weather::FAIR;
                world.disk.fails_next = false;
            }
            Event::Calm => {
                let noted = Noted { head: world.judge.head(), said: self.said.clone() };
                world.queue.put(world.now + RECOVERY, Event::Calmed(Box::new(noted)));
            }
            Event::Calmed(noted) => self.check_calm(&noted),
            Event::Check => self.check(),
        }
    }

    pub(super) const fn publishers(&self) -> usize {
        self.publishers.len()
    }

    fn handle_synced(&mut self) {
        let world = &mut self.world;
        let (outcomes, added) = world.disk.end_sync(&mut world.rng);
        added.iter().for_each(|run| world.judge.logged(run));
        for outcome in outcomes {
            let told = world.now + Duration::from_micros(world.rng.random_range(5..50));
            let super::disk::Outcome { process, runs, durable } = outcome;
            world.queue.put(told, Event::Appended { process, runs, durable });
        }
        if world.disk.begin_sync() {
            world.begin_sync();
        }
    }

    fn speak(&mut self, publisher: usize) {
        let world = &mut self.world;
        let traffic = world.settings.traffic;
        if self.unsaid == 0 {
            return;
        }
        let who = &mut self.publishers[publisher];
        let count = world.rng.random_range(1..=who.most_at_once(traffic.burst)).min(self.unsaid);
        self.unsaid -= who.speak(world, &mut self.said[publisher], count);
        let mean =
            traffic.until.saturating_sub(traffic.from) * self.publishers.len() as u32 * traffic.burst.div_ceil(2)
                / traffic.messages.max(1);
        let gap = Duration::from_nanos(world.rng.random_range(0..=mean.as_nanos() as u64 * 2));
        let next = world.now + gap.max(Duration::from_micros(10));
        if next < world.settings.heals_at {
            world.queue.put(next, Event::Speak { publisher });
        }
    }

    fn check_calm(&mut self, noted: &Noted) {
        let world = &mut self.world;
        world.judge.complete_to(world.now, noted.head);
        let mute = self.publishers.iter().zip(&noted.said).position(|(publisher, said)| publisher.told() < *said);
        if let Some(id) = mute {
            let now = world.now;
            world.judge.fail(|| format!("at {now:?}, 10 s of calm, publisher {id} waits for an acknowledgement"));
        }
    }

    fn check(&mut self) {
        let world = &mut self.world;
        world.judge.complete();
        if let Some(id) = self.publishers.iter().position(|publisher| !publisher.is_idle())
            && !world.settings.may_be_forged()
        {
            world.judge.fail(|| format!("10 s after healing publisher {id} still waits for an acknowledgement"));
        }
        let figures = world.figures.figures();
        if !world.settings.has_clean_return() || figures.loss_events < MIN_LOSS_EVENTS {
            return;
        }
        let naks = figures.naks_per_loss();
        if naks > MAX_NAKS_PER_LOSS {
            world
                .judge
                .fail(|| format!("{naks:.1} NAKs for each loss event, more than {MAX_NAKS_PER_LOSS}: {figures:?}"));
        }
        let most = if world.settings.members > FEW { MAX_REPAIR_RATIO } else { MAX_REPAIR_RATIO_OF_FEW };
        let ratio = figures.repair_ratio();
        if ratio > most {
            world.judge.fail(|| format!("{ratio:.2} B of repair for each byte lost, more than {most}: {figures:?}"));
        }
        let ratio = figures.shared_repair_ratio();
        if ratio > most && figures.parities == 0 && figures.shared_lost_bytes > MIN_SHARED_BYTES {
            world.judge.fail(|| {
                format!("{ratio:.2} B of repair for each byte that two members lost, more than {most}: {figures:?}")
            });
        }
    }

    fn report(self) -> Report {
        let world = self.world;
        let counts = Counts {
            logged: world.judge.head().0,
            acked: world.judge.acked_count(),
            delivered: world.judge.delivered_count(),
            epochs: world.disk.epoch().0.into(),
            ..world.counts
        };
        Report {
            failure: world.judge.failure().map(str::to_owned),
            trace: world.trace.hash(),
            events: world.trace.events(),
            figures: world.figures.figures(),
            counts,
        }
    }
}

/// Unless its first coming is among the faults.
fn comes_at_the_beginning(settings: &Settings, member: usize) -> bool {
    let concerns = |target: Target| target == Target::All || target == Target::One(member);
    let mut moves = settings.faults.iter().map(|timed| timed.fault);
    let first = moves.find(|fault| matches!(fault, Fault::Join(target) | Fault::Leave(target) if concerns(*target)));
    !matches!(first, Some(Fault::Join(_)))
}
