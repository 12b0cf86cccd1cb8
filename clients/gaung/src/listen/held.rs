//! Holds messages back until their authors are known.

use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use gaung_client::{AuthorState, AuthorVerifier};
use gaung_proto::{GroupId, LogId, Seq};

use crate::render::line::ReceivedMessage;

/// Messages in the order of their arrival, of which the first is given out once its author is known, after 5 s at most.
#[derive(Debug, Default)]
pub(super) struct HeldMessages {
    verifiers: HashMap<GroupId, (LogId, AuthorVerifier)>,
    held: VecDeque<Box<ReceivedMessage>>,
    known: HashMap<(GroupId, Seq), AuthorState>,
}

/// Limits the messages that are held; above it the first counts as unsigned.
const MAX_HELD: usize = 65_536;

impl HeldMessages {
    /// Takes a message.
    pub(super) fn push(&mut self, now: Instant, received: Box<ReceivedMessage>) {
        if let Some((group, log)) = received.group_id.zip(received.log) {
            let new = || (log, AuthorVerifier::new(group, log));
            let (of, verifier) = self.verifiers.entry(group).or_insert_with(new);
            if *of != log {
                (*of, *verifier) = new();
                // The seqs of the former log are counted anew.
                self.known.retain(|(known, _), _| *known != group);
            }
            let state = verifier.handle_message(now, &received.message);
            if state != AuthorState::Pending {
                self.known.insert((group, received.message.seq), state);
            }
            self.collect(group);
        }
        self.held.push_back(received);
    }

    /// Counts messages as unsigned for which no attestation has come in time.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let groups: Vec<_> = self.verifiers.keys().copied().collect();
        for group in groups {
            if let Some((_, verifier)) = self.verifiers.get_mut(&group) {
                verifier.handle_timeout(now);
            }
            self.collect(group);
        }
    }

    /// Returns when a message that is held counts as unsigned.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.verifiers.values().filter_map(|(_, verifier)| verifier.poll_timeout()).min()
    }

    /// Returns the next message whose author is known.
    pub(super) fn poll_ready(&mut self) -> Option<(Box<ReceivedMessage>, AuthorState)> {
        let first = self.held.front()?;
        let state = match first.group_id.filter(|_| first.log.is_some()) {
            Some(group) => self.known.remove(&(group, first.message.seq)),
            None => Some(AuthorState::Unsigned),
        };
        let state = state.or_else(|| (self.held.len() > MAX_HELD).then_some(AuthorState::Unsigned))?;
        Some((self.held.pop_front()?, state))
    }

    fn collect(&mut self, group: GroupId) {
        let Some((_, verifier)) = self.verifiers.get_mut(&group) else { return };
        while let Some((seq, state)) = verifier.poll_outcome() {
            self.known.insert((group, seq), state);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use bytes::Bytes;
    use gaung_proto::{DeviceId, Kind};

    use super::*;
    use crate::render::line::tests::received;

    #[test]
    fn a_message_waits_for_its_attestation_and_those_behind_it_for_their_turn() {
        let (mut held, now) = (HeldMessages::default(), Instant::now());
        let mut push = |seq, device| {
            let mut message = received("L", Kind::Text(Bytes::from_static(b"x")));
            (message.message.seq, message.message.author.device) = (Seq(seq), device);
            held.push(now, Box::new(message));
        };
        push(1, DeviceId([1; 16]));
        push(2, DeviceId::NONE);
        assert!(held.poll_ready().is_none());
        let due = held.poll_timeout().unwrap();
        assert_eq!(due, now + Duration::from_secs(5));
        held.handle_timeout(due);
        let ready: Vec<_> =
            std::iter::from_fn(|| held.poll_ready()).map(|(message, state)| (message.message.seq, state)).collect();
        assert_eq!(ready, [(Seq(1), AuthorState::Unsigned), (Seq(2), AuthorState::Unsigned)]);
        assert!(held.known.is_empty());
    }
}
