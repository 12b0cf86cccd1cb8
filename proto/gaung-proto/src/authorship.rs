//! Who wrote a message: the trailer in which its author signs it, and the digest by which one signature vouches for many.
//!
//! The trailer is the last field of the encoded [`Content`](crate::Content), number 15, so that readers that do not know it skip
//! it. The signature binds the payload to its group, log, publisher and place in the publisher's stream, so it verifies nowhere
//! else, and to the last checkpoint of the log that the author had verified.

use bytes::{BufMut as _, Bytes, BytesMut};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use prost::encoding::{DecodeContext, decode_key, skip_field};
use sha2::{Digest as _, Sha256};

use crate::{
    block::Message,
    content::ContentType,
    id::{ClientId, ClientSeq, DeviceId, GroupId, LogId, Seq},
};

/// Length of the trailer: tag and length of field 15, public key 32, seen seq 8, seen hash 32, signature 64.
pub const TRAILER_BYTES: usize = FIELD_HEAD.len() + FIELD_BYTES;
/// Most messages that one attestation vouches for, so that a reader waits for no more.
pub const MAX_ATTESTED: u32 = 1024;

/// Field 15, length-delimited, of 136 bytes.
const FIELD_HEAD: [u8; 3] = [0x7a, 0x88, 0x01];
const FIELD_BYTES: usize = 32 + 8 + 32 + 64;
const LABEL: &[u8] = b"gaung-author-v1\0";

/// What a signature binds a payload to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedContext {
    /// The group that the message is published to.
    pub group: GroupId,
    /// The log that it is meant for.
    pub log: LogId,
    /// The publishing process.
    pub client: ClientId,
    /// The message's number in the stream of that process.
    pub client_seq: ClientSeq,
    /// The kind that the routing header announces.
    pub content_type: ContentType,
}

impl SignedContext {
    /// Returns the context of a message of a group's log.
    #[must_use]
    pub const fn of(group: GroupId, log: LogId, message: &Message) -> Self {
        let Message { author, client_seq, content_type, .. } = message;
        Self { group, log, client: author.client, client_seq: *client_seq, content_type: *content_type }
    }
}

/// The last checkpoint of the log that an author had verified when it signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenCheckpoint {
    /// The message up to which the checkpoint reaches; 0 if none was verified.
    pub seq: Seq,
    /// The checkpoint's hash of the log; zeros if none was verified.
    pub hash: [u8; 32],
}

impl SeenCheckpoint {
    /// States that no checkpoint was verified.
    pub const NONE: Self = Self { seq: Seq(0), hash: [0; 32] };
}

/// What is known about the author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authorship {
    /// The message has no trailer.
    Unsigned,
    /// The device with this key has signed the message for the place where it was read.
    Signed {
        /// The device's Ed25519 public key.
        public_key: [u8; 32],
        /// The checkpoint that the author had verified.
        seen: SeenCheckpoint,
    },
    /// The trailer does not fit the message, its place or the device that the routing header names: something was changed.
    Broken,
}

impl Authorship {
    /// Verifies a payload that was read at `context`. `device`: the author by the routing header; [`DeviceId::NONE`] if the relay
    /// knew none, and then any key that has signed is the author's.
    #[must_use]
    pub fn of(context: &SignedContext, device: DeviceId, payload: &[u8]) -> Self {
        let Some((body, trailer)) = split(payload) else { return Self::Unsigned };
        let Some(trailer) = Trailer::read(trailer) else { return Self::Broken };
        let is_authors = device == DeviceId::NONE || device == DeviceId::of_public_key(&trailer.public_key);
        let Ok(key) = VerifyingKey::from_bytes(&trailer.public_key) else { return Self::Broken };
        let message = signed_bytes(context, body, &trailer.seen);
        // Strict, so that all readers agree, and one by one: a batch may accept what single verification refuses.
        if is_authors && key.verify_strict(&message, &trailer.signature).is_ok() {
            Self::Signed { public_key: trailer.public_key, seen: trailer.seen }
        } else {
            Self::Broken
        }
    }

    /// Verifies a message of a group's log.
    #[must_use]
    pub fn of_message(group: GroupId, log: LogId, message: &Message) -> Self {
        Self::of(&SignedContext::of(group, log, message), message.author.device, &message.payload)
    }

    /// Returns the device that has signed; `None` if none has.
    #[must_use]
    pub fn signer(&self) -> Option<DeviceId> {
        match self {
            Self::Signed { public_key, .. } => Some(DeviceId::of_public_key(public_key)),
            Self::Unsigned | Self::Broken => None,
        }
    }
}

