//! A datagram to many, and whether it comes back to a listener on the same interface.
//!
//! The kernel loops it back below its filters, as if it had come in by the interface: what eats it here eats those of
//! others too.

use std::{
    io,
    net::{SocketAddrV4, UdpSocket},
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{
    SocketError,
    broadcast::{BroadcastSender, open_listener},
    interface::Link,
    multicast::{DataSocket, GroupSocket},
};

/// What became of the datagram.
#[derive(Debug)]
pub enum EchoResult {
    /// The datagram came back.
    Heard,
    /// It left, and did not come back in time.
    Silent,
    /// It could not be sent; a filter that refuses it says that it is not permitted.
    NotSent(io::Error),
}

/// Joins `group` on `link`, sends one datagram to it through `link` (TTL 1), and waits for it.
///
/// # Errors
/// [`SocketError`], such as when the group cannot be joined.
pub fn multicast(link: &Link, group: SocketAddrV4, wait: Duration) -> Result<EchoResult, SocketError> {
    let listener = GroupSocket::open(group, std::slice::from_ref(link))?;
    let sender = DataSocket::open(link, 0)?;
    let payload = payload();
    Ok(match sender.socket.send_to(&payload, group) {
        Ok(_) => heard(listener.socket(), &payload, wait),
        Err(error) => EchoResult::NotSent(error),
    })
}

/// Sends one datagram to the broadcast address of `link`'s network and waits for it; `None` if the network has none.
///
/// # Errors
/// [`SocketError`], such as when the port belongs to a program that does not share it.
pub fn broadcast(link: &Link, port: u16, wait: Duration) -> Result<Option<EchoResult>, SocketError> {
    let listener = open_listener(port)?;
    let sender = BroadcastSender::open(std::slice::from_ref(link), port)?;
    if sender.networks().next().is_none() {
        return Ok(None);
    }
    let payload = payload();
    let mut refused = None;
    sender.send(&payload, |_, error| refused = Some(error));
    Ok(Some(refused.map_or_else(|| heard(&listener, &payload, wait), EchoResult::NotSent)))
}

/// Begins like nothing that a service or a member takes for its own.
fn payload() -> Vec<u8> {
    [&b"gaung doctor: echo "[..], &rand::random::<[u8; 16]>()].concat()
}

fn heard(socket: &UdpSocket, payload: &[u8], wait: Duration) -> EchoResult {
    let deadline = Instant::now() + wait;
    let mut buffer = [0; 64];
    loop {
        while let Ok((length, _)) = socket.recv_from(&mut buffer) {
            if buffer[..length] == *payload {
                return EchoResult::Heard;
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return EchoResult::Silent;
        }
        let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        // An interrupted or failed wait only means another look.
        let _ = poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], timeout);
    }
}
