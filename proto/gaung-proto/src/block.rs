//! A block: messages with the table of their authors; the common part of a run and of a DATA datagram.
//!
//! ```text
//! base_time u64 (µs since 1970) | count u16 | author_count u16
//! author_count × ( device_id 16 | client_id 16 )
//! count × ( author u16 | content_type u8 | flags u8 = 0 | client_seq u64 | sent_at u32 (µs after base_time) | len u32 | payload )
//! ```

use std::collections::HashMap;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    content::ContentType,
    id::{ClientId, ClientSeq, DeviceId, Seq},
    limits::{MAX_BLOCK_MESSAGES, MAX_PAYLOAD},
    wire::{DecodeError, Reader},
};

/// Bytes before the author table.
pub const BLOCK_HEADER: usize = 12;
/// Bytes of one author in the table.
pub const AUTHOR: usize = 32;
/// Bytes of one message besides its payload.
pub const MESSAGE_HEADER: usize = 20;

/// Who published a message: the device identifies the person, the client the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Author {
    /// The author's device, or [`DeviceId::NONE`].
    pub device: DeviceId,
    /// The publishing process.
    pub client: ClientId,
}

/// The relay's clock at the append, µs since 1970; for display only, never compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct SentAt(pub u64);

/// One message of a block, borrowed from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageRef<'a> {
    /// The author of the message.
    pub author: Author,
    /// The author's own number of the message.
    pub client_seq: ClientSeq,
    /// The kind of the payload.
    pub content_type: ContentType,
    /// When the relay appended it.
    pub sent_at: SentAt,
    /// 0 to [`MAX_PAYLOAD`] bytes, opaque.
    pub payload: &'a [u8],
}

/// One message with its place, owning its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its place in the log.
    pub seq: Seq,
    /// The author of the message.
    pub author: Author,
    /// The author's own number of the message.
    pub client_seq: ClientSeq,
    /// The kind of the payload.
    pub content_type: ContentType,
    /// When the relay appended it.
    pub sent_at: SentAt,
    /// 0 to [`MAX_PAYLOAD`] bytes, opaque.
    pub payload: Bytes,
}

impl MessageRef<'_> {
    /// The same message, its payload a slice of `owner`, which must be the bytes that the block was parsed from.
    #[must_use]
    pub fn to_message(self, seq: Seq, owner: &Bytes) -> Message {
        Message {
            seq,
            author: self.author,
            client_seq: self.client_seq,
            content_type: self.content_type,
            sent_at: self.sent_at,
            payload: owner.slice_ref(self.payload),
        }
    }
}

/// A block whose every field has been checked; iterating cannot fail.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    base_time: u64,
    count: u16,
    authors: &'a [u8],
    messages: &'a [u8],
}

