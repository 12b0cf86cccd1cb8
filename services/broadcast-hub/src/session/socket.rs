//! Reads from and writes to a session's socket, a bounded number of bytes at a time.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice},
    net::Shutdown,
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use rustix::net::RecvFlags;
use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream, time::timeout};

/// Most slices of one write: [`gaung_engine::FanoutLimits::write_slices`], and a WebSocket's header.
const SLICES: usize = 65;
/// How long a closed session's peer may go on sending. A reset would discard what was written to it last.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// Reads once.
///
/// A short read has emptied the socket. The runtime is told so at once, because epoll reports only changes; else another read
/// would have to find that out.
pub(super) fn read(stream: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
    let mut short = None;
    let full = stream.try_io(Interest::READABLE, || {
        let (n, _) = rustix::net::recv(stream, &mut *room, RecvFlags::empty())?;
        if n == 0 || n == room.len() {
            return Ok(n);
        }
        short = Some(n);
        Err(ErrorKind::WouldBlock.into())
    });
    short.map_or(full, Ok)
}

/// Writes slices in one call, as much of them as the socket has room for.
pub(super) fn write<'a>(stream: &TcpStream, mut slices: impl Iterator<Item = &'a [u8]>) -> io::Result<usize> {
    let (first, second) = (slices.next().unwrap_or_default(), slices.next());
    // A plain send takes the system a twentieth less time than a vectored one.
    let Some(second) = second else { return stream.try_write(first) };
    let mut vector: [IoSlice<'_>; SLICES] = std::array::from_fn(|_| IoSlice::new(&[]));
    let mut used = 0;
    for (slot, bytes) in vector.iter_mut().zip([first, second].into_iter().chain(slices)) {
        *slot = IoSlice::new(bytes);
        used += 1;
    }
    stream.try_write_vectored(&vector[..used])
}

/// Writes and removes unsent bytes until none are left; fails with [`ErrorKind::WouldBlock`] when the socket is full.
pub(super) fn flush(stream: &TcpStream, unsent: &mut VecDeque<Bytes>) -> io::Result<()> {
    while !unsent.is_empty() {
        let written = write(stream, unsent.iter().map(|bytes| &bytes[..]))?;
        drop_front(unsent, written);
    }
    Ok(())
}

/// Raises how much the system buffers for a slow reader, so that the last frame, which says where to resume, fits in before the
/// connection is closed.
pub(super) fn make_room(stream: &TcpStream) {
    // Without the option the last frame may be lost, as on any full socket.
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(u32::MAX);
}

/// Closes our side, then reads what the peer still sends, so that what was written last arrives.
pub(super) async fn close(stream: &TcpStream, is_input_ended: bool) {
    if SockRef::from(stream).shutdown(Shutdown::Write).is_err() || is_input_ended {
        return;
    }
    let mut scratch = vec![0; 16 * 1024];
    let draining = async {
        while stream.readable().await.is_ok() {
            match stream.try_read(&mut scratch) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    };
    // A peer that goes on sending is disconnected at the limit.
    let _ = timeout(CLOSE_WAIT, draining).await;
}

fn drop_front(unsent: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(front) = unsent.front_mut() {
        if front.len() > written {
            front.advance(written);
            return;
        }
        written -= front.len();
        unsent.pop_front();
    }
}
