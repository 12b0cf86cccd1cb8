//! How fast a member's receiver delivers datagrams, in order and with some late, as a ratio to a plain copy of them.
#![allow(clippy::disallowed_methods, reason = "a bench measures time")]

mod fixture;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_engine::{ArrivalSocket, LanePolicy, MemberReceiver, ReceiverConfig, ReceiverEvent, RelaySender};
use gaung_proto::{
    DeviceId, GroupTag, SenderId, Seq,
    datagram::{Header, PacketType},
};

use fixture::{GROUP, LOG, median, runs_of, sender_config};

/// Every 20th datagram comes after the 8 that follow it.
const LATE_EVERY: usize = 20;
const LATE_BY: usize = 8;

fn main() {
    println!("{:>8} {:>8} {:>14} {:>14} {:>9}", "payload", "order", "messages/s", "datagrams/s", "× a copy");
    for payload_bytes in [32, 128, 1024] {
        let (tag, in_order) = datagrams(payload_bytes);
        for (order, datagrams) in [("sent", in_order.clone()), ("late", with_late_ones(&in_order))] {
            let mut messages = 0;
            let take = median(|| take(tag, &datagrams, &mut messages));
            let copy = median(|| copy(&datagrams));
            println!(
                "{payload_bytes:>8} {order:>8} {:>14.0} {:>14.0} {:>9.1}",
                messages as f64 / take.as_secs_f64(),
                datagrams.len() as f64 / take.as_secs_f64(),
                take.as_secs_f64() / copy.as_secs_f64(),
            );
        }
    }
}

/// What a member does with each datagram, sockets apart. The clock stands still: no wait ends, so nothing is asked for.
fn take(tag: GroupTag, datagrams: &[Bytes], messages: &mut u64) -> Duration {
    let began = Instant::now();
    let mut receiver = MemberReceiver::new(receiver_config(tag), began);
    *messages = 0;
    for datagram in datagrams {
        let (header, body) = Header::decode(datagram).expect("the sender's own");
        receiver.handle_datagram(began, ArrivalSocket::Group, &header, body).expect("the sender's own");
        while let Some(event) = receiver.poll_event() {
            *messages += u64::from(matches!(event, ReceiverEvent::Message { .. }));
            black_box(&event);
        }
        while let Some(transmit) = receiver.poll_transmit() {
            black_box(&transmit);
        }
    }
    let took = began.elapsed();
    assert_eq!(receiver.next_seq(), Seq(*messages + 1), "all were delivered");
    took
}

fn copy(datagrams: &[Bytes]) -> Duration {
    let began = Instant::now();
    for datagram in datagrams {
        black_box(Bytes::copy_from_slice(datagram));
    }
    began.elapsed()
}

fn datagrams(payload_bytes: usize) -> (GroupTag, Vec<Bytes>) {
    let mut now = Instant::now();
    let mut sender = RelaySender::new(sender_config(), now);
    let mut datagrams = Vec::new();
    for run in runs_of(payload_bytes) {
        now += Duration::from_micros(100);
        sender.handle_run(now, &run);
        sender.flush(now);
        let sent = std::iter::from_fn(|| sender.poll_transmit()).map(|transmit| transmit.payload);
        datagrams.extend(sent.filter(|datagram| {
            Header::decode(datagram).is_ok_and(|(header, _)| header.packet_type == PacketType::Data)
        }));
    }
    (sender.tag(), datagrams)
}

fn with_late_ones(in_order: &[Bytes]) -> Vec<Bytes> {
    let mut late = in_order.to_vec();
    for window in late.chunks_exact_mut(LATE_EVERY) {
        window[..=LATE_BY].rotate_left(1);
    }
    late
}

fn receiver_config(tag: GroupTag) -> ReceiverConfig {
    ReceiverConfig {
        group: GROUP,
        log: LOG,
        tag,
        next: Seq::FIRST,
        sender: SenderId([9; 16]),
        device: DeviceId::NONE,
        relay: None,
        policy: LanePolicy::MulticastOnly,
        history: true,
        rng_seed: 1,
    }
}
