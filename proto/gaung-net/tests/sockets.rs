//! Multicast and broadcast over the loopback interface.
#![allow(clippy::unwrap_used)]

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    time::Duration,
};

use gaung_net::{
    SocketError,
    broadcast::{self, BroadcastSender},
    interface::{Link, Role},
    multicast::{DataSocket, GroupSocket},
};

fn free_port() -> u16 {
    UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port()
}

fn receive(socket: &UdpSocket) -> io::Result<Vec<u8>> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut buffer = [0; 2048];
    let (length, _) = socket.recv_from(&mut buffer)?;
    Ok(buffer[..length].to_vec())
}

#[test]
fn broadcast_reaches_every_listener_of_the_port() {
    let port = free_port();
    let listeners = [broadcast::open_listener(port).unwrap(), broadcast::open_listener(port).unwrap()];
    let sender = BroadcastSender::open(&[Link::loopback()], port).unwrap();
    let (link, to) = sender.networks().next().unwrap();
    assert_eq!((link.role, to), (Role::Loopback, SocketAddrV4::new(Ipv4Addr::new(127, 255, 255, 255), port)));
    assert_eq!(sender.send("halo semua".as_bytes(), |link, error| panic!("{link}: {error}")), 1);
    for listener in &listeners {
        assert_eq!(receive(listener).unwrap(), b"halo semua");
    }
}

#[test]
fn links_without_a_broadcast_address_are_left_out() {
    let tunnel = Link { can_broadcast: false, role: Role::Vpn, ..Link::loopback() };
    let sender = BroadcastSender::open(&[tunnel], 9).unwrap();
    assert_eq!((sender.networks().count(), sender.send(b"x", |_, _| ())), (0, 0));
}

#[test]
fn a_taken_data_port_is_an_error_that_names_it() {
    let first = DataSocket::open(&Link::loopback(), 0).unwrap();
    let port = first.local_addr().port();
    let error = DataSocket::open(&Link::loopback(), port).unwrap_err();
    assert!(matches!(error, SocketError::PortInUse(addr) if addr.port() == port));
    assert!(error.to_string().contains(&port.to_string()), "{error}");
}

#[test]
fn an_address_that_is_not_ours_is_an_error() {
    let foreign = Link { ip: Ipv4Addr::new(192, 0, 2, 200), ..Link::loopback() };
    assert!(matches!(DataSocket::open(&foreign, 0), Err(SocketError::NoSuchAddress(_))));
}

#[test]
fn a_group_joins_where_it_can_and_tells_where_not() {
    let gone = Link { name: "eth77".to_owned(), index: 7_777_777, ..Link::loopback() };
    let group = SocketAddrV4::new(Ipv4Addr::new(239, 255, 250, 20), free_port());
    let error = GroupSocket::open(group, std::slice::from_ref(&gone)).unwrap_err();
    assert!(matches!(&error, SocketError::NoDevice { interface, .. } if interface == "eth77"), "{error:?}");
    let socket = GroupSocket::open(group, &[gone.clone(), Link::loopback()]).unwrap();
    assert_eq!(socket.failed().iter().map(|(link, _)| link).collect::<Vec<_>>(), [&gone]);
    assert_eq!(socket.group(), group);
}
