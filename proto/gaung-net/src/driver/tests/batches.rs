use std::{collections::BTreeSet, env, process::Command, thread};

use nix::sched::{CloneFlags, unshare};

use super::*;

const ALL: [Batching; 3] = [Batching::Single, Batching::Messages, Batching::Segments];

/// Sends through one driver to another, all commands waiting when the first one is taken.
fn pass(payloads: &[Bytes], sending: (DataSocket, Batching), receiving: (DataSocket, Batching)) -> Passed {
    let to = SocketAddr::V4(receiving.0.local_addr());
    let (receiver, reports) = puppet(DriverSockets::new().data(SocketId(0), receiving.0, BOTH).batching(receiving.1));
    let (sender, _sender_reports) = puppet(DriverSockets::new().data(SocketId(0), sending.0, SEND).batching(sending.1));
    let (go, gate) = mpsc::channel();
    sender.send(Order::Block(gate)).unwrap();
    for payload in payloads {
        sender.send(unicast(to, None, payload.clone())).unwrap();
    }
    go.send(()).unwrap();
    let heard = payloads.iter().map(|_| match reports.recv_timeout(LONG) {
        Ok(Report::Datagram(_, _, bytes)) => Bytes::from(bytes),
        other => panic!("{other:?}"),
    });
    let heard = heard.collect();
    let counters = [sender.counters(), receiver.counters()];
    sender.stop().unwrap();
    receiver.stop().unwrap();
    Passed { heard, sender: Arc::clone(&counters[0]), receiver: Arc::clone(&counters[1]) }
}

struct Passed {
    heard: Vec<Bytes>,
    sender: Arc<Counters>,
    receiver: Arc<Counters>,
}

#[test]
fn what_waits_together_leaves_and_arrives_together() {
    let payloads: Vec<_> = (0..200_u16).map(|number| Bytes::from(number.to_be_bytes().repeat(150))).collect();
    for (sending, receiving) in ALL.iter().flat_map(|&sending| ALL.map(|receiving| (sending, receiving))) {
        let passed = pass(&payloads, (loopback_socket(), sending), (loopback_socket(), receiving));
        assert!(passed.heard == payloads, "{sending:?} to {receiving:?}");
        for (datagrams, bytes) in [
            (passed.sender.sent_datagrams(), passed.sender.sent_bytes()),
            (passed.receiver.received_datagrams(), passed.receiver.received_bytes()),
        ] {
            assert_eq!((datagrams, bytes), (200, 200 * 300));
        }
        // 63 commands after the first one, then 64 at a time.
        let calls = match sending {
            Batching::Single => 200,
            Batching::Messages => 4 + 4 + 4 + 1,
            Batching::Segments => 4,
        };
        assert_eq!(passed.sender.send_calls(), calls, "{sending:?}");
        // Loopback hands over a packet of segments as it is, and joins none.
        if (sending, receiving) == (Batching::Segments, Batching::Segments) {
            assert!(passed.receiver.receive_calls() <= calls);
        }
    }
}

#[test]
fn a_full_socket_is_waited_for_and_nothing_is_lost() {
    // Only behind a slow interface a UDP socket fills: one of the test's own.
    let slow_loopback = || -> Result<(), String> {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| errno.to_string())?;
        run("ip", "link set lo up")?;
        run("tc", "qdisc add dev lo root tbf rate 20mbit burst 16kb latency 10s")
    };
    let tested = thread::spawn(move || {
        slow_loopback()?;
        let sizes = [1392, 1392, 1392, 300, 40, 1000, 1392, 700];
        let payloads: Vec<_> =
            (0..160_usize).map(|number| Bytes::from(vec![number as u8; sizes[number % 8]])).collect();
        for sending in ALL {
            let socket = loopback_socket();
            setsockopt(&socket.socket, sockopt::SndBuf, &1).unwrap();
            let passed = pass(&payloads, (socket, sending), (loopback_socket(), Batching::Segments));
            assert!(passed.heard == payloads, "{sending:?}");
            assert!(passed.sender.sends_blocked() > 0, "{sending:?} never found the socket full");
        }
        Ok::<_, String>(())
    });
    if let Err(why) = tested.join().unwrap() {
        assert!(env::var_os("CI").is_none(), "{why}");
        eprintln!("SKIPPED a_full_socket_is_waited_for_and_nothing_is_lost: it needs root, `ip` and `tc`: {why}");
    }
}

fn run(program: &str, args: &str) -> Result<(), String> {
    let output = Command::new(program).args(args.split(' ')).output().map_err(|error| format!("{program}: {error}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{program} {args}: {error}")) }
}

#[test]
fn several_interfaces_each_get_the_whole_batch() {
    let group = some_group(7);
    let members = [1, 2].map(|_| GroupSocket::open(group, &[Link::loopback()]).unwrap());
    let own = [loopback_socket(), loopback_socket()];
    let from: BTreeSet<_> = own.iter().map(|socket| socket.local_addr()).collect();
    let [first, second] = own;
    let sockets = DriverSockets::new().data(SocketId(0), first, SEND).data(SocketId(1), second, SEND);
    let (sender, _) = puppet(sockets);
    let (go, gate) = mpsc::channel();
    sender.send(Order::Block(gate)).unwrap();
    let names = ["aaa", "bbb", "cc", "ddd"];
    names.into_iter().for_each(|name| sender.send(multicast(group, 1, name)).unwrap());
    go.send(()).unwrap();
    for member in members {
        let (_member, reports) = puppet(DriverSockets::new().group(SocketId(1), member));
        let mut heard: Vec<_> = (0..8)
            .map(|_| match reports.recv_timeout(LONG) {
                Ok(Report::Datagram(_, from, bytes)) => (from.0, String::from_utf8(bytes).unwrap()),
                other => panic!("{other:?}"),
            })
            .collect();
        // Each interface's own order is all that is promised.
        heard.sort_by_key(|(from, _)| *from);
        let expected: Vec<_> = from.iter().flat_map(|&from| names.map(|name| (from, name.to_owned()))).collect();
        assert_eq!(heard, expected);
    }
    assert_eq!((sender.counters().sent_datagrams(), sender.counters().send_calls()), (8, 4));
}
