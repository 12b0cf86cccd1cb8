//! A member's two ways over TCP: reading the log, and a session with the hub. Both give runs in order, a few at a time.

use std::{collections::VecDeque, time::Duration};

use gaung_engine::HistoryEnd;
use gaung_proto::{Seq, SeqRange, net::Lane, run::Run};
use rand::Rng as _;

use super::{
    event::{Event, HubStep, ReadStep},
    world::World,
};

/// Runs on their way to one engine from one source: some 64 KiB, as much as a connection takes without an answer.
const RUNS: u32 = 64;
/// Until a connection is tried again, at most.
const RETRY: Duration = Duration::from_millis(400);
/// Until a stopped relay is asked again by the system beneath.
const STALLED: Duration = Duration::from_millis(20);

/// The hub, as far as all its sessions share it.
#[derive(Debug, Default)]
pub(super) struct Hub {
    /// The last message that the relay told it of.
    pub(super) head: Seq,
    /// Sessions have not been told of all of it.
    pub(super) has_news: bool,
    /// Counts of faults that hold.
    pub(super) down: u32,
}

/// What goes into a member's engine, in order.
#[derive(Debug)]
pub(super) enum Input {
    Run {
        run: Run,
        lane: Lane,
        source: Source,
    },
    End(HistoryEnd),
    Trimmed(Seq),
    Head(Seq),
    /// As far as the hub knows.
    HubHead(Seq),
}

/// Where a run came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Reading(u64),
    Session(u64),
}

/// Both ways of one member.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    pub(super) inputs: VecDeque<Input>,
    reading: Option<Reading>,
    session: Option<Session>,
    /// Of readings and sessions, so that what comes late is known as late.
    count: u64,
}

#[derive(Debug)]
struct Reading {
    number: u64,
    range: SeqRange,
    next: Seq,
    /// Once it is open.
    head: Option<Seq>,
    in_flight: u32,
}

#[derive(Debug)]
struct Session {
    number: u64,
    is_open: bool,
    next: Seq,
    /// At the opening: what comes before is history.
    head: Seq,
    in_flight: u32,
}

impl Lanes {
    /// Nothing that is under way counts any more.
    pub(super) fn after_leaving(&self) -> Self {
        Self { count: self.count, ..Self::default() }
    }

    pub(super) fn read(&mut self, member: usize, range: SeqRange, world: &mut World) {
        self.count += 1;
        if self.reading.is_some() {
            world.judge.fail(|| format!("member {member} asks for the log while it is being read"));
        }
        let (number, next) = (self.count, range.first);
        self.reading = Some(Reading { number, range, next, head: None, in_flight: 0 });
        world.after_tcp(2, Event::Read { member, reading: number, step: ReadStep::Open });
    }

    /// `is_served`: by a relay that runs; `None` if there is none, `Some(false)` if it is stopped.
    pub(super) fn handle_read(
        &mut self,
        member: usize,
        number: u64,
        step: ReadStep,
        is_served: Option<bool>,
        world: &mut World,
    ) {
        let Some(reading) = self.reading.as_mut().filter(|reading| reading.number == number) else { return };
        match step {
            ReadStep::Open => match is_served {
                None => world.after_tcp(1, Event::Read { member, reading: number, step: ReadStep::Failed }),
                Some(false) => {
                    let event = Event::Read { member, reading: number, step: ReadStep::Open };
                    world.queue.put(world.now + STALLED, event);
                }
                Some(true) => {
                    reading.head = Some(world.disk.head());
                    if reading.next < world.disk.oldest() {
                        reading.next = world.disk.oldest();
                        let step = ReadStep::Trimmed(reading.next);
                        world.after_tcp(1, Event::Read { member, reading: number, step });
                    }
                    self.send_reading(member, world);
                }
            },
            ReadStep::Run(run) => {
                let source = Source::Reading(number);
                self.inputs.push_back(Input::Run { run, lane: Lane::History, source });
            }
            ReadStep::Trimmed(oldest) => self.inputs.push_back(Input::Trimmed(oldest)),
            ReadStep::End(head) => {
                self.reading = None;
                self.inputs.push_back(Input::End(HistoryEnd::Reached { head }));
            }
            ReadStep::Failed => {
                self.reading = None;
                self.inputs.push_back(Input::End(HistoryEnd::Failed));
            }
        }
    }

    /// The relay is gone: what is being read breaks off.
    pub(super) fn break_reading(&mut self, member: usize, world: &mut World) {
        if let Some(reading) = self.reading.take() {
            self.count += 1;
            let number = self.count;
            self.reading = Some(Reading { number, head: None, ..reading });
            world.after_tcp(1, Event::Read { member, reading: number, step: ReadStep::Failed });
        }
    }

