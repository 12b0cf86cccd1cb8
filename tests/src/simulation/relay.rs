//! The relay's machine: its address, its clocks, and its processes, of which one at most has the address.

mod process;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use gaung_engine::PublishEntry;
use gaung_proto::block::SentAt;
use rand::Rng as _;

use super::{
    clock::NodeClock,
    event::{Answer, Arrival, Event},
    world::World,
};
pub(super) use process::{GROUP, LOG, sabotage};
use process::{Input, Process};

/// From a crash of the process to the death of its connections at the other side.
const REOPENS_AFTER: Duration = Duration::from_millis(20);
/// Wall clock at the beginning of a run, µs since 1970.
const WALL_CLOCK_US: u64 = 1_800_000_000_000_000;
/// How long a replaced process goes on, unless the log refuses it first.
const OUTLIVES: Duration = Duration::from_secs(2);

/// The machine.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) clock: RelayClock,
    processes: Vec<Process>,
    /// Who has the address.
    serving: Option<u64>,
    started: u64,
    connections: BTreeMap<u64, Connection>,
    opened_connections: u64,
}

/// Its clocks.
#[derive(Debug)]
pub(super) struct RelayClock {
    pub(super) monotonic: NodeClock,
    /// How far the wall clock is ahead, µs.
    pub(super) ahead_us: i64,
}

#[derive(Debug, Clone, Copy)]
struct Connection {
    process: u64,
    publisher: usize,
}

impl Relay {
    pub(super) fn new(clock: NodeClock) -> Self {
        Self {
            clock: RelayClock { monotonic: clock, ahead_us: 0 },
            processes: Vec::new(),
            serving: None,
            started: 0,
            connections: BTreeMap::new(),
            opened_connections: 0,
        }
    }

    /// Starts a process that opens the log and takes the address.
    pub(super) fn start(&mut self, world: &mut World) {
        self.started += 1;
        let process = Process::new(self.started, world.rng.random());
        self.serving = Some(process.id);
        self.processes.push(process);
        self.reopen(world, self.started);
    }

    /// The process with the address is killed.
    pub(super) fn crash(&mut self, world: &mut World) {
        if let Some(process) = self.serving {
            self.kill(world, process);
        }
    }

    pub(super) fn kill(&mut self, world: &mut World, process: u64) {
        if !self.processes.iter().any(|known| known.id == process) {
            return;
        }
        self.processes.retain(|known| known.id != process);
        if self.serving == Some(process) {
            self.serving = None;
        }
        world.disk.kill(process, &mut world.rng);
        self.break_connections(world, |connection| connection.process == process);
    }

    /// The process with the address is stopped, or goes on.
    pub(super) fn pause(&mut self, world: &mut World, stops: bool) {
        let Some(process) = self.processes.iter_mut().find(|process| Some(process.id) == self.serving) else { return };
        process.pause(world, &self.clock, stops);
        self.settle(world);
    }

    /// The machine was suspended since then, and its monotonic clock does not count that.
    pub(super) fn slept_since(&mut self, world: &World, since: Duration) {
        self.clock.monotonic.stood_still(since, world.now);
    }

    /// The registry has told where the group is now.
    pub(super) fn handle_place(&mut self, world: &mut World) {
        let processes: Vec<u64> = self.processes.iter().map(|process| process.id).collect();
        processes.into_iter().for_each(|process| self.input(world, process, Input::Place));
    }

    /// Another process takes the place of one that is stopped; that one goes on for a while.
    pub(super) fn take_over(&mut self, world: &mut World) {
        let Some(old) = self.serving.filter(|_| !self.is_reachable()) else { return };
        self.start(world);
        let old = self.processes.iter_mut().find(|process| process.id == old).expect("it was serving");
        old.pause(world, &self.clock, false);
        world.queue.put(world.now + OUTLIVES, Event::KillRelay { process: old.id });
        self.settle(world);
    }

