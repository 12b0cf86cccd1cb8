//! Listening to groups without being a member of any conversation.

use std::{
    net::{SocketAddr, SocketAddrV4},
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{SenderAddr, SocketError, interface::Link, multicast::GroupSocket};

/// Datagrams read from one socket before the others have their turn.
const AT_ONCE: usize = 64;

/// Hears each of `groups` on all of `links` for `time` and shows every datagram: group, sender, content.
///
/// Groups that cannot be joined are passed over and given back with the reason.
pub fn overhear(
    groups: &[SocketAddrV4],
    links: &[Link],
    time: Duration,
    mut show: impl FnMut(SocketAddrV4, SenderAddr, &[u8]),
) -> Vec<(SocketAddrV4, SocketError)> {
    let mut failed = Vec::new();
    let mut sockets = Vec::new();
    for &group in groups {
        match GroupSocket::open(group, links) {
            Ok(socket) => sockets.push(socket),
            Err(error) => failed.push((group, error)),
        }
    }
    let deadline = Instant::now() + time;
    let mut buffer = vec![0; 1 << 16];
    loop {
        for (group, socket) in sockets.iter().flat_map(|group| group.sockets().map(|socket| (group.group(), socket))) {
            for _ in 0..AT_ONCE {
                let Ok((length, SocketAddr::V4(from))) = socket.recv_from(&mut buffer) else { break };
                show(group, SenderAddr(from), &buffer[..length]);
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return failed;
        }
        let all = sockets.iter().flat_map(GroupSocket::sockets);
        let mut waiting: Vec<_> = all.map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
        let _ = poll(&mut waiting, PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX));
    }
}
