//! Publishing clients and what they have not been told of yet.

use std::collections::VecDeque;

use bytes::Bytes;
use gaung_engine::{PublishBatch, PublishEntry};
use gaung_proto::{ClientId, ClientSeq, ContentType, DeviceId};
use multicast_relay::{LocalAck, LocalGroup, LocalPublishError};

/// As many as a relay remembers of one client.
const MAX_UNACKNOWLEDGED: usize = 1024;

/// Clients that publish in turn, a request each.
#[derive(Debug)]
pub(super) struct Window {
    group: LocalGroup,
    clients: Vec<PublishingClient>,
    turn: usize,
    /// Times that there was no room.
    pub(super) refused: u64,
}

#[derive(Debug)]
struct PublishingClient {
    id: ClientId,
    next_seq: u64,
    unacknowledged: usize,
    pending: VecDeque<(usize, LocalAck)>,
}

impl Window {
    pub(super) fn new(group: LocalGroup, clients: usize) -> Self {
        let client = |_| PublishingClient {
            id: ClientId(rand::random()),
            next_seq: 1,
            unacknowledged: 0,
            pending: VecDeque::new(),
        };
        Self { group, clients: (0..clients).map(client).collect(), turn: 0, refused: 0 }
    }

    /// Publishes as the client whose turn it is; waits for room.
    pub(super) fn publish(&mut self, payloads: impl ExactSizeIterator<Item = Bytes>) -> anyhow::Result<()> {
        let turns = self.clients.len();
        let client = &mut self.clients[self.turn];
        self.turn = (self.turn + 1) % turns;
        let count = payloads.len();
        self.refused += client.wait_for_room(count)?;
        let mut batch = client.batch(payloads);
        loop {
            match self.group.publish(batch) {
                Ok(ack) => {
                    client.pending.push_back((count, ack));
                    client.unacknowledged += count;
                    return Ok(());
                }
                Err(LocalPublishError::Full(given_back)) => {
                    self.refused += 1;
                    batch = given_back;
                    std::thread::yield_now();
                }
                Err(error @ LocalPublishError::Stopped) => return Err(error.into()),
            }
        }
    }
}

impl PublishingClient {
    fn batch(&mut self, payloads: impl Iterator<Item = Bytes>) -> PublishBatch {
        let first = self.next_seq;
        let entry = |(client_seq, payload)| PublishEntry {
            client_seq: ClientSeq(client_seq),
            content_type: ContentType::Text,
            payload,
        };
        let entries: Vec<_> = (first..).zip(payloads).map(entry).collect();
        self.next_seq += entries.len() as u64;
        PublishBatch::new(DeviceId::NONE, self.id, entries).expect("arguments keep within the limits of a request")
    }

    /// Gives how often it had to wait.
    fn wait_for_room(&mut self, count: usize) -> anyhow::Result<u64> {
        while let Some((_, ack)) = self.pending.front_mut()
            && let Some(outcome) = ack.try_outcome()
        {
            outcome?;
            self.forget_oldest();
        }
        let mut waits = 0;
        while self.unacknowledged + count > MAX_UNACKNOWLEDGED {
            let Some((oldest, ack)) = self.pending.pop_front() else { break };
            ack.wait()?;
            self.unacknowledged -= oldest;
            waits += 1;
        }
        Ok(waits)
    }

    fn forget_oldest(&mut self) {
        if let Some((count, _)) = self.pending.pop_front() {
            self.unacknowledged -= count;
        }
    }
}
