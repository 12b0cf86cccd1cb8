//! The engines of a listener's groups on their one thread, between the sockets and the groups' tasks.

mod port;
mod slot;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use gaung_engine::{ArrivalSocket, Transmit};
use gaung_net::{
    SenderAddr, SocketError,
    driver::{Drive, SocketChange, SocketId},
    interface::Link,
};
use gaung_proto::datagram::Header;
use tracing::{debug, warn};

pub(super) use self::port::{EngineCommand, EngineEvent, EngineInput, EnginePort, EventInlet, NewEngine, connect};
use self::slot::{Slot, SlotEngine};
use crate::group_sockets::{self, MainSocket};

/// The socket for NACK, STATUS and PROBE, which all groups share; [`group_sockets`] has the ids of the others.
pub(super) const OWN_SOCKET: SocketId = SocketId(0);

/// The engines of one listener's groups, by slot.
#[derive(Debug, Default)]
pub(super) struct GroupEngines {
    slots: BTreeMap<u32, Slot>,
    changes: VecDeque<SocketChange>,
}

impl Drive for GroupEngines {
    type Command = EngineCommand;

    fn handle_command(&mut self, now: Instant, command: EngineCommand) {
        match command {
            EngineCommand::Add { slot: id, engine, main, out } => {
                let mut slot = Slot::new(now, id, engine, out);
                self.changes.extend(slot.sockets.handle_main(&main));
                self.slots.insert(id, slot);
            }
            EngineCommand::Remove { slot } => {
                if let Some(mut slot) = self.slots.remove(&slot) {
                    self.changes.extend(slot.sockets.handle_main(&MainSocket::Close));
                }
            }
            EngineCommand::Input { slot, input } => {
                if let Some(slot) = self.slots.get_mut(&slot) {
                    slot.handle_input(now, input, &mut self.changes);
                }
            }
            EngineCommand::Links { slot, links } => {
                if let Some(slot) = self.slots.get_mut(&slot) {
                    self.changes.extend(slot.sockets.handle_links(&links));
                    if let SlotEngine::Proto(receiver) = &mut slot.engine {
                        receiver.handle_network();
                    }
                }
            }
            EngineCommand::Drain { slot } => {
                if let Some(slot) = self.slots.get_mut(&slot) {
                    slot.pump(now, &mut self.changes);
                }
            }
        }
    }

    fn handle_datagram(&mut self, now: Instant, socket: SocketId, from: SenderAddr, bytes: &[u8]) {
        if socket != OWN_SOCKET {
            if let Some(slot) = group_sockets::slot_of(socket).and_then(|slot| self.slots.get_mut(&slot)) {
                slot.handle_datagram(now, ArrivalSocket::Group, from, bytes, &mut self.changes);
            }
            return;
        }
        let Ok((header, _)) = Header::decode(bytes) else { return };
        if let Some(slot) = self.slots.values_mut().find(|slot| slot.is_addressed(header.tag)) {
            slot.handle_datagram(now, ArrivalSocket::Unicast, from, bytes, &mut self.changes);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        for slot in self.slots.values_mut() {
            if let SlotEngine::Proto(receiver) = &mut slot.engine
                && receiver.poll_timeout().is_some_and(|due| due <= now)
            {
                receiver.handle_timeout(now);
                slot.pump(now, &mut self.changes);
            }
        }
    }

    fn handle_socket(&mut self, now: Instant, socket: SocketId, outcome: Result<Vec<Link>, SocketError>) {
        let Some(slot) = group_sockets::slot_of(socket).and_then(|slot| self.slots.get_mut(&slot)) else { return };
        match outcome {
            Ok(failed) => {
                failed.iter().for_each(|link| warn!(interface = link.name, "group not joined on this interface"))
            }
            // The engine gives up a move to an address on which it receives nothing.
            Err(error) if !slot.sockets.is_main(socket) => debug!(%error, "new address not joined"),
            Err(error) => slot.notify(now, EngineEvent::NoSocket(error.to_string()), &mut self.changes),
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.slots.values_mut().find_map(|slot| match &mut slot.engine {
            SlotEngine::Proto(receiver) => receiver.poll_transmit(),
            SlotEngine::Text => None,
        })
    }

    fn poll_socket_change(&mut self) -> Option<SocketChange> {
        self.changes.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let due = self.slots.values().filter_map(|slot| match &slot.engine {
            SlotEngine::Proto(receiver) => receiver.poll_timeout(),
            SlotEngine::Text => None,
        });
        due.min()
    }
}

#[cfg(test)]
mod tests;