/// Appends the trailer to an encoded payload.
#[must_use]
pub fn sign(key: &SigningKey, context: &SignedContext, payload: &[u8], seen: SeenCheckpoint) -> Bytes {
    let signature = key.sign(&signed_bytes(context, payload, &seen));
    let mut signed = BytesMut::with_capacity(payload.len() + TRAILER_BYTES);
    signed.put_slice(payload);
    signed.put_slice(&FIELD_HEAD);
    signed.put_slice(key.verifying_key().as_bytes());
    put_seen(&mut signed, &seen);
    signed.put_slice(&signature.to_bytes());
    signed.freeze()
}

/// Returns what `public_key` has signed or claims to have signed: the payload without the trailer of this key; `None` if it ends
/// with no such trailer. The signature is not verified.
#[must_use]
pub fn without_trailer_of<'a>(public_key: &[u8; 32], payload: &'a [u8]) -> Option<&'a [u8]> {
    let (body, field) = split_tail(payload)?;
    field.starts_with(public_key).then_some(body)
}

/// Returns whether a payload ends like one with a trailer, without verifying it: false means [`Authorship::Unsigned`].
#[must_use]
pub fn ends_like_signed(payload: &[u8]) -> bool {
    split_tail(payload).is_some()
}

/// Digests messages that follow one another in one publisher's stream, for an attestation that vouches for all of them: SHA-256
/// over `client_seq u64 | type u8 | length u32 | payload` of each.
#[derive(Debug, Clone, Default)]
pub struct AttestDigest {
    hash: Sha256,
    count: u32,
}

impl AttestDigest {
    /// Adds the next message, with its payload as it is logged.
    ///
    /// # Panics
    /// If the payload has 4 GiB or more, which no message has.
    pub fn add(&mut self, client_seq: ClientSeq, content_type: ContentType, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("a message is far smaller than 4 GiB");
        self.hash.update(client_seq.0.to_be_bytes());
        self.hash.update([content_type.to_byte()]);
        self.hash.update(length.to_be_bytes());
        self.hash.update(payload);
        self.count += 1;
    }

    /// Returns how many messages were added; an attestation may name [`MAX_ATTESTED`] at most.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Returns the digest.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.hash.finalize().into()
    }
}

struct Trailer {
    public_key: [u8; 32],
    seen: SeenCheckpoint,
    signature: Signature,
}

impl Trailer {
    fn read(field: &[u8]) -> Option<Self> {
        let (public_key, rest) = field.split_first_chunk()?;
        let (seq, rest) = rest.split_first_chunk()?;
        let (hash, rest) = rest.split_first_chunk()?;
        let seen = SeenCheckpoint { seq: Seq(u64::from_be_bytes(*seq)), hash: *hash };
        Some(Self { public_key: *public_key, seen, signature: Signature::from_slice(rest).ok()? })
    }
}

/// Splits a payload into what was signed and the trailer's field; `None` if it does not end with one.
fn split(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let (body, field) = split_tail(payload)?;
    // The words of a message may end with the same bytes; a trailer stands after whole fields.
    has_whole_fields(body).then_some((body, field))
}

fn split_tail(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let (body, trailer) = payload.split_at_checked(payload.len().checked_sub(TRAILER_BYTES)?)?;
    Some((body, trailer.strip_prefix(&FIELD_HEAD)?))
}

fn has_whole_fields(mut body: &[u8]) -> bool {
    while !body.is_empty() {
        let skipped = decode_key(&mut body)
            .and_then(|(tag, wire_type)| skip_field(wire_type, tag, &mut body, DecodeContext::default()));
        if skipped.is_err() {
            return false;
        }
    }
    true
}

fn signed_bytes(context: &SignedContext, body: &[u8], seen: &SeenCheckpoint) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LABEL.len() + 49 + body.len() + 40);
    bytes.extend_from_slice(LABEL);
    bytes.extend_from_slice(context.group.as_bytes());
    bytes.put_u64(context.log.0);
    bytes.extend_from_slice(context.client.as_bytes());
    bytes.put_u64(context.client_seq.0);
    bytes.put_u8(context.content_type.to_byte());
    bytes.extend_from_slice(body);
    put_seen(&mut bytes, seen);
    bytes
}

