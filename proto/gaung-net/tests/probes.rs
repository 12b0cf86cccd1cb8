//! The doctor's probes over the loopback interface.
#![allow(clippy::unwrap_used)]

use std::{
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use gaung_net::{
    SocketError,
    interface::Link,
    probe::{self, echo, echo::EchoResult},
};

const PATIENCE: Duration = Duration::from_secs(20);
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 17, 4);

fn free_port() -> u16 {
    UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn loopback_hears_its_own_multicast_and_broadcast() {
    let group = SocketAddrV4::new(GROUP, free_port());
    let heard = echo::multicast(&Link::loopback(), group, PATIENCE).unwrap();
    assert!(matches!(heard, EchoResult::Heard), "{heard:?}");
    let heard = echo::broadcast(&Link::loopback(), free_port(), PATIENCE).unwrap();
    assert!(matches!(heard, Some(EchoResult::Heard)), "{heard:?}");
}

#[test]
fn a_network_of_one_address_has_no_broadcast() {
    let alone = Link { netmask: Ipv4Addr::BROADCAST, ..Link::loopback() };
    assert!(echo::broadcast(&alone, free_port(), PATIENCE).unwrap().is_none());
}

#[test]
fn a_port_that_is_not_shared_is_named() {
    let taken = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = echo::broadcast(&Link::loopback(), port, PATIENCE).unwrap_err();
    assert!(matches!(error, SocketError::PortInUse(addr) if addr.port() == port), "{error}");
}

#[test]
fn an_interface_that_is_not_there_cannot_join() {
    let gone = Link { index: 0x00ff_ffff, ..Link::loopback() };
    let error = echo::multicast(&gone, SocketAddrV4::new(GROUP, free_port()), PATIENCE).unwrap_err();
    assert!(matches!(error, SocketError::NoDevice { .. }), "{error}");
}

#[test]
fn strangers_to_a_group_are_overheard() {
    let group = SocketAddrV4::new(GROUP, free_port());
    let done = AtomicBool::new(false);
    let mut heard = Vec::new();
    let failed = thread::scope(|scope| {
        scope.spawn(|| speak(group, &done));
        let failed = probe::overhear(&[group], &[Link::loopback()], Duration::from_millis(200), |to, from, bytes| {
            heard.push((to, from.0, bytes.to_vec()));
        });
        done.store(true, Ordering::Relaxed);
        failed
    });
    assert!(failed.is_empty(), "{failed:?}");
    let (to, from, bytes) = heard.first().expect("a stranger that speaks all the time is heard within 200 ms");
    assert_eq!((*to, &bytes[..]), (group, &b"who is there"[..]));
    assert!(from.ip().is_loopback());
}

fn speak(group: SocketAddrV4, done: &AtomicBool) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket2::SockRef::from(&socket).set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    while !done.load(Ordering::Relaxed) {
        socket.send_to(b"who is there", group).unwrap();
        thread::park_timeout(Duration::from_millis(2));
    }
}

#[test]
fn the_way_to_this_machine_is_loopback() {
    let source = probe::source_towards(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9)).unwrap();
    assert_eq!(source, Ipv4Addr::LOCALHOST);
    let buffer = probe::receive_buffer().unwrap();
    assert!(buffer.got_bytes > 0 && buffer.wanted_bytes >= 1 << 20);
}
