//! The engines of a listener's groups on their one thread, between the sockets and the groups' tasks.

mod ears;

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddrV4,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use self::ears::Ears;
use bytes::Bytes;
use gaung_engine::{HistoryEnd, MemberReceiver, ReceiverConfig, ReceiverEvent, Transmit, Via};
use gaung_net::{
    SenderAddr, SocketError,
    driver::{CommandSender, Drive, SocketChange, SocketId},
    interface::Link,
};
use gaung_proto::{GroupTag, LogId, Seq, datagram::Header, limits::MAX_TEXT_DATAGRAM, net::Lane, run::Run};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tracing::{debug, trace, warn};

/// The socket of NAK, STATUS and PROBE; group sockets follow by slot, see [`Ears`].
pub(super) const OWN_SOCKET: SocketId = SocketId(0);
/// Events on their way to a group's task.
const EVENTS: usize = 256;
/// Runs on their way to a group's engine.
const RUNS: usize = 4;

/// What a group's task hears from its engine.
#[derive(Debug)]
pub(super) enum FromEngine {
    Event(ReceiverEvent),
    /// A datagram of a text group.
    Text {
        from: SocketAddrV4,
        text: Bytes,
    },
    /// The log was changed as asked; what follows is of the new one.
    Changed {
        old_log: LogId,
    },
    /// Multicast cannot be joined here.
    NoSocket(String),
}

/// What a group's task asks for.
#[derive(Debug)]
pub(super) enum Command {
    Add {
        slot: u32,
        engine: NewEngine,
        hear: Option<(SocketAddrV4, Vec<Link>)>,
        out: Outlet,
    },
    Remove {
        slot: u32,
    },
    Input {
        slot: u32,
        input: Input,
    },
    /// There is room for events again.
    Drain {
        slot: u32,
    },
    /// Hear the group there from now on.
    Links {
        slot: u32,
        links: Vec<Link>,
    },
}

#[derive(Debug)]
pub(super) enum NewEngine {
    Proto(Box<ReceiverConfig>),
    Text,
}

/// What goes into an engine, in order.
#[derive(Debug)]
pub(super) enum Input {
    Run {
        run: Run,
        lane: Lane,
        _room: OwnedSemaphorePermit,
    },
    End(HistoryEnd),
    Trimmed {
        oldest: Seq,
    },
    Head {
        head: Seq,
    },
    /// As far as the hub knows.
    HubHead {
        head: Seq,
    },
    Change {
        log: LogId,
        tag: GroupTag,
        relay: Option<SocketAddrV4>,
        next: Seq,
        hear: Hear,
    },
}

/// What becomes of a group's own socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hear {
    AsBefore,
    At(SocketAddrV4, Vec<Link>),
    /// The address is the group's no longer.
    Nowhere,
}

/// The engine's end of the way to its task.
#[derive(Debug)]
pub(super) struct Outlet {
    events: mpsc::Sender<FromEngine>,
    stalled: Arc<AtomicBool>,
}

/// The task's end: what it hears.
#[derive(Debug)]
pub(super) struct Inlet {
    events: mpsc::Receiver<FromEngine>,
    stalled: Arc<AtomicBool>,
    port: Port,
}

/// The task's end: what it asks for. Clones share the room for runs.
#[derive(Debug, Clone)]
pub(super) struct Port {
    slot: u32,
    commands: CommandSender<Command>,
    room: Arc<Semaphore>,
}

/// Both ends for one slot.
pub(super) fn connect(slot: u32, commands: CommandSender<Command>) -> (Outlet, Inlet, Port) {
    let (sender, receiver) = mpsc::channel(EVENTS);
    let stalled = Arc::new(AtomicBool::new(false));
    let port = Port { slot, commands, room: Arc::new(Semaphore::new(RUNS)) };
    let outlet = Outlet { events: sender, stalled: Arc::clone(&stalled) };
    (outlet, Inlet { events: receiver, stalled, port: port.clone() }, port)
}

impl Inlet {
    /// The next event; `None` once the driver has stopped. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<FromEngine> {
        let event = self.events.recv().await;
        if self.events.len() < EVENTS / 2 && self.stalled.swap(false, Ordering::AcqRel) {
            // A full queue means that the engine is about to run anyway; it finds the room by itself.
            let _ = self.port.commands.send(Command::Drain { slot: self.port.slot });
        }
        event
    }
}

impl Port {
    pub(super) const fn slot(&self) -> u32 {
        self.slot
    }

