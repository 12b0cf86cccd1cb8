//! Both directions over loopback.
#![allow(clippy::unwrap_used)]

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use super::*;
use crate::{
    driver::batch::{BatchSender, OutgoingDatagram},
    interface::Link,
    multicast::DataSocket,
};

const ALL: [Batching; 3] = [Batching::Single, Batching::Messages, Batching::Segments];
const LONG: Duration = Duration::from_secs(20);

fn socket() -> UdpSocket {
    Arc::into_inner(DataSocket::open(&Link::loopback(), 0).unwrap().socket).unwrap()
}

fn address(socket: &UdpSocket) -> SocketAddrV4 {
    let SocketAddr::V4(addr) = socket.local_addr().unwrap() else { panic!("IPv4 only") };
    addr
}

/// Reads `count` datagrams; returns them and the number of calls that it took.
fn read(
    socket: &UdpSocket,
    receiver: &mut BatchReceiver,
    budget: usize,
    count: usize,
) -> (Vec<(SenderAddr, Vec<u8>)>, usize) {
    use std::os::fd::AsFd as _;
    let (mut received, mut all, mut calls, until) = (ReceivedBatch::new(), Vec::new(), 0, Instant::now() + LONG);
    while all.len() < count {
        assert!(Instant::now() < until, "{} of {count}", all.len());
        match receiver.receive(socket, budget, &mut received) {
            Ok(_) => {
                all.extend(received.datagrams().map(|(from, bytes)| (from, bytes.to_vec())));
                calls += 1;
            }
            Err(Errno::EAGAIN) => {
                poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], PollTimeout::from(100_u8)).unwrap();
            }
            Err(errno) => panic!("{errno}"),
        }
    }
    assert_eq!(receiver.receive(socket, budget, &mut received), Err(Errno::EAGAIN));
    (all, calls)
}

/// Sends all, and returns the number of calls that it took.
fn send(socket: &UdpSocket, sender: &mut BatchSender, mut datagrams: &[OutgoingDatagram]) -> usize {
    let mut calls = 0;
    while !datagrams.is_empty() {
        datagrams = &datagrams[sender.send(socket, datagrams).unwrap()..];
        calls += 1;
    }
    calls
}

#[test]
fn whatever_the_batches_all_arrive_in_order() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    for (sending, receiving) in ALL.iter().flat_map(|&sending| ALL.map(|receiving| (sending, receiving))) {
        let (from, to) = (socket(), [socket(), socket()]);
        let mut receivers = [0, 1].map(|at| BatchReceiver::new(&to[at], receiving));
        let datagrams: Vec<_> =
            (0..200_u32).map(|number| some_datagram(&mut rng, number, [0, 1].map(|at| address(&to[at])))).collect();
        send(&from, &mut BatchSender::new(&from, sending), &datagrams);
        for (socket, receiver) in to.iter().zip(&mut receivers) {
            let sent: Vec<_> = datagrams.iter().filter(|datagram| datagram.to == address(socket)).collect();
            let (heard, _) = read(socket, receiver, 64, sent.len());
            let sender = SenderAddr(address(&from));
            let expected: Vec<_> = sent.iter().map(|datagram| (sender, datagram.payload.to_vec())).collect();
            assert!(heard == expected, "{sending:?} to {receiving:?}");
        }
    }
}

/// Mostly of few lengths and in stretches to one destination, as the protocol's are.
fn some_datagram(rng: &mut SmallRng, number: u32, to: [SocketAddrV4; 2]) -> OutgoingDatagram {
    let length = match rng.random_range(0..8) {
        0 => 0,
        1 => rng.random_range(4..1392),
        2 | 3 => 100,
        _ => 1392,
    };
    let mut payload = vec![number as u8; length];
    if length >= 4 {
        payload[..4].copy_from_slice(&number.to_be_bytes());
    }
    let to = to[usize::from(number / 20 % 2 == 1 || rng.random_bool(0.05))];
    OutgoingDatagram { payload: payload.into(), to, ttl: None }
}

