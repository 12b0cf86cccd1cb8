//! Signs messages as their author while they come as fast as a person writes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use gaung_engine::PublishEntry;
use gaung_proto::{
    ClientId, ClientSeq, ContentType, GroupId, LogId,
    authorship::{self, SeenCheckpoint, SignedContext, TRAILER_BYTES, without_trailer_of},
    limits::MAX_PAYLOAD,
};

/// Appends the trailer of this device's key to messages, and knows which it has signed.
#[derive(Debug)]
pub(super) struct MessageSigner {
    key: SigningKey,
    stream: SignedStream,
    rate: SigningRate,
}

/// The stream of messages that signatures are bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SignedStream {
    pub(super) group: GroupId,
    pub(super) log: LogId,
    pub(super) client: ClientId,
}

impl MessageSigner {
    pub(super) const fn new(key: SigningKey, stream: SignedStream) -> Self {
        Self { key, stream, rate: SigningRate { paid_until: None, is_fast: false } }
    }

    /// Signs a payload, unless messages come too fast for it or it has no room for a trailer.
    pub(super) fn sign(
        &mut self,
        now: Instant,
        client_seq: ClientSeq,
        content_type: ContentType,
        payload: Bytes,
    ) -> Bytes {
        // Every message counts towards the rate, also one without room.
        if !self.rate.allows(now) || payload.len() + TRAILER_BYTES > MAX_PAYLOAD {
            return payload;
        }
        self.sign_always(client_seq, content_type, &payload)
    }

    /// Signs a payload however fast messages come.
    pub(super) fn sign_always(&self, client_seq: ClientSeq, content_type: ContentType, body: &[u8]) -> Bytes {
        let SignedStream { group, log, client } = self.stream;
        let context = SignedContext { group, log, client, client_seq, content_type };
        authorship::sign(&self.key, &context, body, SeenCheckpoint::NONE)
    }

    /// Returns whether this device has signed the payload.
    pub(super) fn has_signed(&self, payload: &[u8]) -> bool {
        without_trailer_of(self.key.verifying_key().as_bytes(), payload).is_some()
    }

    /// Binds signatures to another stream from now on; true if it differs from the one before.
    pub(super) fn bind(&mut self, stream: SignedStream) -> bool {
        std::mem::replace(&mut self.stream, stream) != stream
    }

    /// Signs a message again that was signed for another stream; `None` if it was not signed.
    pub(super) fn sign_again(&self, entry: &PublishEntry) -> Option<Bytes> {
        let body = without_trailer_of(self.key.verifying_key().as_bytes(), &entry.payload)?;
        Some(self.sign_always(entry.client_seq, entry.content_type, body))
    }
}

/// Tells people's messages from pipelines by their rate.
///
/// A signature costs 20 µs and 139 bytes, which a pipeline of millions of messages cannot pay. Once messages come faster than
/// [`PER_SECOND`] they are taken for a pipeline until they pause, so that a pipeline is not signed here and there.
#[derive(Debug)]
struct SigningRate {
    /// When all messages so far are paid for, at [`PER_SECOND`].
    paid_until: Option<Instant>,
    is_fast: bool,
}

/// Messages a second that are signed one by one, and how many at once after a pause.
const PER_SECOND: u32 = 20;

impl SigningRate {
    fn allows(&mut self, now: Instant) -> bool {
        let burst = Duration::from_secs(1);
        let debt = self.paid_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        if debt.is_zero() {
            self.is_fast = false;
        }
        let debt = debt + burst / PER_SECOND;
        self.is_fast |= debt > burst;
        self.paid_until = Some(now + debt.min(burst));
        !self.is_fast
    }
}

#[cfg(test)]
mod tests {
    use gaung_proto::{Content, DeviceId, authorship::Authorship};

    use super::*;

    const STREAM: SignedStream = SignedStream { group: GroupId([1; 16]), log: LogId(2), client: ClientId([3; 16]) };

    fn signer() -> MessageSigner {
        MessageSigner::new(SigningKey::from_bytes(&[7; 32]), STREAM)
    }

    fn authorship(
        stream: SignedStream,
        client_seq: ClientSeq,
        content_type: ContentType,
        payload: &[u8],
    ) -> Authorship {
        let SignedStream { group, log, client } = stream;
        Authorship::of(&SignedContext { group, log, client, client_seq, content_type }, DeviceId::NONE, payload)
    }

    #[test]
    fn a_signed_message_is_signed_again_for_another_log() {
        let mut signer = signer();
        let (content_type, payload) = Content::text("Sari", "halo").encode();
        let client_seq = ClientSeq(4);
        let signed = signer.sign(Instant::now(), client_seq, content_type, payload.clone());
        assert!(signer.has_signed(&signed) && !signer.has_signed(&payload));
        assert!(authorship(STREAM, client_seq, content_type, &signed).signer().is_some());
        let other = SignedStream { log: LogId(3), ..STREAM };
        assert!(signer.bind(other) && !signer.bind(other));
        let entry = |payload| PublishEntry { client_seq, content_type, payload };
        let again = signer.sign_again(&entry(signed.clone())).expect("it was signed");
        assert!(authorship(other, client_seq, content_type, &again).signer().is_some());
        assert_eq!(
            (again.len(), authorship(other, client_seq, content_type, &signed)),
            (signed.len(), Authorship::Broken)
        );
        assert!(signer.sign_again(&entry(payload)).is_none());
    }

    #[test]
    fn a_message_without_room_for_the_trailer_goes_without() {
        let mut signer = signer();
        let sign = |signer: &mut MessageSigner, len| {
            signer.sign(Instant::now(), ClientSeq(1), ContentType::Text, vec![0; len].into()).len()
        };
        assert_eq!(sign(&mut signer, MAX_PAYLOAD - TRAILER_BYTES), MAX_PAYLOAD);
        assert_eq!(sign(&mut signer, MAX_PAYLOAD - TRAILER_BYTES + 1), MAX_PAYLOAD - TRAILER_BYTES + 1);
    }

    #[test]
    fn a_pipeline_is_not_signed_one_by_one_until_it_pauses() {
        let start = Instant::now();
        let mut rate = SigningRate { paid_until: None, is_fast: false };
        let at = |rate: &mut SigningRate, ms: u64| rate.allows(start + Duration::from_millis(ms));
        let typed = (0..100).filter(|n| at(&mut rate, n * 100)).count();
        assert_eq!(typed, 100, "ten a second are a person's");
        let piped = (0..5_000).filter(|n| at(&mut rate, 20_000 + n)).count();
        assert!((20..=22).contains(&piped), "{piped} of a pipeline");
        assert!(!at(&mut rate, 25_900) && at(&mut rate, 28_000), "a pause of a second makes it a person's again");
    }
}
