//! Follows a group to another address. Both addresses are received until the group is proven to be at the new one, so
//! that nothing is missed and a forged notice costs nothing.

use std::{collections::VecDeque, time::Instant};

use gaung_proto::{
    Generation, GroupAddr, GroupId, GroupTag, LogId,
    body::{Migrate, Probe},
    datagram::{Header, PacketType, flags},
};
use rand::{Rng as _, rngs::SmallRng};

use super::ArrivalSocket;
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

/// Where the group is, by the tag of its datagrams, and its move from one address to another.
#[derive(Debug)]
pub(super) struct MoveTracker {
    group: GroupId,
    log: LogId,
    /// The tag of the present address.
    tag: GroupTag,
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

/// What a move requires of the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MoveStep {
    /// Nothing is to be done.
    Idle,
    /// Send a PROBE with this nonce under the new tag.
    Probe { tag: GroupTag, nonce: u64 },
    /// The group is here now. Its log and epoch stay, and its count of datagrams continues.
    Arrived { addr: GroupAddr, generation: Generation },
    /// Nothing proved that the group had moved.
    Stayed,
}

#[derive(Debug, Clone, Copy)]
struct MoveTarget {
    addr: GroupAddr,
    generation: Generation,
    tag: GroupTag,
}

impl MoveTracker {
    /// Makes a tracker of a group whose datagrams have `tag`.
    pub(super) const fn new(group: GroupId, log: LogId, tag: GroupTag) -> Self {
        let hearings = VecDeque::new();
        Self { group, log, tag, state: MoveState::Settled, generation: None, next: None, hearings }
    }

    pub(super) const fn tag(&self) -> GroupTag {
        self.tag
    }

    /// Whether a datagram with this tag can be of the group: at its address, or at the one it comes from or goes to.
    pub(super) fn is_addressed(&self, tag: GroupTag) -> bool {
        tag == self.tag
            || match self.state {
                MoveState::Settled => false,
                MoveState::Trying { to, .. } => to.tag == tag,
                MoveState::Arrived { former, .. } => former == tag,
            }
    }

    /// Returns when to call [`Self::work`].
    pub(super) fn due(&self) -> Option<Instant> {
        match self.state {
            MoveState::Settled => None,
            MoveState::Trying { until, proof, .. } => Some(proof.next.map_or(until, |next| next.min(until))),
            MoveState::Arrived { until, .. } => Some(until),
        }
    }

    /// Returns the next change of addresses.
    pub(super) fn poll_hearing(&mut self) -> Option<ListenChange> {
        self.hearings.pop_front()
    }

    /// Takes the log and the tag from the registry, which says where the group is: that ends a move.
    pub(super) fn restart(&mut self, log: LogId, tag: GroupTag) {
        (self.log, self.tag) = (log, tag);
        self.generation = None;
        self.next = None;
        match std::mem::take(&mut self.state) {
            MoveState::Settled => {}
            MoveState::Trying { .. } => self.hearings.push_back(ListenChange::Stayed),
            MoveState::Arrived { .. } => self.hearings.push_back(ListenChange::Moved),
        }
    }

    /// Handles a heartbeat of the group's log. At the present address it tells the generation, and that a notice that the
    /// group has left needs the relay's answer.
    pub(super) fn handle_heartbeat(&mut self, generation: Generation) {
        if self.tag_of(generation) != self.tag {
            return;
        }
        self.generation = Some(generation);
        if let MoveState::Trying { proof, .. } = &mut self.state {
            proof.stays = true;
        }
    }

    /// Handles a MIGRATE; returns whether it says something new. Notices are repeated and can be forged, so one is tried
    /// at a time, and the last other one after it.
    pub(super) fn handle_migrate(&mut self, now: Instant, migrate: &Migrate) -> bool {
        let &Migrate { group, log, generation, to: addr } = migrate;
        let tag = self.tag_of(generation);
        let is_ours = group == self.group && log == self.log;
        let is_news = is_ours && tag != self.tag && self.is_newer(generation) && self.is_next(generation);
        let said = MoveTarget { addr, generation, tag };
        match self.state {
            MoveState::Settled if is_news => self.attempt(now, said),
            MoveState::Trying { to, .. } if is_news && (to.tag, to.addr) != (tag, addr) => self.next = Some(said),
            MoveState::Arrived { .. } if is_news => self.next = Some(said),
            MoveState::Settled | MoveState::Trying { .. } | MoveState::Arrived { .. } => return false,
        }
        true
    }

