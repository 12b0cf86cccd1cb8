//! The member's side of the broadcast lane: what arrives, each message once, in the order of arrival.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Instant,
};

use bytes::Bytes;
use gaung_proto::{
    DecodeError, GroupTag, SenderId, Seq,
    block::{Block, Message},
    body::Broadcast,
    datagram::{Header, PacketType},
};

use super::reassembly::{InsertOutcome, Reassembly};
use crate::timing::TIMING;

/// Seqs remembered: a hub sends every message once through each interface, within milliseconds.
const REMEMBERED: usize = 4096;
/// Messages that wait to be taken; a slow reader misses the newest, as on the wire.
const MAX_WAITING: usize = 4096;
/// Bytes of messages that wait for a reader; later ones are dropped.
const MAX_WAITING_BYTES: usize = 4 * 1024 * 1024;
/// A jump further ahead than this is not reported as missed, because it may be forged, or another log's.
const MAX_MISSED: u64 = 100_000;

/// Receives the broadcasts of one group.
#[derive(Debug)]
pub struct BroadcastReceiver {
    tag: Option<GroupTag>,
    learned: Option<(GroupTag, Instant)>,
    seen: BTreeSet<Seq>,
    order: VecDeque<Seq>,
    last: Option<Seq>,
    reassembly: Reassembly,
    waiting: VecDeque<BroadcastHeard>,
    waiting_bytes: usize,
    strangers: u64,
}

/// A message that was broadcast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BroadcastHeard {
    /// The hub that sent it.
    pub sender: SenderId,
    /// The message with its place in the log.
    pub message: Message,
    /// Messages between this one and the one before that did not come, or not yet.
    pub missed: u64,
}

impl BroadcastReceiver {
    /// Makes a receiver for `tag`; `None` takes the first tag heard, until it is silent for 30 s.
    #[must_use]
    pub fn new(tag: Option<GroupTag>) -> Self {
        Self {
            tag,
            learned: None,
            seen: BTreeSet::new(),
            order: VecDeque::new(),
            last: None,
            reassembly: Reassembly::default(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            strangers: 0,
        }
    }

    /// Handles that the group has another log: everything in it is new.
    pub fn handle_change(&mut self, tag: GroupTag) {
        if self.tag != Some(tag) {
            let strangers = self.strangers;
            *self = Self { strangers, waiting: std::mem::take(&mut self.waiting), ..Self::new(Some(tag)) };
            self.waiting_bytes = self.waiting.iter().map(|heard| heard.message.payload.len()).sum();
        }
    }

    /// Takes a datagram from the broadcast port. Other types than BROADCAST are passed over.
    ///
    /// # Errors
    /// [`DecodeError`]: drop it.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Result<(), DecodeError> {
        let (header, body) = Header::decode(datagram)?;
        if header.packet_type != PacketType::Broadcast {
            return Ok(());
        }
        let Broadcast { sender, bytes } = Broadcast::decode(body)?;
        if header.fragment.is_whole() {
            let block = Bytes::copy_from_slice(bytes);
            let parsed = Block::parse(&block)?;
            if self.is_wanted(now, header.tag) {
                let seqs = (header.seq.0..).map(Seq);
                seqs.zip(parsed.messages()).for_each(|(seq, m)| self.hear(sender, m.to_message(seq, &block)));
            }
            return Ok(());
        }
        if !self.is_wanted(now, header.tag) || self.seen.contains(&header.seq) {
            return Ok(());
        }
        let part = Bytes::copy_from_slice(bytes);
        if let InsertOutcome::Whole(block) = self.reassembly.insert(header.seq, header.fragment, None, &part) {
            let parsed = Block::parse(&block)?;
            if parsed.count() != 1 {
                return Err(DecodeError::Field("message count"));
            }
            parsed.messages().for_each(|m| self.hear(sender, m.to_message(header.seq, &block)));
        }
        Ok(())
    }

    /// Returns the next message in the order in which they came.
    pub fn poll_message(&mut self) -> Option<BroadcastHeard> {
        let heard = self.waiting.pop_front()?;
        self.waiting_bytes -= heard.message.payload.len();
        Some(heard)
    }

