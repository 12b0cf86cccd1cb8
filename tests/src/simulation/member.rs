//! A member's process: its engine between the network, the log, the hub and somebody who reads.

use std::{collections::VecDeque, time::Duration};

use gaung_engine::{ArrivalSocket, LanePolicy, ListenChange, MemberReceiver, ReceiverConfig, ReceiverEvent};
use gaung_proto::{
    DeviceId, GroupTag, SenderId, Seq, SeqRange,
    block::Block,
    body::Heartbeat,
    datagram::{Header, PacketType, flags},
};
use rand::{Rng as _, rngs::SmallRng};

use super::{
    clock::NodeClock,
    event::{Arrival, Event, HubStep, Node, ReadStep},
    lanes::{Input, Lanes},
    network::RELAY,
    relay::{GROUP, LOG, sabotage},
    settings::Mix,
    world::World,
};

/// Messages ahead for which a member has places: damaged parity makes any of them up.
const NEAR: u64 = 32_768;
/// Bytes of datagrams that wait in the sockets of a stopped process.
const SOCKET_BYTES: usize = 208 * 1024;
/// Held messages, fragments, and one datagram or run over the limits.
const MEMORY: usize = gaung_engine::MAX_RECEIVER_BYTES;

/// One member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: usize,
    pub(super) clock: NodeClock,
    kind: Kind,
    pub(super) engine: Option<MemberReceiver>,
    pub(super) lanes: Lanes,
    /// Counts of faults that hold.
    stopped: u32,
    busy: u32,
    inbox: VecDeque<Arrival>,
    inbox_bytes: usize,
    wake_at: Option<Duration>,
    /// The registry has not answered yet.
    is_asking: bool,
    /// Times that it came; each has an identity of its own.
    lives: u64,
}

/// What it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    policy: LanePolicy,
    /// Has no registry, log or hub; begins with the first heartbeat.
    is_udp_only: bool,
    from_start: bool,
    is_deaf: bool,
}

impl Member {
    pub(super) fn new(id: usize, clock: NodeClock, mix: &Mix, rng: &mut SmallRng) -> Self {
        let mut left = rng.random::<f64>();
        let mut falls = |share: f64| {
            let is_it = (0.0..share).contains(&left);
            left -= share;
            is_it
        };
        let (multicast_only, tcp_only, is_udp_only) =
            (falls(mix.multicast_only), falls(mix.tcp_only), falls(mix.udp_only));
        let policy = match (multicast_only || is_udp_only, tcp_only) {
            (true, _) => LanePolicy::MulticastOnly,
            (_, true) => LanePolicy::TcpOnly,
            _ => LanePolicy::Auto,
        };
        // Whoever wants TCP alone joins no group.
        let is_deaf = tcp_only || (policy == LanePolicy::Auto && rng.random_bool(mix.deaf));
        let kind = Kind { policy, is_udp_only, from_start: rng.random_bool(mix.from_start), is_deaf };
        Self {
            id,
            clock,
            kind,
            engine: None,
            lanes: Lanes::default(),
            stopped: 0,
            busy: 0,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            wake_at: None,
            is_asking: false,
            lives: 0,
        }
    }

    pub(super) const fn is_deaf(&self) -> bool {
        self.kind.is_deaf
    }

    /// Comes, unless it is there. One that needs the log to know where it stands waits for a relay.
    pub(super) fn join(&mut self, world: &mut World) {
        let link = &mut world.network.links[self.id];
        if link.is_present {
            return;
        }
        link.is_present = true;
        link.ears = [Some(world.place.addr().socket_addr()), None];
        self.lives += 1;
        self.is_asking = false;
        if self.kind.is_udp_only {
            return;
        }
        let (oldest, head) = (world.disk.oldest(), world.hub.head);
        let next = if self.kind.from_start { oldest.min(head.next()) } else { head.next() };
        self.begin(world, next, world.place.tag(), true);
        if self.kind.policy == LanePolicy::TcpOnly {
            self.lanes.seek_hub(self.id, world);
        } else if next <= head {
            self.lanes.inputs.push_back(Input::Head(head));
        }
        self.settle(world);
    }

    pub(super) fn leave(&mut self, world: &mut World) {
        world.network.links[self.id].is_present = false;
        world.judge.left(self.id);
        self.engine = None;
        self.lanes = self.lanes.after_leaving();
        (self.inbox, self.inbox_bytes) = (VecDeque::new(), 0);
    }

    pub(super) fn pause(&mut self, world: &mut World, stops: bool) {
        self.stopped = if stops { self.stopped + 1 } else { self.stopped.saturating_sub(1) };
        if self.stopped > 0 {
            return;
        }
        self.inbox_bytes = 0;
        for arrival in std::mem::take(&mut self.inbox) {
            self.handle_datagram(world, arrival);
        }
        self.rewind(world);
    }

    pub(super) fn be_busy(&mut self, world: &mut World, is_busy: bool) {
        self.busy = if is_busy { self.busy + 1 } else { self.busy.saturating_sub(1) };
        self.settle(world);
    }