    pub(super) fn reopen(&mut self, world: &mut World, process: u64) {
        if let Some(process) = self.processes.iter_mut().find(|known| known.id == process) {
            process.open(world, &self.clock);
            // The hub follows the new opening from its head on.
            (world.hub.head, world.hub.has_news) = (world.disk.head(), true);
        }
        self.settle(world);
    }

    /// Whether a process has the address.
    pub(super) const fn is_served(&self) -> bool {
        self.serving.is_some()
    }

    pub(super) fn is_reachable(&self) -> bool {
        self.serving_process().is_some_and(|process| !process.is_stopped())
    }

    /// A connection of a publisher; `None` if nobody listens.
    pub(super) fn connect(&mut self, publisher: usize) -> Option<u64> {
        let process = self.serving?;
        self.opened_connections += 1;
        self.connections.insert(self.opened_connections, Connection { process, publisher });
        Some(self.opened_connections)
    }

    pub(super) fn break_all_connections(&mut self, world: &mut World) {
        self.break_connections(world, |_| true);
    }

    pub(super) fn handle_datagram(&mut self, world: &mut World, arrival: Arrival) {
        let Some(serving) = self.serving else { return };
        self.input(world, serving, Input::Datagram { from: arrival.from, bytes: arrival.bytes });
    }

    pub(super) fn handle_request(&mut self, world: &mut World, connection: u64, entries: Vec<PublishEntry>) {
        let Some(&Connection { process, publisher }) = self.connections.get(&connection) else { return };
        self.input(world, process, Input::Request { connection, publisher, entries });
    }

    pub(super) fn handle_appended(&mut self, world: &mut World, process: u64, runs: usize, durable: bool) {
        self.input(world, process, Input::Appended { runs, durable });
    }

    pub(super) fn wake(&mut self, world: &mut World, process: u64) {
        if let Some(process) = self.processes.iter_mut().find(|known| known.id == process) {
            process.wake(world, &self.clock);
        }
        self.settle(world);
    }

    /// The clock has jumped: what is due may be due now.
    pub(super) fn rewind(&mut self, world: &mut World) {
        self.processes.iter_mut().for_each(|process| process.rewind(world, &self.clock));
        self.settle(world);
    }

    fn input(&mut self, world: &mut World, process: u64, input: Input) {
        if let Some(process) = self.processes.iter_mut().find(|known| known.id == process) {
            process.input(world, &self.clock, input);
        }
        self.settle(world);
    }

    /// Sends what processes have answered, and sees to those whose opening has ended.
    fn settle(&mut self, world: &mut World) {
        let mut ended = Vec::new();
        for process in &mut self.processes {
            for (connection, answer) in process.answers.drain(..) {
                let Some(&Connection { publisher, .. }) = self.connections.get(&connection) else { continue };
                answer_later(world, publisher, connection, answer);
            }
            if process.must_reopen() {
                ended.push(process.id);
            }
        }
        for process in ended {
            if self.serving == Some(process) {
                world.queue.put(world.now + REOPENS_AFTER, Event::Reopen { process });
            } else {
                self.kill(world, process);
            }
        }
    }

    fn serving_process(&self) -> Option<&Process> {
        self.processes.iter().find(|process| Some(process.id) == self.serving)
    }

    fn break_connections(&mut self, world: &mut World, breaks: impl Fn(&Connection) -> bool) {
        let at = world.now + world.tcp_delay();
        self.connections.retain(|&id, connection| {
            let broken = breaks(connection);
            if broken {
                world.queue.put(at, Event::Broken { publisher: connection.publisher, connection: id });
            }
            !broken
        });
    }
}

impl RelayClock {
    fn read(&self, at: Duration) -> Instant {
        self.monotonic.read(at)
    }

    fn wall(&self, at: Duration) -> SentAt {
        SentAt((WALL_CLOCK_US + at.as_micros() as u64).saturating_add_signed(self.ahead_us))
    }
}

fn answer_later(world: &mut World, publisher: usize, connection: u64, answer: Answer) {
    let at = world.now + world.tcp_delay();
    world.queue.put(at, Event::Answered { publisher, connection, answer });
}
