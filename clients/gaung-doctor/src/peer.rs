//! The test between the doctors of two machines, each way, by unicast, multicast and broadcast.
//!
//! One waits, the other connects to it over TCP. They exchange JSON lines ([`talk`]): the caller's `hello` names the group,
//! then each sends its bursts ([`burst`]) while the other counts, first the caller. The receiver reports that it listens
//! before the burst, and what it received after it. The peer is not trusted further: a line is short, a burst is fixed,
//! and there is one test at a time.

mod burst;
mod session;
mod talk;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _},
    os::fd::AsFd as _,
    time::Duration,
};

use anyhow::Context as _;
use gaung_net::interface::{Link, choose, interfaces};
use nix::poll::{PollFd, PollFlags, poll};

use self::session::{Side, Sockets};
use super::facts::PeerFacts;
use crate::say;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Time between two checks of whether the person has stopped it, in ms.
const LOOK_MS: u8 = 100;

/// Tests with the doctor that waits on `host`.
pub(super) fn call(host: &str, port: u16) -> PeerFacts {
    let tested = connect(host, port).and_then(|stream| test(stream, Side::Caller));
    tested.unwrap_or_else(|error| PeerFacts::unreached(host, &error))
}

/// Waits for the first doctor that connects, and tests with it; `None` if the person stopped it.
///
/// # Errors
/// If the port cannot be bound.
pub(super) fn wait(port: u16, stopped: &dyn Fn() -> bool) -> anyhow::Result<Option<PeerFacts>> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        .with_context(|| format!("cannot wait for a peer on TCP port {port}; choose another with --peer-port"))?;
    say(&format!("waiting for a peer; on the other machine: gaung doctor --peer THIS-HOST (TCP {port})"));
    let Some((stream, from)) = accept(&listener, stopped)? else { return Ok(None) };
    let tested = test(stream, Side::Called);
    Ok(Some(tested.unwrap_or_else(|error| PeerFacts::unreached(&from.ip().to_string(), &error))))
}

fn accept(listener: &TcpListener, stopped: &dyn Fn() -> bool) -> io::Result<Option<(TcpStream, SocketAddr)>> {
    listener.set_nonblocking(true)?;
    while !stopped() {
        match listener.accept() {
            Ok((stream, from)) => {
                stream.set_nonblocking(false)?;
                return Ok(Some((stream, from)));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let _ = poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], LOOK_MS);
            }
            // The caller was gone again before it was accepted.
            Err(_) => {}
        }
    }
    Ok(None)
}

fn connect(host: &str, port: u16) -> anyhow::Result<TcpStream> {
    let addresses = (host, port).to_socket_addrs().with_context(|| format!("{host} is not known"))?;
    let address = addresses.into_iter().find(SocketAddr::is_ipv4).context("it has no IPv4 address")?;
    TcpStream::connect_timeout(&address, CONNECT).with_context(|| format!("no doctor waits at {address}"))
}

fn test(stream: TcpStream, side: Side) -> anyhow::Result<PeerFacts> {
    let (own, peer) = (ipv4(stream.local_addr()?)?, ipv4(stream.peer_addr()?)?);
    let link = link_with(own)?;
    session::run(stream, side, &Sockets::of_gaung(link), peer)
}

fn ipv4(address: SocketAddr) -> anyhow::Result<Ipv4Addr> {
    match address.ip() {
        IpAddr::V4(ip) => Ok(ip),
        IpAddr::V6(ip) => anyhow::bail!("{ip} is IPv6; name the peer by its IPv4 address"),
    }
}

fn link_with(own: Ipv4Addr) -> anyhow::Result<Link> {
    let mut links = choose(&interfaces()?, Some(&own.to_string()))?.links;
    links.pop().context("an interface with the connection's address")
}
