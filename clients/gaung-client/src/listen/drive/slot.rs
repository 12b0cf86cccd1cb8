//! One group's engine on the thread of its listener.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;
use gaung_engine::{ArrivalSocket, MemberReceiver};
use gaung_net::{SenderAddr, driver::SocketChange};
use gaung_proto::{GroupTag, datagram::Header, limits::MAX_TEXT_DATAGRAM};
use tracing::trace;

use super::port::{EngineEvent, EngineInput, NewEngine};
use crate::{event_queue::EventSender, group_sockets::GroupSockets};

/// One group's engine with its sockets and queues.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) engine: SlotEngine,
    pub(super) sockets: GroupSockets,
    /// In order; runs wait here until the engine takes them.
    inputs: VecDeque<EngineInput>,
    /// Sent before the engine's events.
    notices: VecDeque<EngineEvent>,
    out: EventSender<EngineEvent>,
}

/// The engine of a slot; a text group has none.
#[derive(Debug)]
pub(super) enum SlotEngine {
    Proto(Box<MemberReceiver>),
    Text,
}

impl Slot {
    pub(super) fn new(now: Instant, id: u32, engine: NewEngine, out: EventSender<EngineEvent>) -> Self {
        let engine = match engine {
            NewEngine::Text => SlotEngine::Text,
            NewEngine::Proto(config) => SlotEngine::Proto(Box::new(MemberReceiver::new(*config, now))),
        };
        Self { engine, sockets: GroupSockets::new(id), inputs: VecDeque::new(), notices: VecDeque::new(), out }
    }

    /// Queues an input for the engine; a text group takes none.
    pub(super) fn handle_input(&mut self, now: Instant, input: EngineInput, changes: &mut VecDeque<SocketChange>) {
        if let EngineInput::Change { main, .. } = &input {
            changes.extend(self.sockets.handle_main(main));
        }
        if matches!(self.engine, SlotEngine::Proto(_)) {
            self.inputs.push_back(input);
            self.pump(now, changes);
        }
    }

    /// Sends a notice to the task.
    pub(super) fn notify(&mut self, now: Instant, notice: EngineEvent, changes: &mut VecDeque<SocketChange>) {
        self.notices.push_back(notice);
        self.pump(now, changes);
    }

    /// Whether a unicast datagram with this tag is for this group.
    pub(super) fn is_addressed(&self, tag: GroupTag) -> bool {
        match &self.engine {
            SlotEngine::Proto(receiver) => receiver.is_addressed(tag),
            SlotEngine::Text => false,
        }
    }

    /// Handles a datagram that came to the group's socket or to the own one.
    pub(super) fn handle_datagram(
        &mut self,
        now: Instant,
        via: ArrivalSocket,
        from: SenderAddr,
        bytes: &[u8],
        changes: &mut VecDeque<SocketChange>,
    ) {
        match &mut self.engine {
            SlotEngine::Proto(receiver) => {
                let Ok((header, body)) = Header::decode(bytes) else { return };
                if !receiver.admits(now, via, from.0) {
                    trace!(%from, "datagram of another host than the relay's dropped");
                } else if let Err(error) = receiver.handle_datagram(now, via, &header, body) {
                    trace!(%from, %error, "datagram dropped");
                }
                self.pump(now, changes);
            }
            SlotEngine::Text if bytes.len() <= MAX_TEXT_DATAGRAM && !bytes.is_empty() => {
                // There is no repair in a text group: what finds no room is lost like on the wire.
                self.out.try_send(EngineEvent::Text { from: from.0, text: Bytes::copy_from_slice(bytes) });
            }
            SlotEngine::Text => {}
        }
    }

    /// Moves inputs in and events out as far as there is room. Events that went out can make room for a run.
    pub(super) fn pump(&mut self, now: Instant, changes: &mut VecDeque<SocketChange>) {
        loop {
            self.take_inputs(now);
            if !self.send_events() || !self.can_take_input() {
                break;
            }
        }
        if let SlotEngine::Proto(receiver) = &mut self.engine {
            while let Some(hearing) = receiver.poll_hearing() {
                changes.extend(self.sockets.handle_hearing(hearing));
            }
        }
    }

    fn can_take_input(&self) -> bool {
        match (&self.engine, self.inputs.front()) {
            (SlotEngine::Text, _) | (_, None) => false,
            (SlotEngine::Proto(receiver), Some(EngineInput::Run { .. })) => receiver.can_take_run(),
            (
                SlotEngine::Proto(_),
                Some(
                    EngineInput::End(_)
                    | EngineInput::Trimmed { .. }
                    | EngineInput::Head { .. }
                    | EngineInput::HubHead { .. }
                    | EngineInput::Change { .. },
                ),
            ) => true,
        }
    }

    fn take_inputs(&mut self, now: Instant) {
        while self.can_take_input() {
            let (SlotEngine::Proto(receiver), Some(input)) = (&mut self.engine, self.inputs.pop_front()) else {
                return;
            };
            match input {
                // A run of a log that was replaced meanwhile is of no use.
                EngineInput::Run { run, lane, _room } => drop(receiver.handle_run(now, &run, lane)),
                EngineInput::End(end) => receiver.handle_history(now, end),
                EngineInput::Trimmed { oldest } => receiver.handle_trimmed(now, oldest),
                EngineInput::Head { head } => receiver.handle_head(now, head),
                EngineInput::HubHead { head } => receiver.handle_hub_head(now, head),
                EngineInput::Change { log, tag, relay, next, main: _ } => {
                    let old_log = receiver.log();
                    receiver.handle_change(now, log, tag, relay, next);
                    if old_log != log {
                        self.notices.push_back(EngineEvent::Changed { old_log });
                    }
                }
            }
        }
    }

    /// Moves notices and events to the task. False if there is no room for all.
    fn send_events(&mut self) -> bool {
        let Self { engine, notices, out, .. } = self;
        out.send_all(|| match engine {
            SlotEngine::Proto(receiver) => {
                notices.pop_front().or_else(|| receiver.poll_event().map(EngineEvent::Receiver))
            }
            SlotEngine::Text => notices.pop_front(),
        })
    }
}