    pub(super) fn handle_datagram(&mut self, world: &mut World, arrival: Arrival) {
        if !world.network.links[self.id].is_present {
            return;
        }
        if self.stopped > 0 {
            if self.inbox_bytes + arrival.bytes.len() <= SOCKET_BYTES {
                self.inbox_bytes += arrival.bytes.len();
                self.inbox.push_back(arrival);
            }
            return;
        }
        let Ok((header, body)) = Header::decode(&arrival.bytes) else { return };
        if !arrival.genuine {
            self.tell_judge(world, &header, body);
        }
        if self.engine.is_none() {
            self.begin_by_heartbeat(world, &arrival, &header, body);
        }
        let now = self.clock.read(world.now);
        if let Some(engine) = &mut self.engine {
            if !engine.admits(now, arrival.via, arrival.from) {
                return;
            }
            // What does not decode is dropped.
            let _ = engine.handle_datagram(now, arrival.via, &header, body);
            self.settle(world);
        }
    }

    /// Its timer; early ones do nothing.
    pub(super) fn wake(&mut self, world: &mut World) {
        if self.stopped > 0 || self.wake_at.is_some_and(|at| at > world.now) {
            return;
        }
        self.wake_at = None;
        let now = self.clock.read(world.now);
        if let Some(engine) = &mut self.engine {
            engine.handle_timeout(now);
            self.settle(world);
        }
    }

    /// Its clock has jumped, or it goes on after a stop: what is due may be due now.
    pub(super) fn rewind(&mut self, world: &mut World) {
        self.wake_at = None;
        self.wake(world);
    }

    pub(super) fn handle_read(&mut self, world: &mut World, reading: u64, step: ReadStep, is_served: Option<bool>) {
        self.lanes.handle_read(self.id, reading, step, is_served, world);
        self.settle(world);
    }

    pub(super) fn handle_hub(&mut self, world: &mut World, session: u64, step: HubStep) {
        let Some(cursor) = self.engine.as_ref().map(MemberReceiver::next_seq) else { return };
        self.lanes.handle_hub(self.id, session, step, cursor, world);
        self.settle(world);
    }

    /// The registry has said where the group is.
    pub(super) fn handle_place(&mut self, world: &mut World, life: u64) {
        if life != self.lives || self.engine.is_none() {
            return;
        }
        self.is_asking = false;
        let (place, now) = (world.place, self.clock.read(world.now));
        let heard_at = (!place.is_lapsed).then(|| place.addr().socket_addr());
        let [first, second] = &mut world.network.links[self.id].ears;
        if *first != heard_at {
            (*first, *second) = (heard_at, None);
        }
        if let Some(engine) = &mut self.engine {
            engine.handle_change(now, LOG, place.tag(), Some(RELAY), Seq::FIRST);
        }
        self.settle(world);
    }

    fn ask_registry(&mut self, world: &mut World) {
        if !self.kind.is_udp_only && !std::mem::replace(&mut self.is_asking, true) {
            world.after_tcp(2, Event::PlaceAnswered { member: self.id, life: self.lives });
        }
    }

    /// Moves inputs in and events out as far as there is room; then all outputs go their way.
    pub(super) fn settle(&mut self, world: &mut World) {
        if self.stopped > 0 {
            return;
        }
        loop {
            self.take_inputs(world);
            self.take_events(world);
            if !self.can_take_input() {
                break;
            }
        }
        let Some(engine) = &mut self.engine else { return };
        while let Some(hearing) = engine.poll_hearing() {
            let [first, second] = &mut world.network.links[self.id].ears;
            match hearing {
                ListenChange::Also(addr) => *second = Some(addr.socket_addr()),
                ListenChange::Moved => *first = second.take().or(*first),
                ListenChange::Stayed => *second = None,
            }
        }
        while let Some(transmit) = engine.poll_transmit() {
            world.send(Node::Member(self.id), &transmit);
        }
        let bytes = engine.held_bytes();
        if bytes > MEMORY {
            world.judge.fail(|| format!("member {} holds {bytes} B, over its limit of {MEMORY} B", self.id));
        }
        let Some(due) = engine.poll_timeout().map(|due| self.clock.when(due, world.now)) else { return };
        if self.wake_at.is_none_or(|at| at > due || at <= world.now) {
            self.wake_at = Some(due);
            world.queue.put(due, Event::Wake(Node::Member(self.id)));
        }
    }

    fn begin(&mut self, world: &mut World, next: Seq, tag: GroupTag, genuine: bool) {
        let identity = (self.id as u128 + 1) << 64 | u128::from(self.lives);
        let config = ReceiverConfig {
            group: GROUP,
            log: LOG,
            tag,
            next,
            sender: SenderId(identity.to_be_bytes()),
            device: DeviceId::NONE,
            relay: Some(RELAY),
            policy: self.kind.policy,
            history: !self.kind.is_udp_only,
            rng_seed: world.rng.random(),
        };
        let mut engine = MemberReceiver::new(config, self.clock.read(world.now));
        engine.sabotage(sabotage(world));
        self.engine = Some(engine);
        self.wake_at = None;
        world.judge.began(self.id, next, !self.kind.is_udp_only, genuine);
        world.trace.note(world.now, [4, self.id as u64, next.0], || format!("member {} begins at {next}", self.id));
    }

