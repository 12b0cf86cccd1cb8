//! Reading from and writing to a session's socket, a bounded piece at a time.

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

/// As [`gaung_engine::FanoutLimits::write_slices`], and a WebSocket's header.
const SLICES: usize = 65;
/// A closed session's peer may go on sending for so long; its last words are not lost to a reset.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// Reads once.
///
/// A short read has emptied the socket. It is told to the runtime at once, as epoll reports changes only: else another
/// read would have to find that out.
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

/// Writes slices at once, as much of them as the socket takes.
pub(super) fn write<'a>(stream: &TcpStream, mut slices: impl Iterator<Item = &'a [u8]>) -> io::Result<usize> {
    let (first, second) = (slices.next().unwrap_or_default(), slices.next());
    // A plain send costs the system a twentieth less.
    let Some(second) = second else { return stream.try_write(first) };
    let mut vector: [IoSlice<'_>; SLICES] = std::array::from_fn(|_| IoSlice::new(&[]));
    let mut used = 0;
    for (slot, bytes) in vector.iter_mut().zip([first, second].into_iter().chain(slices)) {
        *slot = IoSlice::new(bytes);
        used += 1;
    }
    stream.try_write_vectored(&vector[..used])
}

/// Writes and takes away what is unsent until all of it is out. [`ErrorKind::WouldBlock`]: the socket takes no more.
pub(super) fn flush(stream: &TcpStream, unsent: &mut VecDeque<Bytes>) -> io::Result<()> {
    while !unsent.is_empty() {
        let written = write(stream, unsent.iter().map(|bytes| &bytes[..]))?;
        drop_front(unsent, written);
    }
    Ok(())
}

/// Lets a few more bytes into the system's buffer although its reader is slow: the last word, with where to resume, has to
/// lie there before the connection is given up.
pub(super) fn make_room(stream: &TcpStream) {
    // A socket that refuses it has had its say.
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(u32::MAX);
}

/// Closes our side, then reads the peer out, so that what was written last arrives.
pub(super) async fn close(stream: &TcpStream, is_input_ended: bool) {
    if SockRef::from(stream).shutdown(Shutdown::Write).is_err() || is_input_ended {
        return;
    }
    let mut scratch = vec![0; 16 * 1024];
    let reading_out = async {
        while stream.readable().await.is_ok() {
            match stream.try_read(&mut scratch) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    };
    // A peer that goes on sending is cut at the limit, which is what the limit is for.
    let _ = timeout(CLOSE_WAIT, reading_out).await;
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
