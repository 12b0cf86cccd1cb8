//! A member's receiver under a hostile script: order, bounds, and timers that come to rest.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use gaung_engine::{ArrivalSocket, HistoryEnd, LanePolicy, MemberReceiver, ReceiverConfig, ReceiverEvent};
use gaung_proto::{DeviceId, Generation, GroupTag, SenderId, Seq, datagram::Header, limits::MAX_DATAGRAM, net::Lane};

use super::script::{GROUP, LOG, Script};

/// Transmits of one input that a receiver may keep.
const MAX_TRANSMITS: usize = 64;

/// Reads `input` as settings and steps.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let settings = script.u8();
    let start = Instant::now();
    let mut fuzzed =
        Fuzzed { receiver: MemberReceiver::new(config(settings), start), now: start, next: Seq::FIRST, asked: None };
    while !script.is_over() {
        fuzzed.step(&mut script);
        fuzzed.take_transmits();
        fuzzed.come_to_rest();
    }
    fuzzed.take_events();
}

fn config(settings: u8) -> ReceiverConfig {
    let policies = [LanePolicy::Auto, LanePolicy::MulticastOnly, LanePolicy::TcpOnly];
    ReceiverConfig {
        group: GROUP,
        log: LOG,
        tag: tag(),
        next: Seq::FIRST,
        sender: SenderId([9; 16]),
        device: DeviceId::NONE,
        relay: (settings & 4 == 0).then(|| SocketAddrV4::new(Ipv4Addr::LOCALHOST, 7402)),
        policy: policies[usize::from(settings % 3)],
        history: settings & 8 == 0,
        rng_seed: 1,
    }
}

fn tag() -> GroupTag {
    GroupTag::of(GROUP, Generation(1), LOG)
}

struct Fuzzed {
    receiver: MemberReceiver,
    now: Instant,
    /// The seq that has to be delivered or declared lost next.
    next: Seq,
    asked: Option<Seq>,
}

impl Fuzzed {
    fn step(&mut self, script: &mut Script<'_>) {
        let near = self.receiver.next_seq();
        match script.u8() % 16 {
            0..8 => self.take_datagram(script, near),
            8 => self.now += Duration::from_micros(script.u16().into()),
            9 => self.now += Duration::from_millis(script.u16().into()),
            10 => {
                let base = script.seq(near);
                if (1..u64::MAX / 4).contains(&base.0) && self.receiver.can_take_run() {
                    let lane = if script.u8() & 1 == 0 { Lane::Tcp } else { Lane::History };
                    self.receiver.handle_run(self.now, &script.run(base), lane).expect("the same group and log");
                }
            }
            11 => self.receiver.handle_head(self.now, script.seq(near)),
            12 => {
                if let Some(last) = self.asked.take() {
                    let head = Seq(last.0.saturating_sub(script.u8().into()));
                    let end = if script.u8() == 0 { HistoryEnd::Failed } else { HistoryEnd::Reached { head } };
                    self.receiver.handle_history(self.now, end);
                }
            }
            13 => self.receiver.handle_trimmed(self.now, script.seq(near)),
            _ => self.take_events(),
        }
    }

    fn take_datagram(&mut self, script: &mut Script<'_>, near: Seq) {
        let header = script.header(tag(), near);
        let via = if script.u8() & 1 == 0 { ArrivalSocket::Group } else { ArrivalSocket::Unicast };
        let body = script.body();
        let datagram = header.encode(&body[..body.len().min(1280)]);
        if let Ok((header, body)) = Header::decode(&datagram) {
            let _refused = self.receiver.handle_datagram(self.now, via, &header, body);
        }
    }

    /// Each seq is delivered or told lost, once, in order.
    fn take_events(&mut self) {
        while let Some(event) = self.receiver.poll_event() {
            match event {
                ReceiverEvent::Message { message, .. } => {
                    assert_eq!(message.seq, self.next);
                    self.next = message.seq.next();
                }
                ReceiverEvent::Lost(range) => {
                    assert_eq!(range.first, self.next);
                    self.next = range.last.next();
                }
                ReceiverEvent::Forged(range) => {
                    assert_eq!(range.last.next(), self.next);
                    self.next = range.first;
                }
                ReceiverEvent::NeedHistory(range) => {
                    assert!(self.asked.is_none(), "one reading at a time");
                    self.asked = Some(range.last);
                }
                ReceiverEvent::Gap(_)
                | ReceiverEvent::GapFilled(_)
                | ReceiverEvent::LaneUp
                | ReceiverEvent::LaneDown { .. }
                | ReceiverEvent::Stale
                | ReceiverEvent::Moved { .. } => {}
            }
        }
    }

    fn take_transmits(&mut self) {
        for sent in 0.. {
            let Some(transmit) = self.receiver.poll_transmit() else { return };
            assert!(sent < MAX_TRANSMITS, "one input makes no flood");
            assert!(transmit.payload.len() <= MAX_DATAGRAM);
            Header::decode(&transmit.payload).expect("members send what can be read");
        }
    }

    /// A driver that calls when it is asked to must be asked for a later time soon, or it would spin.
    fn come_to_rest(&mut self) {
        for _ in 0..8 {
            self.receiver.handle_timeout(self.now);
            self.take_transmits();
            if self.receiver.poll_timeout().is_none_or(|due| due > self.now) {
                return;
            }
        }
        panic!("still due now after 8 calls");
    }
}