impl<'a> Block<'a> {
    /// Checks all of `bytes`, which is one whole block and nothing else.
    ///
    /// # Errors
    /// [`DecodeError`] if a length, an author index or a flag is wrong, or the block has no message.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let block = Self::of_checked(bytes)?;
        if block.count == 0 {
            return Err(DecodeError::Field("message count"));
        }
        let author_count = block.authors.len() / AUTHOR;
        let mut reader = Reader::new(block.messages);
        for _ in 0..block.count {
            let (author, _) = read_message(&mut reader)?;
            if usize::from(author) >= author_count {
                return Err(DecodeError::Field("author index"));
            }
        }
        reader.end()?;
        Ok(block)
    }

    /// The same without going through the messages again, for bytes that [`Self::parse`] has taken before.
    pub(crate) fn of_checked(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let base_time = reader.u64()?;
        let count = reader.u16()?;
        let author_count = reader.u16()?;
        let authors = reader.take(usize::from(author_count) * AUTHOR)?;
        Ok(Self { base_time, count, authors, messages: reader.rest() })
    }

    /// How many messages; at least 1.
    #[must_use]
    pub const fn count(&self) -> u16 {
        self.count
    }

    pub(crate) const fn base_time(&self) -> u64 {
        self.base_time
    }

    /// Where the messages begin in the block's bytes.
    pub(crate) const fn messages_at(&self) -> usize {
        BLOCK_HEADER + self.authors.len()
    }

    /// The messages in seq order.
    pub fn messages(&self) -> impl Iterator<Item = MessageRef<'a>> + use<'a> {
        let block = *self;
        let mut reader = Reader::new(block.messages);
        (0..block.count).map(move |_| {
            let (author, raw) = read_message(&mut reader).expect("parse has walked these bytes");
            MessageRef {
                author: block.author(author),
                client_seq: raw.client_seq,
                content_type: raw.content_type,
                sent_at: SentAt(block.base_time.saturating_add(u64::from(raw.sent_at_delta))),
                payload: raw.payload,
            }
        })
    }

    /// Payload bytes of all messages.
    #[must_use]
    pub const fn payload_bytes(&self) -> usize {
        self.messages.len() - self.count as usize * MESSAGE_HEADER
    }

    /// The authors in table order.
    pub fn authors(&self) -> impl Iterator<Item = Author> + use<'a> {
        let block = *self;
        (0..block.authors.len() / AUTHOR).map(move |i| block.author(i as u16))
    }

    fn author(&self, index: u16) -> Author {
        Self::author_at(self.authors, index)
    }

    /// An author of a block that was checked, of which `bytes` are all.
    pub(crate) fn author_of(bytes: &[u8], index: u16) -> Author {
        Self::author_at(&bytes[BLOCK_HEADER..], index)
    }

    fn author_at(authors: &[u8], index: u16) -> Author {
        let mut reader = Reader::new(&authors[usize::from(index) * AUTHOR..]);
        let mut next = || reader.array().expect("parse has compared the index with the table");
        Author { device: DeviceId(next()), client: ClientId(next()) }
    }
}

/// Builds a block message by message.
#[derive(Debug, Default)]
pub struct BlockBuilder {
    base_time: u64,
    authors: Vec<Author>,
    index: HashMap<Author, u16>,
    /// Who wrote the last message, and its index: messages of one author mostly follow each other.
    last: Option<(Author, u16)>,
    count: u16,
    messages: BytesMut,
}

impl BlockBuilder {
    /// Creates a block without messages.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one message.
    ///
    /// The first message's `sent_at` is the base; an earlier one later on is set to it, one more than 71 minutes
    /// later is set to that.
    /// # Panics
    /// If the block is full ([`BlockBuilder::is_full`]) or the payload is over [`MAX_PAYLOAD`].
    pub fn push(&mut self, message: &MessageRef<'_>) {
        assert!(!self.is_full(), "the caller closes a full block");
        assert!(message.payload.len() <= MAX_PAYLOAD, "the caller has checked the payload's length");
        if self.count == 0 {
            self.base_time = message.sent_at.0;
        }
        let author = self.index_of(message.author);
        let delta = message.sent_at.0.saturating_sub(self.base_time);
        self.messages.reserve(MESSAGE_HEADER + message.payload.len());
        self.messages.put_u16(author);
        self.messages.put_u8(message.content_type.to_byte());
        self.messages.put_u8(0);
        self.messages.put_u64(message.client_seq.0);
        self.messages.put_u32(u32::try_from(delta).unwrap_or(u32::MAX));
        self.messages.put_u32(message.payload.len() as u32);
        self.messages.put_slice(message.payload);
        self.count += 1;
    }

    /// Returns whether [`Self::push`] would keep this `sent_at` as it is.
    #[must_use]
    pub fn keeps_time(&self, sent_at: SentAt) -> bool {
        let delta = sent_at.0.checked_sub(self.base_time);
        self.is_empty() || delta.is_some_and(|delta| u32::try_from(delta).is_ok())
    }