    fn begin_by_heartbeat(&mut self, world: &mut World, arrival: &Arrival, header: &Header, body: &[u8]) {
        if header.packet_type != PacketType::Heartbeat || arrival.via != ArrivalSocket::Group {
            return;
        }
        let Ok(heartbeat) = Heartbeat::decode(body) else { return };
        let is_ours = heartbeat.group == GROUP && heartbeat.log == LOG;
        if is_ours && header.tag == GroupTag::of(GROUP, heartbeat.generation, LOG) {
            self.begin(world, header.seq.next(), header.tag, arrival.genuine);
        }
    }

    fn can_take_input(&self) -> bool {
        let Some(engine) = &self.engine else { return false };
        match self.lanes.inputs.front() {
            None => false,
            Some(Input::Run { .. }) => engine.can_take_run(),
            Some(Input::End(_) | Input::Trimmed(_) | Input::Head(_) | Input::HubHead(_)) => true,
        }
    }

    fn take_inputs(&mut self, world: &mut World) {
        while self.can_take_input() {
            let now = self.clock.read(world.now);
            let (Some(engine), Some(input)) = (&mut self.engine, self.lanes.inputs.pop_front()) else { return };
            match input {
                Input::Run { run, lane, source } => {
                    engine.handle_run(now, &run, lane).expect("the log does not change");
                    self.lanes.taken(self.id, source, world);
                }
                Input::End(end) => engine.handle_history(now, end),
                Input::Trimmed(oldest) => engine.handle_trimmed(now, oldest),
                Input::Head(head) => engine.handle_head(now, head),
                Input::HubHead(head) => engine.handle_hub_head(now, head),
            }
        }
    }

    fn take_events(&mut self, world: &mut World) {
        while self.busy == 0 {
            let Some(event) = self.engine.as_mut().and_then(MemberReceiver::poll_event) else { return };
            match event {
                ReceiverEvent::Message { message, lane } => {
                    world.trace.note(world.now, [5, self.id as u64, message.seq.0], || {
                        format!("member {} has {} by {lane}", self.id, message.seq)
                    });
                    world.judge.delivered_to(self.id, &message);
                }
                ReceiverEvent::Lost(range) => {
                    world.trace.note(world.now, [6, self.id as u64, range.last.0], || {
                        format!("member {} gives {range:?} up", self.id)
                    });
                    world.counts.lost += range.len();
                    world.judge.lost_by(self.id, range, world.disk.oldest());
                }
                ReceiverEvent::NeedHistory(range) => {
                    world.counts.readings += 1;
                    world.trace.note(world.now, [7, self.id as u64, range.first.0], || {
                        format!("member {} reads {range:?}", self.id)
                    });
                    self.lanes.read(self.id, range, world);
                }
                ReceiverEvent::LaneDown { why, .. } => {
                    world.counts.moves += 1;
                    world.trace.note(world.now, [8, self.id as u64, 0], || format!("member {} {why:?}", self.id));
                    if self.kind.policy == LanePolicy::Auto {
                        self.lanes.seek_hub(self.id, world);
                    }
                    self.ask_registry(world);
                }
                ReceiverEvent::LaneUp => {
                    world.trace.note(world.now, [9, self.id as u64, 0], || format!("member {} lane up", self.id));
                    self.lanes.leave_hub();
                }
                ReceiverEvent::Moved { to, generation } => {
                    world.counts.followed += 1;
                    world.trace.note(world.now, [13, self.id as u64, generation.0.into()], || {
                        format!("member {} follows to {to}", self.id)
                    });
                    self.ask_registry(world);
                }
                ReceiverEvent::Stale => self.ask_registry(world),
                ReceiverEvent::Forged(range) => {
                    world.counts.corrected += 1;
                    world.trace.note(world.now, [14, self.id as u64, range.first.0], || {
                        format!("member {} goes back to {}", self.id, range.first)
                    });
                    world.judge.went_back(self.id, range);
                }
                ReceiverEvent::Gap(_) | ReceiverEvent::GapFilled(_) => {}
            }
        }
    }

    /// What a damaged or forged datagram may make it believe: what that claims to be, and with parity whatever shares a
    /// block with it, of which nothing is known but that it is near.
    fn tell_judge(&self, world: &mut World, header: &Header, body: &[u8]) {
        if !matches!(header.packet_type, PacketType::Data | PacketType::Parity) {
            return;
        }
        let skip = if header.has(flags::REPAIR) { 4 } else { 0 };
        let count = Block::parse(body.get(skip..).unwrap_or_default()).map_or(1, |block| block.count());
        let claimed = SeqRange::new(header.seq, header.seq.plus(u64::from(count.max(1)) - 1));
        let next = self.engine.as_ref().map_or(Seq::FIRST, MemberReceiver::next_seq);
        let near = SeqRange::new(next, world.judge.head().max(next).plus(NEAR));
        for range in claimed.into_iter().chain(near) {
            world.judge.misinformed(self.id, range);
        }
    }
}
