//! Follows a group to another address. Both addresses are received until the group is proven to be at the new one, so
//! that nothing is missed and a forged notice costs nothing.

use std::{collections::VecDeque, time::Instant};

use gaung_proto::{
    DecodeError, Generation, GroupAddr, GroupTag,
    body::{Heartbeat, Migrate, Probe},
    datagram::{Header, PacketType, flags},
};
use rand::Rng as _;

use super::{ArrivalSocket, LanePolicy, MemberReceiver, ReceiverEvent, path_mtu::PathMtu};
use crate::timing::TIMING;

const MAX_PROOF_DOUBLINGS: u32 = 4;
/// Generations that a group can have gone through while a member did not hear it.
const MAX_MISSED_MOVES: u32 = 64;

/// A change of the addresses that a member has to receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenChange {
    /// Listen at this address too.
    Also(GroupAddr),
    /// Stop listening at the first of the two addresses.
    Moved,
    /// Stop listening at the second of the two addresses.
    Stayed,
}

/// State of a move from one address to another.
#[derive(Debug, Default)]
pub(super) struct MoveTracker {
    state: MoveState,
    /// Generation of the present address, once a heartbeat carried it.
    generation: Option<Generation>,
    /// The last other notice, tried after the present one. Not the newest generation, because a damaged or forged
    /// notice may carry any generation, and the relay repeats the true one.
    next: Option<MoveTarget>,
    hearings: VecDeque<ListenChange>,
}

#[derive(Debug, Clone, Copy, Default)]
enum MoveState {
    #[default]
    Settled,
    /// Listening at both addresses.
    Trying { to: MoveTarget, until: Instant, proof: MoveProof },
    /// Listening at the new address; datagrams sent before the group left still come from the former one.
    Arrived { former: GroupTag, until: Instant },
}

/// The proof that a group has moved. A notice and datagrams from the address that it names can be forged; the relay's
/// answer to a PROBE under the new tag cannot.
#[derive(Debug, Clone, Copy, Default)]
struct MoveProof {
    /// Nonce of the PROBE, once something was heard at the new address.
    nonce: Option<u64>,
    /// When to send the next PROBE.
    next: Option<Instant>,
    /// PROBEs that were sent under the new tag.
    probes: u32,
    /// Whether the group was heard at the former address.
    stays: bool,
}

#[derive(Debug, Clone, Copy)]
struct MoveTarget {
    addr: GroupAddr,
    generation: Generation,
    tag: GroupTag,
}

impl MoveTracker {
    pub(super) fn due(&self) -> Option<Instant> {
        match self.state {
            MoveState::Settled => None,
            MoveState::Trying { until, proof, .. } => Some(proof.next.map_or(until, |next| next.min(until))),
            MoveState::Arrived { until, .. } => Some(until),
        }
    }

    pub(super) const fn handle_generation(&mut self, generation: Generation) {
        self.generation = Some(generation);
    }

    /// Ends a move, because the registry says where the group is.
    pub(super) fn end(&mut self) {
        self.generation = None;
        self.next = None;
        match std::mem::take(&mut self.state) {
            MoveState::Settled => {}
            MoveState::Trying { .. } => self.hearings.push_back(ListenChange::Stayed),
            MoveState::Arrived { .. } => self.hearings.push_back(ListenChange::Moved),
        }
    }

    fn is_newer(&self, generation: Generation) -> bool {
        self.generation.is_none_or(|own| generation.0 > own.0)
    }

    fn attempt(&mut self, now: Instant, to: MoveTarget) {
        self.state = MoveState::Trying { to, until: now + TIMING.move_patience, proof: MoveProof::default() };
        self.hearings.push_back(ListenChange::Also(to.addr));
    }
}

impl MemberReceiver {
    /// This machine's interfaces or addresses, or the relay's address, are others: what was learnt of the former path counts no
    /// more, such as how long multicast must be heard before the member returns to it.
    pub fn handle_network(&mut self) {
        self.lane.handle_network();
        self.path_mtu = PathMtu::default();
    }

    /// Returns the next change of addresses; drain it after each input.
    pub fn poll_hearing(&mut self) -> Option<ListenChange> {
        self.moving.hearings.pop_front()
    }

    /// Whether a datagram with this tag can be of the group: at its address, or at the one it comes from or goes to.
    #[must_use]
    pub fn is_addressed(&self, tag: GroupTag) -> bool {
        tag == self.config.tag
            || match self.moving.state {
                MoveState::Settled => false,
                MoveState::Trying { to, .. } => to.tag == tag,
                MoveState::Arrived { former, .. } => former == tag,
            }
    }

    /// Handles a MIGRATE. Notices are repeated and can be forged, so one is tried at a time, and the last other one
    /// after it.
    pub(super) fn handle_migrate(&mut self, now: Instant, migrate: &Migrate) {
        let &Migrate { group, log, generation, to: addr } = migrate;
        let is_ours = group == self.config.group && log == self.config.log;
        let tag = GroupTag::of(self.config.group, generation, self.config.log);
        let is_news = is_ours && tag != self.config.tag && self.moving.is_newer(generation) && self.is_next(generation);
        let said = MoveTarget { addr, generation, tag };
        match self.moving.state {
            MoveState::Settled if is_news => self.moving.attempt(now, said),
            MoveState::Trying { to, .. } if is_news && (to.tag, to.addr) != (tag, addr) => {
                self.moving.next = Some(said)
            }
            MoveState::Arrived { .. } if is_news => self.moving.next = Some(said),
            MoveState::Settled | MoveState::Trying { .. } | MoveState::Arrived { .. } => self.stats.ignored += 1,
        }
    }

