//! What happens next: a queue in virtual time. What is due at one time happens in the order in which it was put in.

use std::{cmp::Ordering, collections::BinaryHeap, net::SocketAddrV4, time::Duration};

use bytes::Bytes;
use gaung_engine::{AckRange, ArrivalSocket, PublishEntry, RefuseReason};
use gaung_proto::{Seq, run::Run};

use super::settings::TimedFault;

/// Who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    /// The relay's address, whichever process has it.
    Relay,
    Member(usize),
    Publisher(usize),
    Attacker(usize),
}

/// A datagram at the end of its way.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) from: SocketAddrV4,
    pub(super) via: ArrivalSocket,
    pub(super) bytes: Bytes,
    /// As somebody honest sent it.
    pub(super) genuine: bool,
}

/// The relay's answer to one publish request.
pub(super) type Answer = Result<Vec<AckRange>, RefuseReason>;

/// What happens.
#[derive(Debug, Clone)]
pub(super) enum Event {
    Arrive(Node, Arrival),
    /// A timer of a member, publisher or attacker, or of one of the relay's processes.
    Wake(Node),
    WakeRelay {
        process: u64,
    },
    /// The sync that is under way has ended.
    Synced,
    /// The relay's process hears what became of the oldest batch that it handed to the log.
    Appended {
        process: u64,
        runs: usize,
        durable: bool,
    },
    /// A publisher has something to say.
    Speak {
        publisher: usize,
    },
    Connect {
        publisher: usize,
    },
    Request {
        connection: u64,
        entries: Vec<PublishEntry>,
    },
    Answered {
        publisher: usize,
        connection: u64,
        answer: Answer,
    },
    Broken {
        publisher: usize,
        connection: u64,
    },
    /// A member's reading of the log: it began, a run arrived, it is over. `reading` tells it from earlier ones.
    Read {
        member: usize,
        reading: u64,
        step: ReadStep,
    },
    /// The same for its session with the hub.
    Hub {
        member: usize,
        session: u64,
        step: HubStep,
    },
    /// A publisher by datagrams learns where the group is.
    PlaceTold {
        publisher: usize,
    },
    /// The registry answers a member's question where the group is.
    PlaceAnswered {
        member: usize,
        life: u64,
    },
    Fault(TimedFault),
    /// The end of a fault that lasts.
    FaultOver(TimedFault),
    /// A process of the relay opens the log anew after an append failed.
    Reopen {
        process: u64,
    },
    /// A process of the relay that was replaced is ended.
    KillRelay {
        process: u64,
    },
    Heal,
    /// What is over now is to have reached everybody 10 s later.
    Calm,
    Calmed(Box<Noted>),
    Check,
}

/// How far everything was at a time of calm.
#[derive(Debug, Clone)]
pub(super) struct Noted {
    pub(super) head: Seq,
    /// Messages of each publisher.
    pub(super) said: Vec<u64>,
}

#[derive(Debug, Clone)]
pub(super) enum ReadStep {
    Open,
    Run(Run),
    /// The log begins later than asked for.
    Trimmed(Seq),
    /// Reached the end of the log as it was.
    End(Seq),
    Failed,
}

#[derive(Debug, Clone)]
pub(super) enum HubStep {
    Open,
    Run(Run),
    Trimmed(Seq),
    Head(Seq),
}

/// Events to come.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Entry>,
    count: u64,
}

#[derive(Debug)]
struct Entry {
    at: Duration,
    order: u64,
    event: Event,
}

impl Queue {
    pub(super) fn put(&mut self, at: Duration, event: Event) {
        self.heap.push(Entry { at, order: self.count, event });
        self.count += 1;
    }

    pub(super) fn pop(&mut self) -> Option<(Duration, Event)> {
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }
}

impl Ord for Entry {
    /// The heap gives the greatest first: the earliest is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Entry {}