    /// Returns the encoded length of what was pushed so far, bytes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        BLOCK_HEADER + self.authors.len() * AUTHOR + self.messages.len()
    }

    /// Encoded length after such a message.
    #[must_use]
    pub fn encoded_len_with(&self, author: &Author, payload_len: usize) -> usize {
        let is_last = self.last.is_some_and(|(last, _)| last == *author);
        let author_len = if is_last || self.index.contains_key(author) { 0 } else { AUTHOR };
        self.encoded_len() + author_len + MESSAGE_HEADER + payload_len
    }

    /// Returns how many messages the block has.
    #[must_use]
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// Whether the block has no message.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether the count field can hold no more.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.count as usize >= MAX_BLOCK_MESSAGES
    }

    /// Appends the encoded block to `out`.
    pub fn write(&self, out: &mut impl BufMut) {
        out.put_u64(self.base_time);
        out.put_u16(self.count);
        out.put_u16(self.authors.len() as u16);
        for author in &self.authors {
            out.put_slice(author.device.as_bytes());
            out.put_slice(author.client.as_bytes());
        }
        out.put_slice(&self.messages);
    }

    /// Empties it for the next block, keeping its memory.
    pub fn clear(&mut self) {
        self.authors.clear();
        self.index.clear();
        self.last = None;
        self.messages.clear();
        self.count = 0;
    }

    fn index_of(&mut self, author: Author) -> u16 {
        if let Some((_, index)) = self.last.filter(|(last, _)| *last == author) {
            return index;
        }
        let next = self.authors.len() as u16;
        let index = *self.index.entry(author).or_insert(next);
        if index == next {
            self.authors.push(author);
        }
        self.last = Some((author, index));
        index
    }
}

pub(crate) struct RawMessage<'a> {
    pub(crate) client_seq: ClientSeq,
    pub(crate) content_type: ContentType,
    pub(crate) sent_at_delta: u32,
    pub(crate) payload: &'a [u8],
}

/// A message, and its author's place in the table.
#[inline]
pub(crate) fn read_message<'a>(reader: &mut Reader<'a>) -> Result<(u16, RawMessage<'a>), DecodeError> {
    // One comparison with the end for all fields.
    let header: [u8; MESSAGE_HEADER] = reader.array()?;
    let mut fields = Reader::new(&header);
    let author = fields.u16()?;
    let content_type = ContentType::from_byte(fields.u8()?);
    if fields.u8()? != 0 {
        return Err(DecodeError::Field("message flags"));
    }
    let client_seq = ClientSeq(fields.u64()?);
    let sent_at_delta = fields.u32()?;
    let len = fields.u32()? as usize;
    if len > MAX_PAYLOAD {
        return Err(DecodeError::TooLong { limit: MAX_PAYLOAD });
    }
    let payload = reader.take(len)?;
    Ok((author, RawMessage { client_seq, content_type, sent_at_delta, payload }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(author: u8, payload: &[u8]) -> MessageRef<'_> {
        let author = Author { device: DeviceId([author; 16]), client: ClientId([author; 16]) };
        MessageRef { author, client_seq: ClientSeq(1), content_type: ContentType::Text, sent_at: SentAt(5), payload }
    }

    #[test]
    fn each_author_stands_once_in_the_table_however_their_messages_alternate() {
        let mut builder = BlockBuilder::new();
        for round in 0..2 {
            let wanted = [message(1, b"a"), message(1, b"bb"), message(2, b""), message(1, b"c"), message(2, b"dd")];
            for next in &wanted {
                let length = builder.encoded_len_with(&next.author, next.payload.len());
                builder.push(next);
                assert_eq!(builder.encoded_len(), length, "round {round}");
            }
            let mut bytes = BytesMut::new();
            builder.write(&mut bytes);
            assert_eq!(bytes.len(), builder.encoded_len());
            let block = Block::parse(&bytes).expect("what a builder writes");
            assert_eq!(block.messages().collect::<Vec<_>>(), wanted);
            assert_eq!(block.authors().collect::<Vec<_>>(), [wanted[0].author, wanted[2].author]);
            assert_eq!(block.payload_bytes(), 6);
            // What was remembered of the last block must not name a place in the next one's table.
            builder.clear();
        }
    }
}
