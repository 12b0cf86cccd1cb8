//! What repair by parity costs: a relay answers NAKs for a block, a member recovers one, and a member works through
//! thousands of gaps; the first two as a ratio to a plain copy of the block's datagrams.
#![allow(clippy::disallowed_methods, reason = "a bench measures time")]

mod fixture;

use std::{
    hint::black_box,
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use gaung_engine::{ArrivalSocket, LanePolicy, MemberReceiver, ReceiverConfig, RelaySender};
use gaung_proto::{
    DeviceId, Epoch, Pkt, SenderId, Seq,
    body::{Cookie, Heartbeat, Nak, NakRange},
    datagram::{Fragment, Header, PacketType},
};

use fixture::{GROUP, LOG, median, runs_of, sender_config};

/// Datagrams of a block.
const BLOCK: usize = 64;
/// Those that one member lost: a fifth.
const LOST: usize = 13;

fn main() {
    let began = Instant::now();
    let (sender, data) = one_block(began);
    let (shards, first) = answer(sender, began);
    println!("first answer, tables made: {first:>10.1?}");
    let copy = median(|| copy(&data));
    let encode = median(|| {
        let (sender, _) = one_block(began);
        answer(sender, began).1
    });
    let recover = median(|| recover(&data, &shards));
    for (name, took) in [("relay, 64 datagrams to 64 shards", encode), ("member, 13 of 64 recovered", recover)] {
        println!("{name:<34} {took:>10.1?} {:>8.1} × a copy", took.as_secs_f64() / copy.as_secs_f64());
    }
    for gaps in [100, 1000, 4000] {
        println!("NAK work, {gaps:>5} gaps {:>26.1?}", median(|| work(gaps)));
    }
}

/// A relay that has just sent its first block, and the datagrams.
fn one_block(now: Instant) -> (RelaySender, Vec<Bytes>) {
    let mut sender = RelaySender::new(sender_config(), now);
    let mut data = Vec::new();
    for run in runs_of(1200).iter().take(2) {
        sender.handle_run(now, run);
        sender.flush(now);
        data.extend(std::iter::from_fn(|| sender.poll_transmit()).map(|transmit| transmit.payload));
    }
    data.truncate(BLOCK);
    (sender, data)
}

/// Two members miss `LOST` datagrams each, not the same ones; gives the shards and how long making them took.
fn answer(mut sender: RelaySender, now: Instant) -> (Vec<Bytes>, Duration) {
    for member in 0..2_u8 {
        let seqs = (0..LOST as u64).map(|at| Seq(1 + at * 4 + u64::from(member)));
        let ranges = seqs.map(|seq| NakRange::messages(seq, seq)).collect();
        let mut body = BytesMut::new();
        Nak { sender: SenderId([member; 16]), cookie: Cookie(0), ranges }.write(&mut body);
        let from = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1000 + u16::from(member));
        let header = header(&sender, PacketType::Nak, Seq::ZERO);
        sender.handle_datagram(now, from, None, &header, &body).expect("just encoded");
    }
    let due = now + Duration::from_millis(6);
    let began = Instant::now();
    sender.handle_timeout(due);
    let took = began.elapsed();
    let sent = std::iter::from_fn(|| sender.poll_transmit()).map(|transmit| transmit.payload);
    let is_parity =
        |sent: &Bytes| Header::decode(sent).is_ok_and(|(header, _)| header.packet_type == PacketType::Parity);
    let shards: Vec<_> = sent.filter(is_parity).collect();
    assert!(shards.len() >= LOST, "{} shards", shards.len());
    (shards, took)
}

fn recover(data: &[Bytes], shards: &[Bytes]) -> Duration {
    let mut receiver = receiver();
    let lost = |at: usize| at.is_multiple_of(4) && at < LOST * 4;
    data.iter().enumerate().filter(|(at, _)| !lost(*at)).for_each(|(_, datagram)| take(&mut receiver, datagram));
    let began = Instant::now();
    shards.iter().take(LOST).for_each(|shard| take(&mut receiver, shard));
    let took = began.elapsed();
    assert_eq!(receiver.stats().recovered, LOST as u64);
    took
}

/// Every second datagram of many is missing, and all of it is due.
fn work(gaps: usize) -> Duration {
    let now = Instant::now();
    let mut sender = RelaySender::new(sender_config(), now);
    let mut receiver = receiver();
    let mut count = 0;
    for run in runs_of(1200) {
        sender.handle_run(now, &run);
        while let Some(transmit) = sender.poll_transmit() {
            count += 1;
            if count % 2 == 0 && count <= gaps * 2 {
                take(&mut receiver, &transmit.payload);
            }
        }
        if count > gaps * 2 {
            break;
        }
    }
    let began = Instant::now();
    receiver.handle_timeout(now + Duration::from_millis(100));
    let took = began.elapsed();
    black_box(receiver.poll_transmit());
    took
}

fn copy(data: &[Bytes]) -> Duration {
    let began = Instant::now();
    data.iter().for_each(|datagram| drop(black_box(Bytes::copy_from_slice(datagram))));
    began.elapsed()
}

fn take(receiver: &mut MemberReceiver, datagram: &Bytes) {
    let (header, body) = Header::decode(datagram).expect("the sender's own");
    receiver.handle_datagram(Instant::now(), ArrivalSocket::Group, &header, body).expect("the sender's own");
}

/// One that has heard of the epoch.
fn receiver() -> MemberReceiver {
    let now = Instant::now();
    let (sender, _) = one_block(now);
    let config = ReceiverConfig {
        group: GROUP,
        log: LOG,
        tag: sender.tag(),
        next: Seq::FIRST,
        sender: SenderId([9; 16]),
        device: DeviceId::NONE,
        relay: Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 7402)),
        policy: LanePolicy::MulticastOnly,
        history: true,
        rng_seed: 1,
    };
    let mut receiver = MemberReceiver::new(config, now);
    let mut body = BytesMut::new();
    let heartbeat = Heartbeat {
        group: GROUP,
        log: LOG,
        oldest_repairable: Seq::FIRST,
        oldest_logged: Seq::FIRST,
        epoch_start: Seq::FIRST,
        last_pkt: Pkt(0),
        grtt_us: 300,
        group_size: 4,
        generation: sender_config().generation,
    };
    heartbeat.write(&mut body);
    let header = header(&sender, PacketType::Heartbeat, Seq::ZERO);
    receiver.handle_datagram(now, ArrivalSocket::Group, &header, &body).expect("just encoded");
    receiver
}

fn header(sender: &RelaySender, packet_type: PacketType, seq: Seq) -> Header {
    Header {
        packet_type,
        flags: 0,
        tag: sender.tag(),
        epoch: Epoch(2),
        pkt: Pkt::FIRST_OTHER,
        seq,
        fragment: Fragment::WHOLE,
        ts_us: 0,
    }
}
