//! Vouches for messages that were not signed one by one.

use std::time::{Duration, Instant};

use gaung_proto::{
    ClientSeq, Content, ContentType, Kind,
    authorship::{AttestDigest, MAX_ATTESTED},
};

/// Digests messages once they are logged, and says when to publish an attestation of them.
///
/// A message that was refused or given up is in no log, so an attestation that counted it would vouch for nothing.
#[derive(Debug, Default)]
pub(super) struct Attestor {
    digest: AttestDigest,
    /// The first message of the digest, and when it was added.
    first: Option<(ClientSeq, Instant)>,
}

/// How long a logged message may wait for its attestation: short for readers, who show it as pending meanwhile, and long enough
/// that a signature serves many.
const MAX_WAIT: Duration = Duration::from_millis(50);

impl Attestor {
    /// Adds the next logged message of the stream; it follows the one before without a hole.
    pub(super) fn add(&mut self, now: Instant, client_seq: ClientSeq, content_type: ContentType, payload: &[u8]) {
        self.first.get_or_insert((client_seq, now));
        self.digest.add(client_seq, content_type, payload);
    }

    /// Returns the attestation of what was added if it is full or due.
    pub(super) fn poll_due(&mut self, now: Instant) -> Option<Content> {
        let is_due = self.digest.count() >= MAX_ATTESTED || self.poll_timeout().is_some_and(|due| due <= now);
        if is_due { self.take() } else { None }
    }

    /// Returns the attestation of what was added, if anything was.
    pub(super) fn take(&mut self) -> Option<Content> {
        let (first, _) = self.first.take()?;
        let digest = std::mem::take(&mut self.digest);
        let (count, digest) = (digest.count(), digest.finish().to_vec().into());
        Some(Content { author_name: String::new(), kind: Kind::Attest { first, count, digest } })
    }

    /// Forgets what was added: it is in another log, or under another client.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns whether nothing waits for an attestation.
    pub(super) const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Returns when the attestation is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.first.map(|(_, since)| since + MAX_WAIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attestation_is_due_when_it_is_full_or_old() {
        let (mut attestor, start) = (Attestor::default(), Instant::now());
        attestor.add(start, ClientSeq(7), ContentType::Text, b"x");
        assert_eq!(attestor.poll_due(start), None);
        let attested = attestor.poll_due(start + MAX_WAIT).map(|content| content.kind);
        assert!(matches!(attested, Some(Kind::Attest { first: ClientSeq(7), count: 1, .. })), "{attested:?}");
        assert!(attestor.is_empty() && attestor.poll_timeout().is_none());
        for number in 0..u64::from(MAX_ATTESTED) {
            assert_eq!(attestor.poll_due(start), None);
            attestor.add(start, ClientSeq(100 + number), ContentType::Text, b"x");
        }
        let attested = attestor.poll_due(start).map(|content| content.kind);
        assert!(
            matches!(attested, Some(Kind::Attest { first: ClientSeq(100), count: MAX_ATTESTED, .. })),
            "{attested:?}"
        );
    }
}