    /// Handles a datagram with another tag than the group's; returns whether it counts all the same. `has_relay`: the
    /// relay's address is known, so that it can be asked for a proof.
    pub(super) fn handle_other_tag(
        &mut self,
        now: Instant,
        via: ArrivalSocket,
        header: &Header,
        body: &[u8],
        has_relay: bool,
        rng: &mut SmallRng,
    ) -> (bool, MoveStep) {
        let is_data = matches!(header.packet_type, PacketType::Data | PacketType::Parity);
        match &mut self.state {
            MoveState::Trying { to, proof, .. } if to.tag == header.tag => {
                let to = *to;
                // Without the relay's address nothing can be asked, so hearing the group there has to do.
                if !has_relay && via == ArrivalSocket::Group {
                    return (true, self.arrive(now, to));
                }
                if header.packet_type == PacketType::Probe && header.has(flags::RESPONSE) {
                    let is_asked = |nonce| Probe::decode(body).is_ok_and(|answer| answer.nonce == nonce);
                    let is_proven = proof.nonce.is_some_and(is_asked);
                    return (false, if is_proven { self.arrive(now, to) } else { MoveStep::Idle });
                }
                // Asking before anything is heard there would let one forged notice make every member ask.
                if via == ArrivalSocket::Group && proof.nonce.is_none() {
                    proof.nonce = Some(rng.random());
                    proof.next = Some(now);
                    return (is_data, self.ask_for_proof(now));
                }
                (is_data, MoveStep::Idle)
            }
            MoveState::Arrived { former, .. } => (*former == header.tag && is_data, MoveStep::Idle),
            MoveState::Settled | MoveState::Trying { .. } => (false, MoveStep::Idle),
        }
    }

    /// Takes the step that is due. `is_unanswered`: the relay answers nothing.
    pub(super) fn work(&mut self, now: Instant, is_unanswered: bool) -> MoveStep {
        if self.due().is_none_or(|due| due > now) {
            return MoveStep::Idle;
        }
        if let MoveState::Trying { to, until, proof } = self.state {
            if until > now {
                return self.ask_for_proof(now);
            }
            // Without an answer, as where nothing that this member sends arrives, what is heard decides.
            if proof.nonce.is_some() && !proof.stays && is_unanswered {
                return self.arrive(now, to);
            }
        }
        let next = self.next.take().filter(|next| self.is_newer(next.generation));
        let step = match std::mem::take(&mut self.state) {
            MoveState::Settled => MoveStep::Idle,
            MoveState::Trying { .. } => {
                self.hearings.push_back(ListenChange::Stayed);
                MoveStep::Stayed
            }
            MoveState::Arrived { .. } => {
                self.hearings.push_back(ListenChange::Moved);
                MoveStep::Idle
            }
        };
        if let Some(next) = next {
            self.attempt(now, next);
        }
        step
    }

    /// Asks for a PROBE under the new tag, which is repeated until the relay answers.
    fn ask_for_proof(&mut self, now: Instant) -> MoveStep {
        let MoveState::Trying { to, proof, .. } = &mut self.state else { return MoveStep::Idle };
        let Some(nonce) = proof.nonce.filter(|_| proof.next.is_some_and(|next| next <= now)) else {
            return MoveStep::Idle;
        };
        proof.next = Some(now + TIMING.move_proof_min * (1 << proof.probes.min(MAX_PROOF_DOUBLINGS)));
        proof.probes += 1;
        MoveStep::Probe { tag: to.tag, nonce }
    }

    fn tag_of(&self, generation: Generation) -> GroupTag {
        GroupTag::of(self.group, generation, self.log)
    }

    fn is_newer(&self, generation: Generation) -> bool {
        self.generation.is_none_or(|own| generation.0 > own.0)
    }

    /// Whether the generation can follow that of the group's tag: an older one is known to the relay too.
    fn is_next(&self, generation: Generation) -> bool {
        let earlier = generation.0.saturating_sub(MAX_MISSED_MOVES)..generation.0;
        self.generation.is_some() || earlier.rev().any(|earlier| self.tag_of(Generation(earlier)) == self.tag)
    }

    fn attempt(&mut self, now: Instant, to: MoveTarget) {
        self.state = MoveState::Trying { to, until: now + TIMING.move_patience, proof: MoveProof::default() };
        self.hearings.push_back(ListenChange::Also(to.addr));
    }