fn put_seen(out: &mut impl bytes::BufMut, seen: &SeenCheckpoint) {
    out.put_u64(seen.seq.0);
    out.put_slice(&seen.hash);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::content::{Content, Kind};

    const CONTEXT: SignedContext = SignedContext {
        group: GroupId([1; 16]),
        log: LogId(2),
        client: ClientId([3; 16]),
        client_seq: ClientSeq(4),
        content_type: ContentType::Text,
    };

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_bytes(&[byte; 32])
    }

    fn device(key: &SigningKey) -> DeviceId {
        DeviceId::of_public_key(key.verifying_key().as_bytes())
    }

    fn payload() -> Bytes {
        Content::text("Sari", "halo semua").encode().1
    }

    #[test]
    fn a_signed_message_proves_its_author_and_reads_as_before() {
        let seen = SeenCheckpoint { seq: Seq(41), hash: [9; 32] };
        let signed = sign(&key(7), &CONTEXT, &payload(), seen);
        assert_eq!(signed.len(), payload().len() + TRAILER_BYTES);
        let public_key = key(7).verifying_key().to_bytes();
        for author in [device(&key(7)), DeviceId::NONE] {
            assert_eq!(Authorship::of(&CONTEXT, author, &signed), Authorship::Signed { public_key, seen });
        }
        assert_eq!(Content::decode(ContentType::Text, &signed), Content::text("Sari", "halo semua"));
        assert_eq!(Authorship::of(&CONTEXT, device(&key(7)), &payload()), Authorship::Unsigned);
    }

    #[test]
    fn a_signature_fits_only_where_it_was_made_for() {
        let signed = sign(&key(7), &CONTEXT, &payload(), SeenCheckpoint::NONE);
        let author = device(&key(7));
        for other in [
            SignedContext { group: GroupId([0; 16]), ..CONTEXT },
            SignedContext { log: LogId(3), ..CONTEXT },
            SignedContext { client: ClientId([0; 16]), ..CONTEXT },
            SignedContext { client_seq: ClientSeq(5), ..CONTEXT },
            SignedContext { content_type: ContentType::Edit, ..CONTEXT },
        ] {
            assert_eq!(Authorship::of(&other, author, &signed), Authorship::Broken, "{other:?}");
        }
        assert_eq!(Authorship::of(&CONTEXT, device(&key(8)), &signed), Authorship::Broken, "another's name");
    }

    #[test]
    fn no_changed_bit_goes_unnoticed() {
        let signed = sign(&key(7), &CONTEXT, &payload(), SeenCheckpoint::NONE);
        for bit in 0..signed.len() * 8 {
            let mut changed = signed.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            let found = Authorship::of(&CONTEXT, device(&key(7)), &changed);
            assert!(found.signer().is_none(), "bit {bit}: {found:?}");
        }
    }

    #[test]
    fn only_the_trailer_of_the_key_is_taken_off() {
        let signed = sign(&key(7), &CONTEXT, &payload(), SeenCheckpoint::NONE);
        let public = |byte| key(byte).verifying_key().to_bytes();
        assert_eq!(without_trailer_of(&public(7), &signed), Some(&payload()[..]));
        assert_eq!(without_trailer_of(&public(8), &signed), None);
        assert_eq!(without_trailer_of(&public(7), &payload()), None);
        assert!(ends_like_signed(&signed) && !ends_like_signed(&payload()));
    }

    #[test]
    fn words_that_end_like_a_trailer_are_no_trailer() {
        let words = [&[b'a'; 9][..], &FIELD_HEAD, &[0; FIELD_BYTES]].concat();
        let content = Content { author_name: String::new(), kind: Kind::Text(words.into()) };
        assert_eq!(Authorship::of(&CONTEXT, DeviceId::NONE, &content.encode().1), Authorship::Unsigned);
    }

    #[test]
    fn a_key_for_which_anyone_can_sign_is_refused() {
        // The neutral element as key and as R, with s = 0, satisfies the equation without cofactor for every message.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let forged = [&payload()[..], &FIELD_HEAD, &neutral, &[0; 40], &neutral, &[0; 32]].concat();
        assert_eq!(Authorship::of(&CONTEXT, DeviceId::NONE, &forged), Authorship::Broken);
    }

    #[test]
    fn a_digest_tells_apart_where_messages_end() {
        let digest = |messages: &[(u64, &[u8])]| {
            let mut digest = AttestDigest::default();
            messages.iter().for_each(|(seq, payload)| digest.add(ClientSeq(*seq), ContentType::Text, payload));
            assert_eq!(digest.count() as usize, messages.len());
            digest.finish()
        };
        let all = [digest(&[(1, b"ab"), (2, b"c")]), digest(&[(1, b"a"), (2, b"bc")]), digest(&[(1, b"ab")])];
        assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2]);
    }
}
