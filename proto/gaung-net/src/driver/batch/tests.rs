#![allow(clippy::unwrap_used)]

use std::{cell::RefCell, net::Ipv4Addr};

use super::*;

fn datagram(port: u16, length: usize) -> OutgoingDatagram {
    OutgoingDatagram { payload: vec![7; length].into(), to: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port), ttl: None }
}

fn lengths(lengths: &[usize]) -> Vec<OutgoingDatagram> {
    lengths.iter().map(|&length| datagram(1, length)).collect()
}

#[test]
fn segments_are_of_one_length_and_the_last_may_fall_short() {
    assert_eq!(segments(&[]), 0);
    for (given, expected) in [
        (&[5][..], 1),
        (&[5, 5, 5], 3),
        (&[5, 5, 3], 3),
        (&[5, 5, 3, 5], 3),
        (&[5, 3, 3], 2),
        (&[3, 5], 1),
        (&[5, 0], 1),
        (&[0, 0], 1),
        (&[1392; 80], 47),
        (&[100; 80], 64),
        (&[40_000, 25_507, 1], 2),
        (&[40_000, 25_508], 1),
    ] {
        assert_eq!(segments(&lengths(given)), expected, "{given:?}");
    }
}

#[test]
fn segments_share_destination_and_time_to_live() {
    let far = |mut datagram: OutgoingDatagram| {
        datagram.ttl = Some(16);
        datagram
    };
    assert_eq!(segments(&[datagram(1, 5), datagram(2, 5)]), 1);
    assert_eq!(segments(&[datagram(1, 5), far(datagram(1, 5))]), 1);
    assert_eq!(segments(&[far(datagram(1, 5)), far(datagram(1, 5)), datagram(1, 5)]), 2);
}

/// Sends nothing and notes what it was asked to.
#[derive(Debug, Default)]
struct Fake {
    /// What the system says to each way of sending.
    segments: Option<Errno>,
    messages: Option<Errno>,
    one: Option<Errno>,
    calls: RefCell<Vec<(&'static str, usize)>>,
}

impl Fake {
    fn call(&self, way: &'static str, datagrams: usize, answer: Option<Errno>) -> Result<usize, Errno> {
        self.calls.borrow_mut().push((way, datagrams));
        answer.map_or(Ok(datagrams), Err)
    }
}

impl BatchSocket for Fake {
    fn knows_segments(&self) -> Result<(), Errno> {
        self.segments.filter(|&errno| errno == Errno::ENOPROTOOPT).map_or(Ok(()), Err)
    }

    fn send_one(&self, _datagram: &OutgoingDatagram) -> Result<usize, Errno> {
        self.call("one", 1, self.one)
    }

    fn send_messages(&self, datagrams: &[OutgoingDatagram]) -> Result<usize, Errno> {
        self.call("messages", datagrams.len(), self.messages)
    }

    fn send_segments(&self, datagrams: &[OutgoingDatagram]) -> Result<usize, Errno> {
        self.call("segments", datagrams.len(), self.segments)
    }
}

/// Sends all; returns the calls, and how many datagrams failed.
fn send_all(
    socket: &Fake,
    sender: &mut BatchSender,
    datagrams: &[OutgoingDatagram],
) -> (Vec<(&'static str, usize)>, usize) {
    let (mut at, mut failed) = (0, 0);
    while at < datagrams.len() {
        match sender.send(socket, &datagrams[at..]) {
            Ok(sent) => at += sent,
            Err(_) => (at, failed) = (at + 1, failed + 1),
        }
    }
    (socket.calls.take(), failed)
}

#[test]
fn equal_lengths_go_as_segments_and_the_others_as_messages() {
    let socket = Fake::default();
    let given = lengths(&[9, 9, 9, 4, 1, 2, 3, 8, 8]);
    let calls = |batching| send_all(&socket, &mut BatchSender::new(&socket, batching), &given).0;
    assert_eq!(calls(Batching::Segments), [("segments", 4), ("messages", 3), ("segments", 2)]);
    assert_eq!(calls(Batching::Messages), [("messages", 9)]);
    assert_eq!(calls(Batching::Single), [("one", 1); 9]);
}

#[test]
fn one_alone_goes_by_itself() {
    let socket = Fake::default();
    let mut sender = BatchSender::new(&socket, Batching::Segments);
    assert_eq!(send_all(&socket, &mut sender, &lengths(&[9])).0, [("one", 1)]);
}

#[test]
fn what_the_system_refuses_is_asked_for_once() {
    let given = lengths(&[9, 9, 9, 9]);
    for errno in [Errno::EINVAL, Errno::EIO, Errno::EMSGSIZE, Errno::EOPNOTSUPP] {
        let socket = Fake { segments: Some(errno), ..Fake::default() };
        let mut sender = BatchSender::new(&socket, Batching::Segments);
        assert_eq!(send_all(&socket, &mut sender, &given).0, [("segments", 4), ("one", 1), ("messages", 3)]);
        assert_eq!(send_all(&socket, &mut sender, &given), (vec![("messages", 4)], 0), "{errno}");
    }
    let socket = Fake { segments: Some(Errno::EIO), messages: Some(Errno::ENOSYS), ..Fake::default() };
    let mut sender = BatchSender::new(&socket, Batching::Segments);
    let calls = [("segments", 4), ("one", 1), ("messages", 3), ("one", 1), ("one", 1), ("one", 1)];
    assert_eq!(send_all(&socket, &mut sender, &given), (calls.to_vec(), 0));
    assert_eq!(send_all(&socket, &mut sender, &given), (vec![("one", 1); 4], 0));
}

#[test]
fn a_kernel_without_segments_gets_none() {
    let socket = Fake { segments: Some(Errno::ENOPROTOOPT), ..Fake::default() };
    let mut sender = BatchSender::new(&socket, Batching::Segments);
    assert_eq!(send_all(&socket, &mut sender, &lengths(&[9, 9])).0, [("messages", 2)]);
}

#[test]
fn datagrams_at_fault_change_nothing_for_the_next() {
    for errno in [Errno::EMSGSIZE, Errno::ENETUNREACH, Errno::EPERM] {
        let socket = Fake { segments: Some(errno), messages: Some(errno), one: Some(errno), ..Fake::default() };
        let mut sender = BatchSender::new(&socket, Batching::Segments);
        assert_eq!(send_all(&socket, &mut sender, &lengths(&[9, 9, 1, 2])).1, 4);
        assert_eq!(sender.batching, Batching::Segments, "{errno}");
    }
}

#[test]
fn a_full_socket_is_no_refusal() {
    let socket = Fake { segments: Some(Errno::EAGAIN), ..Fake::default() };
    let mut sender = BatchSender::new(&socket, Batching::Segments);
    assert_eq!(sender.send(&socket, &lengths(&[9, 9])), Err(Errno::EAGAIN));
    assert_eq!((sender.batching, socket.calls.take()), (Batching::Segments, vec![("segments", 2)]));
}

#[test]
fn an_unlike_time_to_live_goes_alone() {
    let socket = Fake::default();
    let mut given = lengths(&[1, 2, 3, 4]);
    given[2].ttl = Some(16);
    let mut sender = BatchSender::new(&socket, Batching::Messages);
    assert_eq!(send_all(&socket, &mut sender, &given).0, [("messages", 2), ("one", 1), ("one", 1)]);
}
