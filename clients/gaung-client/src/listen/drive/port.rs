//! The queues between a group's task and its engine: commands and inputs in, events out, all bounded.

use std::{net::SocketAddrV4, sync::Arc};

use bytes::Bytes;
use gaung_engine::{HistoryEnd, ReceiverConfig, ReceiverEvent};
use gaung_net::{driver::CommandSender, interface::Link};
use gaung_proto::{GroupTag, LogId, Seq, net::Lane, run::Run};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    event_queue::{self, EventReceiver, EventSender},
    group_sockets::MainSocket,
};

/// Limits the runs queued for one group's engine.
const RUNS: usize = 4;

/// What a group's engine reports to its task.
#[derive(Debug)]
pub(in crate::listen) enum EngineEvent {
    Receiver(ReceiverEvent),
    /// A datagram of a text group.
    Text {
        from: SocketAddrV4,
        text: Bytes,
    },
    /// The log was replaced as the task asked; events after this one are of the new log.
    Changed {
        old_log: LogId,
    },
    /// The group's socket cannot be opened, for this reason.
    NoSocket(String),
}

/// A command of a group's task to the thread of the engines.
#[derive(Debug)]
pub(in crate::listen) enum EngineCommand {
    Add {
        slot: u32,
        engine: NewEngine,
        main: MainSocket,
        out: EventSender<EngineEvent>,
    },
    Remove {
        slot: u32,
    },
    Input {
        slot: u32,
        input: EngineInput,
    },
    /// The event queue has room again.
    Drain {
        slot: u32,
    },
    /// MainSocket the group there from now on.
    Links {
        slot: u32,
        links: Vec<Link>,
    },
}

/// The engine of a group that joins.
#[derive(Debug)]
pub(in crate::listen) enum NewEngine {
    Proto(Box<ReceiverConfig>),
    Text,
}

/// Data for an engine, taken in order.
#[derive(Debug)]
pub(in crate::listen) enum EngineInput {
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
    /// The end of the log as far as the hub knows.
    HubHead {
        head: Seq,
    },
    Change {
        log: LogId,
        tag: GroupTag,
        relay: Option<SocketAddrV4>,
        next: Seq,
        main: MainSocket,
    },
}

/// The task's end of the event queue.
#[derive(Debug)]
pub(in crate::listen) struct EventInlet {
    events: EventReceiver<EngineEvent>,
    port: EnginePort,
}

/// The task's end of the commands and inputs to its engine. Clones share the limit on runs.
#[derive(Debug, Clone)]
pub(in crate::listen) struct EnginePort {
    slot: u32,
    commands: CommandSender<EngineCommand>,
    room: Arc<Semaphore>,
}

/// Makes both ends for one slot.
pub(in crate::listen) fn connect(
    slot: u32,
    commands: CommandSender<EngineCommand>,
) -> (EventSender<EngineEvent>, EventInlet, EnginePort) {
    let (sender, events) = event_queue::channel();
    let port = EnginePort { slot, commands, room: Arc::new(Semaphore::new(RUNS)) };
    (sender, EventInlet { events, port: port.clone() }, port)
}

impl EventInlet {
    /// The next event; `None` once the driver has stopped. Cancel safe.
    pub(in crate::listen) async fn next(&mut self) -> Option<EngineEvent> {
        let port = &self.port;
        self.events
            .next(|| {
                // A full command queue means that the engine is about to run anyway, and then it finds the room by itself.
                let _ = port.commands.send(EngineCommand::Drain { slot: port.slot });
            })
            .await
    }
}

impl EnginePort {
    /// The slot of the engine.
    pub(in crate::listen) const fn slot(&self) -> u32 {
        self.slot
    }

    /// Hands a run over; waits while the engine has no room for it. False once the driver has stopped.
    pub(in crate::listen) async fn run(&self, run: Run, lane: Lane) -> bool {
        let Ok(room) = Arc::clone(&self.room).acquire_owned().await else { return false };
        self.input(EngineInput::Run { run, lane, _room: room }).await
    }

    /// Hands an input over. False once the driver has stopped.
    pub(in crate::listen) async fn input(&self, input: EngineInput) -> bool {
        self.command(EngineCommand::Input { slot: self.slot, input }).await
    }

    /// Sends a command. False once the driver has stopped.
    pub(in crate::listen) async fn command(&self, command: EngineCommand) -> bool {
        self.commands.send_wait(command).await.is_ok()
    }

    /// Removes the engine. Does not wait, so that it can be called on the way out.
    pub(in crate::listen) fn remove(&self) {
        let _ = self.commands.send(EngineCommand::Remove { slot: self.slot });
    }
}
