//! The messages of one block, one after another, sharing its bytes.

use bytes::Bytes;

use crate::{
    block::{Block, Message, MessageRef, SentAt, read_message},
    id::Seq,
    wire::{DecodeError, Reader},
};

/// What is left of a block whose every field has been checked, in seq order. Payloads share the block's bytes.
#[derive(Debug, Clone)]
pub struct Messages {
    block: Bytes,
    base_time: u64,
    /// Where in `block` the next message begins.
    at: usize,
    next: Seq,
    left: u16,
}

impl Messages {
    /// Checks `block`, which is one whole block and nothing else. `first`: seq of its first message.
    ///
    /// # Errors
    /// As [`Block::parse`].
    pub fn parse(block: Bytes, first: Seq) -> Result<Self, DecodeError> {
        Block::parse(&block)?;
        Ok(Self::of_checked(block, first))
    }

    /// The same for a block that was checked before.
    pub(crate) fn of_checked(block: Bytes, first: Seq) -> Self {
        let parsed = Block::of_checked(&block).expect("it was checked before");
        let (base_time, at, left) = (parsed.base_time(), parsed.messages_at(), parsed.count());
        Self { block, base_time, at, next: first, left }
    }

    /// Whether no message is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Seq of the next message, if there is one.
    #[must_use]
    pub const fn next_seq(&self) -> Seq {
        self.next
    }

    /// The seq after the last message.
    #[must_use]
    pub const fn end(&self) -> Seq {
        self.next.plus(self.left as u64)
    }

    /// Bytes of the block, all of which stay in memory as long as one of its messages does.
    #[must_use]
    pub const fn block_bytes(&self) -> usize {
        self.block.len()
    }

    /// What is left, borrowed, each message with its seq.
    pub fn refs(&self) -> impl Iterator<Item = (Seq, MessageRef<'_>)> {
        let mut reader = Reader::new(&self.block[self.at..]);
        let authors = &self.block;
        (0..u64::from(self.left)).map(move |at| {
            let (author, raw) = read_message(&mut reader).expect("all were read when it was checked");
            let message = MessageRef {
                author: Block::author_of(authors, author),
                client_seq: raw.client_seq,
                content_type: raw.content_type,
                sent_at: SentAt(self.base_time.saturating_add(raw.sent_at_delta.into())),
                payload: raw.payload,
            };
            (self.next.plus(at), message)
        })
    }

    /// Leaves out what is before `seq`.
    pub fn skip_to(&mut self, seq: Seq) {
        let skipped = seq.0.saturating_sub(self.next.0).min(self.left.into()) as u16;
        let mut reader = Reader::new(&self.block[self.at..]);
        for _ in 0..skipped {
            read_message(&mut reader).expect("all were read when it was checked");
        }
        self.at = self.block.len() - reader.rest().len();
        self.next = self.next.plus(skipped.into());
        self.left -= skipped;
    }

    /// Leaves out what is from `end` on.
    pub fn cut(&mut self, end: Seq) {
        self.left = end.0.saturating_sub(self.next.0).min(self.left.into()) as u16;
    }
}

impl Iterator for Messages {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        self.left = self.left.checked_sub(1)?;
        let mut reader = Reader::new(&self.block[self.at..]);
        let (author, raw) = read_message(&mut reader).expect("all were read when it was checked");
        let end = self.block.len() - reader.rest().len();
        let seq = self.next;
        self.at = end;
        self.next = seq.next();
        Some(Message {
            seq,
            author: Block::author_of(&self.block, author),
            client_seq: raw.client_seq,
            content_type: raw.content_type,
            sent_at: SentAt(self.base_time.saturating_add(raw.sent_at_delta.into())),
            payload: self.block.slice(end - raw.payload.len()..end),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left.into(), Some(self.left.into()))
    }
}

impl ExactSizeIterator for Messages {}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::{
        block::{Author, BlockBuilder, MessageRef},
        content::ContentType,
        id::{ClientId, ClientSeq, DeviceId},
    };

    fn messages(count: u8) -> Messages {
        let mut builder = BlockBuilder::new();
        for number in 0..count {
            builder.push(&MessageRef {
                author: Author { device: DeviceId([number % 3; 16]), client: ClientId([7; 16]) },
                client_seq: ClientSeq(number.into()),
                content_type: ContentType::Text,
                sent_at: SentAt(1000 + u64::from(number)),
                payload: &[number; 9][..usize::from(number % 10)],
            });
        }
        let mut block = BytesMut::new();
        builder.write(&mut block);
        Messages::parse(block.freeze(), Seq(100)).expect("what a builder writes")
    }

    #[test]
    fn they_are_those_of_the_block_with_their_seqs() {
        let all = messages(20);
        let block = Block::parse(&all.block).expect("it was parsed before");
        let numbered = (100..).map(Seq).zip(block.messages());
        let expected: Vec<_> = numbered.map(|(seq, message)| message.to_message(seq, &all.block)).collect();
        assert_eq!((all.len(), all.end()), (20, Seq(120)));
        let borrowed: Vec<_> = all.refs().map(|(seq, message)| message.to_message(seq, &all.block)).collect();
        assert_eq!(borrowed, expected);
        assert_eq!(all.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn either_end_can_be_left_out() {
        let seqs = |messages: &Messages| messages.clone().map(|message| message.seq.0).collect::<Vec<_>>();
        let mut some = messages(20);
        some.skip_to(Seq(90));
        some.cut(Seq(300));
        assert_eq!(some.len(), 20);
        some.skip_to(Seq(113));
        some.cut(Seq(117));
        assert_eq!((seqs(&some), some.next_seq(), some.end()), ((113..117).collect(), Seq(113), Seq(117)));
        assert_eq!(some.clone().map(|message| message.client_seq.0).collect::<Vec<_>>(), [13, 14, 15, 16]);
        some.skip_to(Seq(200));
        assert!(some.is_empty() && some.next().is_none());
        let mut none = messages(3);
        none.cut(Seq(5));
        assert!(none.is_empty());
    }
}