    /// Hands a run over; waits while the engine has no place for it. False once the driver has stopped.
    pub(super) async fn run(&self, run: Run, lane: Lane) -> bool {
        let Ok(room) = Arc::clone(&self.room).acquire_owned().await else { return false };
        self.input(Input::Run { run, lane, _room: room }).await
    }

    pub(super) async fn input(&self, input: Input) -> bool {
        self.command(Command::Input { slot: self.slot, input }).await
    }

    pub(super) async fn command(&self, command: Command) -> bool {
        self.commands.send_wait(command).await.is_ok()
    }

    /// Without waiting, for those that are being dropped.
    pub(super) fn remove(&self) {
        let _ = self.commands.send(Command::Remove { slot: self.slot });
    }
}

/// Drives the groups of one listener.
#[derive(Debug, Default)]
pub(super) struct Members {
    slots: BTreeMap<u32, Slot>,
    changes: VecDeque<SocketChange>,
}

#[derive(Debug)]
struct Slot {
    engine: Engine,
    ears: Ears,
    /// In order; runs wait here until the engine takes them.
    inputs: VecDeque<Input>,
    /// Go out before the engine's events.
    marks: VecDeque<FromEngine>,
    out: Outlet,
}

#[derive(Debug)]
enum Engine {
    Proto(Box<MemberReceiver>),
    Text,
}

impl Drive for Members {
    type Command = Command;

    fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Add { slot, engine, hear, out } => self.add(now, slot, engine, hear, out),
            Command::Remove { slot } => {
                if let Some(mut slot) = self.slots.remove(&slot) {
                    self.changes.extend(slot.ears.handle_task(&Hear::Nowhere));
                }
            }
            Command::Input { slot, input } => {
                let Some(slot) = self.slots.get_mut(&slot) else { return };
                if let Input::Change { hear, .. } = &input {
                    self.changes.extend(slot.ears.handle_task(hear));
                }
                if matches!(slot.engine, Engine::Proto(_)) {
                    slot.inputs.push_back(input);
                    slot.pump(now, &mut self.changes);
                }
            }
            Command::Links { slot, links } => {
                if let Some(slot) = self.slots.get_mut(&slot) {
                    self.changes.extend(slot.ears.handle_links(&links));
                    if let Engine::Proto(receiver) = &mut slot.engine {
                        receiver.handle_network();
                    }
                }
            }
            Command::Drain { slot } => {
                if let Some(slot) = self.slots.get_mut(&slot) {
                    slot.pump(now, &mut self.changes);
                }
            }
        }
    }

    fn handle_datagram(&mut self, now: Instant, socket: SocketId, from: SenderAddr, bytes: &[u8]) {
        if socket != OWN_SOCKET {
            if let Some(slot) = ears::slot_of(socket).and_then(|slot| self.slots.get_mut(&slot)) {
                slot.handle_datagram(now, Via::Group, from, bytes, &mut self.changes);
            }
            return;
        }
        let Ok((header, _)) = Header::decode(bytes) else { return };
        if let Some(slot) = self.slots.values_mut().find(|slot| slot.is_addressed(header.tag)) {
            slot.handle_datagram(now, Via::Unicast, from, bytes, &mut self.changes);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        for slot in self.slots.values_mut() {
            if let Engine::Proto(receiver) = &mut slot.engine
                && receiver.poll_timeout().is_some_and(|due| due <= now)
            {
                receiver.handle_timeout(now);
                slot.pump(now, &mut self.changes);
            }
        }
    }

    fn handle_socket(&mut self, now: Instant, socket: SocketId, outcome: Result<Vec<Link>, SocketError>) {
        let Some(slot) = ears::slot_of(socket).and_then(|slot| self.slots.get_mut(&slot)) else { return };
        match outcome {
            Ok(failed) => {
                failed.iter().for_each(|link| warn!(interface = link.name, "group not joined on this interface"))
            }
            // Where the group only may be going the engine finds that it is not heard.
            Err(error) if !slot.ears.is_main(socket) => debug!(%error, "new address not joined"),
            Err(error) => {
                slot.marks.push_back(FromEngine::NoSocket(error.to_string()));
                slot.pump(now, &mut self.changes);
            }
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.slots.values_mut().find_map(|slot| match &mut slot.engine {
            Engine::Proto(receiver) => receiver.poll_transmit(),
            Engine::Text => None,
        })
    }

    fn poll_socket_change(&mut self) -> Option<SocketChange> {
        self.changes.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let due = self.slots.values().filter_map(|slot| match &slot.engine {
            Engine::Proto(receiver) => receiver.poll_timeout(),
            Engine::Text => None,
        });
        due.min()
    }
}

impl Members {
    fn add(&mut self, now: Instant, id: u32, engine: NewEngine, hear: Option<(SocketAddrV4, Vec<Link>)>, out: Outlet) {
        let engine = match engine {
            NewEngine::Text => Engine::Text,
            NewEngine::Proto(config) => Engine::Proto(Box::new(MemberReceiver::new(*config, now))),
        };
        let mut ears = Ears::new(id);
        if let Some((group, links)) = hear {
            self.changes.extend(ears.handle_task(&Hear::At(group, links)));
        }
        self.slots.insert(id, Slot { engine, ears, inputs: VecDeque::new(), marks: VecDeque::new(), out });
    }
}

impl Slot {
    fn is_addressed(&self, tag: GroupTag) -> bool {
        match &self.engine {
            Engine::Proto(receiver) => receiver.is_addressed(tag),
            Engine::Text => false,
        }
    }

    fn handle_datagram(
        &mut self,
        now: Instant,
        via: Via,
        from: SenderAddr,
        bytes: &[u8],
        changes: &mut VecDeque<SocketChange>,
    ) {
        match &mut self.engine {
            Engine::Proto(receiver) => {
                let Ok((header, body)) = Header::decode(bytes) else { return };
                if !receiver.admits(now, via, from.0) {
                    trace!(%from, "datagram of another host than the relay's dropped");
                } else if let Err(error) = receiver.handle_datagram(now, via, &header, body) {
                    trace!(%from, %error, "datagram dropped");
                }
                self.pump(now, changes);
            }
            Engine::Text if bytes.len() <= MAX_TEXT_DATAGRAM && !bytes.is_empty() => {
                // There is no repair in a text group: what finds no room is lost like on the wire.
                let text = FromEngine::Text { from: from.0, text: Bytes::copy_from_slice(bytes) };
                let _ = self.out.events.try_send(text);
            }
            Engine::Text => {}
        }
    }

    /// Moves inputs in and events out as far as there is room. Events that went out can make room for a run.
    fn pump(&mut self, now: Instant, changes: &mut VecDeque<SocketChange>) {
        loop {
            self.take_inputs(now);
            if !self.give_events() || !self.can_take_input() {
                break;
            }
        }
        if let Engine::Proto(receiver) = &mut self.engine {
            while let Some(hearing) = receiver.poll_hearing() {
                changes.extend(self.ears.handle_engine(hearing));
            }
        }
    }

    fn can_take_input(&self) -> bool {
        match (&self.engine, self.inputs.front()) {
            (Engine::Text, _) | (_, None) => false,
            (Engine::Proto(receiver), Some(Input::Run { .. })) => receiver.can_take_run(),
            (
                Engine::Proto(_),
                Some(
                    Input::End(_)
                    | Input::Trimmed { .. }
                    | Input::Head { .. }
                    | Input::HubHead { .. }
                    | Input::Change { .. },
                ),
            ) => true,
        }
    }

    fn take_inputs(&mut self, now: Instant) {
        while self.can_take_input() {
            let (Engine::Proto(receiver), Some(input)) = (&mut self.engine, self.inputs.pop_front()) else { return };
            match input {
                // A run of a log that was replaced meanwhile is of no use.
                Input::Run { run, lane, _room } => drop(receiver.handle_run(now, &run, lane)),
                Input::End(end) => receiver.handle_history(now, end),
                Input::Trimmed { oldest } => receiver.handle_trimmed(now, oldest),
                Input::Head { head } => receiver.handle_head(now, head),
                Input::HubHead { head } => receiver.handle_hub_head(now, head),
                Input::Change { log, tag, relay, next, hear: _ } => {
                    let old_log = receiver.log();
                    receiver.handle_change(now, log, tag, relay, next);
                    if old_log != log {
                        self.marks.push_back(FromEngine::Changed { old_log });
                    }
                }
            }
        }
    }

    /// False if there is no room for all.
    fn give_events(&mut self) -> bool {
        loop {
            let Ok(permit) = self.out.events.try_reserve() else {
                // Set before looking again, so that whoever made room meanwhile is not missed.
                if self.out.stalled.swap(true, Ordering::AcqRel) || self.out.events.capacity() == 0 {
                    return false;
                }
                continue;
            };
            let event = self.marks.pop_front().or_else(|| match &mut self.engine {
                Engine::Proto(receiver) => receiver.poll_event().map(FromEngine::Event),
                Engine::Text => None,
            });
            match event {
                Some(event) => permit.send(event),
                None => return true,
            }
        }
    }
}

#[cfg(test)]
mod tests;