    /// Returns how many datagrams of other groups or logs came; when it rises, the registry may know of a new log.
    #[must_use]
    pub const fn strangers(&self) -> u64 {
        self.strangers
    }

    fn is_wanted(&mut self, now: Instant, tag: GroupTag) -> bool {
        if let Some(known) = self.tag {
            self.strangers += u64::from(known != tag);
            return known == tag;
        }
        match self.learned {
            Some((known, heard))
                if known != tag && now.saturating_duration_since(heard) < TIMING.broadcast_tag_kept =>
            {
                self.strangers += 1;
                return false;
            }
            Some((known, _)) if known != tag => {
                self.seen.clear();
                self.order.clear();
                self.last = None;
            }
            Some(_) | None => {}
        }
        self.learned = Some((tag, now));
        true
    }

    fn hear(&mut self, sender: SenderId, message: Message) {
        let (seq, len) = (message.seq, message.payload.len());
        if self.waiting.len() >= MAX_WAITING || self.waiting_bytes + len > MAX_WAITING_BYTES || !self.seen.insert(seq) {
            return;
        }
        self.order.push_back(seq);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        let ahead = self.last.and_then(|last| seq.0.checked_sub(last.0 + 1)).unwrap_or(0);
        let missed = if ahead > MAX_MISSED { 0 } else { ahead };
        self.last = Some(seq);
        self.waiting_bytes += len;
        self.waiting.push_back(BroadcastHeard { sender, message, missed });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{BroadcastPacker, test_messages::run};

    const HUB: SenderId = SenderId([3; 16]);

    fn datagrams(tag: GroupTag, first: u64, lengths: &[usize]) -> Vec<Bytes> {
        let payloads: Vec<_> = lengths.iter().map(|&len| vec![len as u8; len]).collect();
        let mut packer = BroadcastPacker::new(HUB);
        packer.handle_run(tag, &run(first, &payloads), Seq(first), 0);
        std::iter::from_fn(|| packer.poll_datagram()).collect()
    }

    fn seqs(receiver: &mut BroadcastReceiver) -> Vec<(u64, usize, u64)> {
        std::iter::from_fn(|| receiver.poll_message())
            .map(|heard| (heard.message.seq.0, heard.message.payload.len(), heard.missed))
            .collect()
    }

    #[test]
    fn each_message_comes_once_and_what_is_missing_is_counted() {
        let now = Instant::now();
        let mut receiver = BroadcastReceiver::new(Some(GroupTag(7)));
        let sent = datagrams(GroupTag(7), 5, &[10, 3000, 20]);
        for datagram in sent.iter().chain(&sent) {
            receiver.handle_datagram(now, datagram).unwrap();
        }
        datagrams(GroupTag(7), 11, &[1]).iter().for_each(|d| receiver.handle_datagram(now, d).unwrap());
        datagrams(GroupTag(8), 1, &[1]).iter().for_each(|d| receiver.handle_datagram(now, d).unwrap());
        assert_eq!(seqs(&mut receiver), [(5, 10, 0), (6, 3000, 0), (7, 20, 0), (11, 1, 3)]);
        assert_eq!(receiver.strangers(), 1);
        receiver.handle_change(GroupTag(8));
        datagrams(GroupTag(8), 1, &[1]).iter().for_each(|d| receiver.handle_datagram(now, d).unwrap());
        assert_eq!(seqs(&mut receiver), [(1, 1, 0)]);
    }

    #[test]
    fn a_learned_tag_is_kept_while_it_is_heard() {
        let now = Instant::now();
        let mut receiver = BroadcastReceiver::new(None);
        receiver.handle_datagram(now, &datagrams(GroupTag(1), 9, &[1])[0]).unwrap();
        receiver.handle_datagram(now, &datagrams(GroupTag(2), 1, &[1])[0]).unwrap();
        assert_eq!(seqs(&mut receiver), [(9, 1, 0)]);
        receiver.handle_datagram(now + TIMING.broadcast_tag_kept, &datagrams(GroupTag(2), 1, &[1])[0]).unwrap();
        assert_eq!(seqs(&mut receiver), [(1, 1, 0)]);
    }
}