#[test]
fn equal_datagrams_take_one_call_each_way() {
    let (from, to) = (socket(), socket());
    let mut receiver = BatchReceiver::new(&to, Batching::Segments);
    let datagrams = vec![OutgoingDatagram { payload: vec![1; 900].into(), to: address(&to), ttl: None }; 60];
    assert_eq!(send(&from, &mut BatchSender::new(&from, Batching::Segments), &datagrams), 1);
    let (heard, calls) = read(&to, &mut receiver, 64, 60);
    assert!(heard.iter().all(|(_, bytes)| bytes.len() == 900) && calls == 1, "{calls} calls");
    assert_eq!(send(&from, &mut BatchSender::new(&from, Batching::Messages), &datagrams), 4);
    assert_eq!(send(&from, &mut BatchSender::new(&from, Batching::Single), &datagrams), 60);
}

#[test]
fn joined_datagrams_are_asked_for_by_the_packet() {
    let (from, to) = (socket(), socket());
    let mut receiver = BatchReceiver::new(&to, Batching::Segments);
    let datagrams = vec![OutgoingDatagram { payload: vec![1; 1000].into(), to: address(&to), ttl: None }; 3 * 64];
    let mut received = ReceivedBatch::new();
    // The first time it is not known that packets are so full.
    for calls in [&[192][..], &[64, 64, 64]] {
        send(&from, &mut BatchSender::new(&from, Batching::Segments), &datagrams);
        for count in calls {
            receiver.receive(&to, 64, &mut received).unwrap();
            assert_eq!(received.datagrams().count(), *count);
        }
    }
}

#[test]
fn several_senders_stay_apart() {
    let (first, second, to) = (socket(), socket(), socket());
    let mut receiver = BatchReceiver::new(&to, Batching::Segments);
    let datagrams =
        |fill: u8| vec![OutgoingDatagram { payload: vec![fill; 300].into(), to: address(&to), ttl: None }; 3];
    for _ in 0..2 {
        send(&first, &mut BatchSender::new(&first, Batching::Segments), &datagrams(1));
        send(&second, &mut BatchSender::new(&second, Batching::Segments), &datagrams(2));
    }
    let (heard, _) = read(&to, &mut receiver, 64, 12);
    let fills: Vec<_> = heard.iter().map(|(from, bytes)| (*from, bytes[0])).collect();
    let (first, second) = ((SenderAddr(address(&first)), 1), (SenderAddr(address(&second)), 2));
    assert_eq!(fills, [[first; 3], [second; 3], [first; 3], [second; 3]].concat());
}

#[test]
fn long_datagrams_are_cut() {
    for receiving in ALL {
        let (from, to) = (socket(), socket());
        let mut receiver = BatchReceiver::new(&to, receiving);
        let datagrams = [60_000, 3000, 3000, 3000, 10].map(|length| OutgoingDatagram {
            payload: vec![1; length].into(),
            to: address(&to),
            ttl: None,
        });
        send(&from, &mut BatchSender::new(&from, Batching::Segments), &datagrams);
        let (heard, _) = read(&to, &mut receiver, 64, 5);
        let lengths: Vec<_> = heard.iter().map(|(_, bytes)| bytes.len()).collect();
        assert_eq!(lengths, [RECEIVE_BYTES, RECEIVE_BYTES, RECEIVE_BYTES, RECEIVE_BYTES, 10]);
    }
}

#[test]
fn a_segment_longer_than_the_path_fails_alone() {
    let from = socket();
    // Loopback's MTU is 65536: what UDP itself cannot carry is too long there.
    let too_long =
        OutgoingDatagram { payload: vec![1; 65_520].into(), to: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9), ttl: None };
    for sending in ALL {
        let mut sender = BatchSender::new(&from, sending);
        let datagrams = [too_long.clone(), OutgoingDatagram { payload: vec![2; 9].into(), ..too_long.clone() }];
        assert_eq!(sender.send(&from, &datagrams), Err(Errno::EMSGSIZE));
        assert_eq!(sender.send(&from, &datagrams[1..]), Ok(1));
    }
}