    /// Keeps a session with the hub from now on.
    pub(super) fn seek_hub(&mut self, member: usize, world: &mut World) {
        if self.session.is_some() {
            return;
        }
        self.count += 1;
        let (number, next) = (self.count, Seq::ZERO);
        self.session = Some(Session { number, is_open: false, next, head: Seq::ZERO, in_flight: 0 });
        world.after_tcp(2, Event::Hub { member, session: number, step: HubStep::Open });
    }

    pub(super) fn leave_hub(&mut self) {
        self.session = None;
    }

    /// The hub was lost: after a while it is sought again.
    pub(super) fn lose_hub(&mut self, member: usize, world: &mut World) {
        if self.session.take().is_some() {
            self.count += 1;
            let (number, next) = (self.count, Seq::ZERO);
            self.session = Some(Session { number, is_open: false, next, head: Seq::ZERO, in_flight: 0 });
            let wait = world.rng.random_range(RETRY / 4..=RETRY);
            world.queue.put(world.now + wait, Event::Hub { member, session: number, step: HubStep::Open });
        }
    }

    /// `cursor`: the next message that the engine delivers.
    pub(super) fn handle_hub(&mut self, member: usize, number: u64, step: HubStep, cursor: Seq, world: &mut World) {
        let Some(session) = self.session.as_mut().filter(|session| session.number == number) else { return };
        match step {
            HubStep::Open if world.hub.down > 0 => self.lose_hub(member, world),
            HubStep::Open => {
                session.is_open = true;
                session.next = cursor.max(world.disk.oldest());
                session.head = world.hub.head;
                let head = session.head;
                if session.next > cursor {
                    let step = HubStep::Trimmed(session.next);
                    world.after_tcp(1, Event::Hub { member, session: number, step });
                }
                world.after_tcp(1, Event::Hub { member, session: number, step: HubStep::Head(head) });
                self.send_session(member, world);
            }
            HubStep::Head(head) => self.inputs.push_back(Input::HubHead(head)),
            HubStep::Run(run) => {
                let lane = if run.last_seq() <= session.head { Lane::History } else { Lane::Tcp };
                self.inputs.push_back(Input::Run { run, lane, source: Source::Session(number) });
            }
            HubStep::Trimmed(oldest) => self.inputs.push_back(Input::Trimmed(oldest)),
        }
    }

    /// A run found its place: the next one may leave.
    pub(super) fn taken(&mut self, member: usize, source: Source, world: &mut World) {
        match source {
            Source::Reading(number) => {
                if let Some(reading) = self.reading.as_mut().filter(|reading| reading.number == number) {
                    reading.in_flight -= 1;
                }
                self.send_reading(member, world);
            }
            Source::Session(number) => {
                if let Some(session) = self.session.as_mut().filter(|session| session.number == number) {
                    session.in_flight -= 1;
                }
                self.send_session(member, world);
            }
        }
    }

    fn send_reading(&mut self, member: usize, world: &mut World) {
        let Some(reading) = &mut self.reading else { return };
        let Some(head) = reading.head else { return };
        let last = reading.range.last.min(head);
        while reading.in_flight < RUNS && reading.next <= last {
            let run = world.disk.run_at(reading.next).expect("the log is dense").clone();
            reading.next = run.last_seq().next();
            reading.in_flight += 1;
            world.after_tcp(1, Event::Read { member, reading: reading.number, step: ReadStep::Run(run) });
        }
        if reading.next > last && reading.in_flight == 0 {
            let reached = if reading.next > reading.range.last { reading.range.last } else { Seq(reading.next.0 - 1) };
            reading.head = None;
            world.after_tcp(1, Event::Read { member, reading: reading.number, step: ReadStep::End(reached) });
        }
    }

    /// Sends what the hub has and the member has not.
    pub(super) fn send_session(&mut self, member: usize, world: &mut World) {
        let Some(session) = self.session.as_mut().filter(|session| session.is_open) else { return };
        while session.in_flight < RUNS && session.next <= world.hub.head {
            if session.next < world.disk.oldest() {
                session.next = world.disk.oldest();
                let step = HubStep::Trimmed(session.next);
                world.after_tcp(1, Event::Hub { member, session: session.number, step });
                continue;
            }
            let Some(run) = world.disk.run_at(session.next).cloned() else { return };
            session.next = run.last_seq().next();
            session.in_flight += 1;
            world.after_tcp(1, Event::Hub { member, session: session.number, step: HubStep::Run(run) });
        }
    }
}
