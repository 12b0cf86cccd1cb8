//! Datagrams that overtake each other: some of those that come in are held back for a while. Needs root and `iptables`.

use std::{
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nfq::{Message, Queue, Verdict};
use rand::Rng as _;

use crate::lab::{Host, INTERFACE};

/// Of the one queue of a host.
const QUEUE: u16 = 7;
/// Between two looks at what is held back.
const TICK: Duration = Duration::from_micros(300);

/// A fault that holds until it is ended or dropped.
#[derive(Debug)]
pub struct Reordering {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Reordered>>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reordered {
    /// Datagrams that came in.
    pub datagrams: u64,
    /// Times that one went past another that was held back.
    pub overtakes: u64,
}

impl Host {
    /// Holds back each UDP datagram that comes in with a probability of `share`, for up to `longest`.
    ///
    /// # Panics
    /// If `iptables` fails, or the system has no such queues.
    #[must_use]
    pub fn reorder(&self, share: f64, longest: Duration) -> Reordering {
        let entrance = self.entrance();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            entrance.pass();
            let mut queue = Queue::open().expect("root may open a queue");
            queue.bind(QUEUE).expect("the queue is free on this host");
            queue.set_nonblocking(true);
            ready.send(()).expect("the test waits");
            hold_back(&mut queue, share, longest, &stopped)
        });
        is_ready.recv().expect("the queue is there");
        let queue = QUEUE.to_string();
        let rule = ["-A", "INPUT", "-i", INTERFACE, "-p", "udp", "-j", "NFQUEUE", "--queue-num", &queue];
        let output = self.command("iptables").args(rule).output().expect("`iptables` is installed");
        assert!(output.status.success(), "iptables: {}", String::from_utf8_lossy(&output.stderr).trim());
        Reordering { stop, thread: Some(thread) }
    }
}

impl Reordering {
    /// Ends it. The host is deaf to datagrams afterwards, for its rule has no queue any more.
    ///
    /// # Panics
    /// If the queue failed.
    #[must_use]
    pub fn end(mut self) -> Reordered {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("it has not ended").join().expect("the queue works")
    }
}

impl Drop for Reordering {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn hold_back(queue: &mut Queue, share: f64, longest: Duration, stop: &AtomicBool) -> Reordered {
    let mut counted = Reordered::default();
    let mut held: Vec<(Instant, Message)> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        loop {
            match queue.recv() {
                Ok(message) => {
                    counted.datagrams += 1;
                    if rand::rng().random_bool(share) {
                        let until = Instant::now() + longest.mul_f64(rand::rng().random());
                        held.push((until, message));
                    } else {
                        counted.overtakes += held.len() as u64;
                        accept(queue, message);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // What does not fit the queue is lost, as on the wire.
                Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ENOBUFS as i32) => {}
                Err(error) => panic!("the queue failed: {error}"),
            }
        }
        let now = Instant::now();
        for (_, message) in held.extract_if(.., |(until, _)| *until <= now) {
            accept(queue, message);
        }
        thread::sleep(TICK);
    }
    counted
}

fn accept(queue: &mut Queue, mut message: Message) {
    message.set_verdict(Verdict::Accept);
    queue.verdict(message).expect("the queue takes verdicts");
}
