//! Writing: vectored slices of shared bytes, as much as the socket takes.

use std::{
    io::{self, ErrorKind, IoSlice},
    net::Shutdown,
    time::Instant,
};

use gaung_engine::{Piece, Taken};
use gaung_proto::{GroupId, Seq};
use socket2::SockRef;
use tokio::time::timeout;

use super::{CLOSE_WAIT, Dialect, Session};
use crate::text_output::{has_author, text_lines};

/// How a turn of writing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Nothing to write.
    Idle,
    /// The socket takes no more.
    Blocked,
    /// The turn's budget is used up; others first.
    More,
    /// A cursor cannot go on by itself.
    Settle,
}

/// Writes of one turn.
const WRITES: usize = 4;
/// As [`gaung_engine::FanoutLimits::write_slices`].
const SLICES: usize = 64;

impl Session {
    /// Writes until nothing is left, the socket is full or the turn is over.
    pub(super) fn pump(&self) -> Flow {
        if self.dead.get() {
            return Flow::Idle;
        }
        if self.blocked.get() {
            return Flow::Blocked;
        }
        for _ in 0..WRITES {
            if let Some(flow) = self.flush_web() {
                return flow;
            }
            let mut fan = self.fan.borrow_mut();
            let gathered = fan.gather(|group, next, budget, out| self.take(group, next, budget, out));
            if gathered.slices == 0 {
                self.progress.set(Instant::now());
                return if fan.is_stalled() { Flow::Settle } else { Flow::Idle };
            }
            let mut written = 0;
            if let Some(web) = self.web() {
                web.queue(fan.pieces(), gathered.bytes);
                written = gathered.bytes;
            } else if gathered.bytes > 0 {
                match self.write(fan.slices()) {
                    Ok(n) => written = n,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        fan.wrote(0);
                        self.hub().figures.blocked.inc();
                        self.blocked.set(true);
                        return Flow::Blocked;
                    }
                    Err(_) => {
                        self.dead.set(true);
                        return Flow::Idle;
                    }
                }
            }
            fan.wrote(written);
            self.shard.spend(written);
            self.hub().figures.writes.inc();
            self.hub().figures.written_bytes.inc_by(written as u64);
            self.progress.set(Instant::now());
        }
        Flow::More
    }

    fn write<'a>(&self, mut slices: impl Iterator<Item = &'a [u8]>) -> io::Result<usize> {
        let (first, second) = (slices.next().unwrap_or_default(), slices.next());
        // A plain send costs the system a twentieth less.
        let Some(second) = second else { return self.stream.try_write(first) };
        let mut vector: [IoSlice<'_>; SLICES] = std::array::from_fn(|_| IoSlice::new(&[]));
        let mut used = 0;
        for (slot, bytes) in vector.iter_mut().zip([first, second].into_iter().chain(slices)) {
            *slot = IoSlice::new(bytes);
            used += 1;
        }
        self.stream.try_write_vectored(&vector[..used])
    }

    /// Lets a few more bytes into the system's buffer although its reader is slow: the last word, with where to resume,
    /// has to lie there before the connection is given up.
    pub(super) fn make_room(&self) {
        // A socket that refuses it has had its say.
        let _ = SockRef::from(&self.stream).set_tcp_notsent_lowat(u32::MAX);
        self.blocked.set(false);
    }

    /// Writes what a browser's message still lacks; how the turn ends if that is not possible.
    fn flush_web(&self) -> Option<Flow> {
        match self.web()?.flush(&self.stream) {
            Ok(true) => None,
            Ok(false) => {
                self.hub().figures.blocked.inc();
                self.blocked.set(true);
                Some(Flow::Blocked)
            }
            Err(_) => {
                self.dead.set(true);
                Some(Flow::Idle)
            }
        }
    }

    /// Ends the connection so that what was written last arrives: half-closes, then reads the peer out.
    pub(super) async fn close(&self) {
        if self.dead.get() {
            return;
        }
        if let Some(web) = self.web() {
            web.close(&self.stream);
        }
        let socket = SockRef::from(&self.stream);
        if socket.shutdown(Shutdown::Write).is_err() || self.input_ended() {
            return;
        }
        let mut scratch = vec![0; 16 * 1024];
        let reading_out = async {
            while self.stream.readable().await.is_ok() {
                match self.stream.try_read(&mut scratch) {
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

    fn take(&self, group: GroupId, next: Seq, budget_bytes: usize, out: &mut Vec<Piece>) -> Taken {
        let subscriptions = self.subscriptions.borrow();
        let Some((followed, live)) = subscriptions.get(&group).and_then(|subscription| subscription.live()) else {
            return Taken::AtHead;
        };
        let taken = match &self.dialect {
            Dialect::Framed(_) => followed.take(live.log, next, budget_bytes, out, |run| run.as_bytes().clone()),
            Dialect::Text(text) => {
                let prefix = text.prefix_of(followed);
                followed.take(live.log, next, budget_bytes, out, |run| {
                    if run.first_seq() < next {
                        return text_lines(run, next, prefix, Some(text.author.get()));
                    }
                    let form = followed.text_of(run, prefix);
                    if form.clients.contains(&text.author.get()) {
                        return text_lines(run, next, prefix, Some(text.author.get()));
                    }
                    form.lines
                })
            }
        };
        if matches!(taken, Taken::AtHead | Taken::Pieces { at_head: true }) {
            live.reached_head();
        }
        taken
    }

    /// The form of a run that was read from the log.
    pub(super) fn piece_of(&self, group: GroupId, run: &gaung_proto::run::Run, next: Seq) -> Piece {
        let bytes = match &self.dialect {
            Dialect::Framed(_) => run.as_bytes().clone(),
            Dialect::Text(text) => {
                let subscriptions = self.subscriptions.borrow();
                let prefix = subscriptions.get(&group).map_or("", |subscription| text.prefix_of(subscription.group()));
                let own = has_author(run, text.author.get()).then_some(text.author.get());
                text_lines(run, next, prefix, own)
            }
        };
        Piece { bytes, next: run.last_seq().next() }
    }
}