    fn arrive(&mut self, now: Instant, to: MoveTarget) -> MoveStep {
        let MoveTarget { addr, generation, tag } = to;
        let former = std::mem::replace(&mut self.tag, tag);
        self.state = MoveState::Arrived { former, until: now + TIMING.move_late };
        self.generation = Some(generation);
        MoveStep::Arrived { addr, generation }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use gaung_proto::{Epoch, Pkt, SenderId, Seq, body::Cookie, datagram::Fragment};
    use rand::SeedableRng as _;

    use super::*;
    use crate::test_messages::{GROUP, LOG};

    fn addr(generation: u32) -> GroupAddr {
        GroupAddr::new([239, 255, 7, 1].into(), 20_000 + generation as u16).expect("a multicast address")
    }

    fn tag(generation: u32) -> GroupTag {
        GroupTag::of(GROUP, Generation(generation), LOG)
    }

    fn notify(tracker: &mut MoveTracker, now: Instant, generation: u32) -> bool {
        let notice = Migrate { group: GROUP, log: LOG, generation: Generation(generation), to: addr(generation) };
        tracker.handle_migrate(now, &notice)
    }

    /// Hears a datagram with the tag of `generation`, as a member that knows the relay's address.
    fn hear(tracker: &mut MoveTracker, now: Instant, packet_type: PacketType, generation: u32) -> (bool, MoveStep) {
        let answer = Probe { sender: SenderId([1; 16]), nonce: 7, cookie: Cookie(1) };
        let mut body = BytesMut::new();
        answer.write(&mut body);
        let flags = if packet_type == PacketType::Probe { flags::RESPONSE } else { 0 };
        let (tag, epoch, fragment) = (tag(generation), Epoch(1), Fragment::WHOLE);
        let header = Header { packet_type, flags, tag, epoch, pkt: Pkt(1), seq: Seq(1), fragment, ts_us: 0 };
        tracker.handle_other_tag(now, ArrivalSocket::Group, &header, &body, true, &mut SmallRng::seed_from_u64(1))
    }

    fn hearings(tracker: &mut MoveTracker) -> Vec<ListenChange> {
        std::iter::from_fn(|| tracker.poll_hearing()).collect()
    }

    #[test]
    fn a_group_has_moved_once_the_relay_answers_under_the_new_tag() {
        let (now, mut tracker) = (Instant::now(), MoveTracker::new(GROUP, LOG, tag(1)));
        assert!(notify(&mut tracker, now, 2) && !notify(&mut tracker, now, 2) && !notify(&mut tracker, now, 1));
        assert_eq!(hear(&mut tracker, now, PacketType::Data, 9), (false, MoveStep::Idle));
        let (counts, asked) = hear(&mut tracker, now, PacketType::Data, 2);
        let MoveStep::Probe { nonce, .. } = asked else { panic!("{asked:?}") };
        assert!(counts && tracker.is_addressed(tag(1)) && tracker.is_addressed(tag(2)));
        assert_eq!(hear(&mut tracker, now, PacketType::Probe, 2), (false, MoveStep::Idle), "a forged answer");
        let due = tracker.due().expect("it asks again");
        assert_eq!(tracker.work(due, false), MoveStep::Probe { tag: tag(2), nonce });

        let MoveState::Trying { proof, .. } = &mut tracker.state else { panic!("{tracker:?}") };
        proof.nonce = Some(7);
        let arrived = MoveStep::Arrived { addr: addr(2), generation: Generation(2) };
        assert_eq!(hear(&mut tracker, now, PacketType::Probe, 2), (false, arrived));
        assert_eq!(hear(&mut tracker, now, PacketType::Data, 1), (true, MoveStep::Idle), "sent before it left");
        assert_eq!(tracker.work(now + TIMING.move_late, false), MoveStep::Idle);
        assert_eq!(hearings(&mut tracker), [ListenChange::Also(addr(2)), ListenChange::Moved]);
        assert_eq!((tracker.tag(), tracker.is_addressed(tag(1)), tracker.due()), (tag(2), false, None));
    }

    #[test]
    fn what_is_said_while_another_address_is_tried_is_tried_next() {
        let (now, mut tracker) = (Instant::now(), MoveTracker::new(GROUP, LOG, tag(1)));
        tracker.handle_heartbeat(Generation(1));
        assert!(notify(&mut tracker, now, 2));
        // A damaged one may carry any generation; the one that is tried is said again.
        assert!(notify(&mut tracker, now, 40_000) && notify(&mut tracker, now, 4) && !notify(&mut tracker, now, 2));
        let then = now + TIMING.move_patience;
        assert_eq!(tracker.work(then, true), MoveStep::Stayed, "nothing was heard there");
        hear(&mut tracker, then, PacketType::Data, 4);
        tracker.handle_heartbeat(Generation(1));
        assert_eq!(tracker.work(then + TIMING.move_patience, true), MoveStep::Stayed, "it is heard at both addresses");
        let [two, four] = [2, 4].map(|generation| ListenChange::Also(addr(generation)));
        assert_eq!(hearings(&mut tracker), [two, ListenChange::Stayed, four, ListenChange::Stayed]);
    }

    #[test]
    fn what_is_heard_decides_where_the_relay_cannot_answer() {
        let (now, mut tracker) = (Instant::now(), MoveTracker::new(GROUP, LOG, tag(1)));
        notify(&mut tracker, now, 2);
        hear(&mut tracker, now, PacketType::Data, 2);
        let arrived = MoveStep::Arrived { addr: addr(2), generation: Generation(2) };
        assert_eq!(tracker.work(now + TIMING.move_patience, true), arrived);
        tracker.restart(LogId(6), tag(9));
        assert_eq!((tracker.tag(), hearings(&mut tracker).pop()), (tag(9), Some(ListenChange::Moved)));
    }
}