    /// Whether a datagram with another tag than the group's counts all the same.
    ///
    /// # Errors
    /// [`DecodeError`] if an answer is none.
    pub(super) fn follow(
        &mut self,
        now: Instant,
        via: ArrivalSocket,
        header: &Header,
        body: &[u8],
    ) -> Result<bool, DecodeError> {
        let is_data = matches!(header.packet_type, PacketType::Data | PacketType::Parity);
        match &mut self.moving.state {
            MoveState::Trying { to, proof, .. } if to.tag == header.tag => {
                let to = *to;
                if self.reporter.relay().is_none() && via == ArrivalSocket::Group {
                    self.arrive(now, to);
                    return Ok(true);
                }
                if header.packet_type == PacketType::Probe && header.has(flags::RESPONSE) {
                    if proof.nonce.is_some_and(|nonce| Probe::decode(body).is_ok_and(|answer| answer.nonce == nonce)) {
                        self.arrive(now, to);
                    }
                    return Ok(false);
                }
                if via == ArrivalSocket::Group && proof.nonce.is_none() {
                    proof.nonce = Some(self.rng.random());
                    proof.next = Some(now);
                    self.ask_for_proof(now);
                }
                Ok(is_data)
            }
            MoveState::Arrived { former, .. } => Ok(*former == header.tag && is_data),
            MoveState::Settled | MoveState::Trying { .. } => Ok(false),
        }
    }

    /// Sends a PROBE under the new tag, and repeats it until the relay answers.
    fn ask_for_proof(&mut self, now: Instant) {
        let MoveState::Trying { to, proof, .. } = &mut self.moving.state else { return };
        let Some(nonce) = proof.nonce.filter(|_| proof.next.is_some_and(|next| next <= now)) else { return };
        proof.next = Some(now + TIMING.move_proof_min * (1 << proof.probes.min(MAX_PROOF_DOUBLINGS)));
        proof.probes += 1;
        let question = self.reporter.probe_of(now, to.tag, nonce);
        question.into_iter().for_each(|question| self.send(question));
    }

    /// Notes that the group was heard at its present address: a notice that it has left then needs the relay's answer.
    pub(super) const fn handle_heard_here(&mut self) {
        if let MoveState::Trying { proof, .. } = &mut self.moving.state {
            proof.stays = true;
        }
    }

    /// Whether the generation can follow that of the group's tag: an older one is known to the relay too.
    fn is_next(&self, generation: Generation) -> bool {
        let (group, log) = (self.config.group, self.config.log);
        let earlier = generation.0.saturating_sub(MAX_MISSED_MOVES)..generation.0;
        self.moving.generation.is_some()
            || earlier.rev().any(|earlier| GroupTag::of(group, Generation(earlier), log) == self.config.tag)
    }

    pub(super) fn work_moving(&mut self, now: Instant) {
        if self.moving.due().is_none_or(|due| due > now) {
            return;
        }
        if let MoveState::Trying { to, until, proof } = self.moving.state {
            if until > now {
                return self.ask_for_proof(now);
            }
            // Without an answer, as where nothing that this member sends arrives, what is heard decides.
            if proof.nonce.is_some() && !proof.stays && self.reporter.is_unanswered() {
                return self.arrive(now, to);
            }
        }
        let next = self.moving.next.take().filter(|next| self.moving.is_newer(next.generation));
        match std::mem::take(&mut self.moving.state) {
            MoveState::Settled => {}
            MoveState::Trying { .. } => {
                self.moving.hearings.push_back(ListenChange::Stayed);
                self.say_stale(now);
            }
            MoveState::Arrived { .. } => self.moving.hearings.push_back(ListenChange::Moved),
        }
        if let Some(next) = next {
            self.moving.attempt(now, next);
        }
    }

    /// Handles a datagram with another tag; a heartbeat of this group means that the registry knows more.
    pub(super) fn handle_stranger(&mut self, now: Instant, header: &Header, body: &[u8]) -> Result<(), DecodeError> {
        if header.packet_type == PacketType::Heartbeat && Heartbeat::decode(body)?.group == self.config.group {
            self.say_stale(now);
        }
        Ok(())
    }

    /// Asks the registry after silence, because the group may be at another address. A member that may leave multicast
    /// has the hub meanwhile.
    pub(super) fn ask_after_silence(&mut self, now: Instant) {
        let said = self.stale_said.map(|said| now.saturating_duration_since(said));
        if self.config.policy == LanePolicy::MulticastOnly
            && said.is_none_or(|said| said >= TIMING.stale_interval_silent)
        {
            self.say_stale(now);
        }
    }

    pub(super) fn say_stale(&mut self, now: Instant) {
        if self.stale_said.is_none_or(|said| now.saturating_duration_since(said) >= TIMING.stale_interval) {
            self.stale_said = Some(now);
            self.emit(ReceiverEvent::Stale);
        }
    }

    /// Completes a move: log and epoch stay, and the count of datagrams continues.
    fn arrive(&mut self, now: Instant, to: MoveTarget) {
        let MoveTarget { addr, generation, tag } = to;
        let former = std::mem::replace(&mut self.config.tag, tag);
        self.reporter.change_tag(tag);
        self.moving.state = MoveState::Arrived { former, until: now + TIMING.move_late };
        self.moving.generation = Some(generation);
        self.stats.moves += 1;
        // Whoever takes no events needs only the last one.
        self.events.retain(|event| !matches!(event, ReceiverEvent::Moved { .. }));
        self.events.push_back(ReceiverEvent::Moved { to: addr, generation });
    }
}
