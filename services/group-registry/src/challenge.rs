//! Nonces of signed calls. Each is valid for 60 s and for one call; a retry of that call gets the outcome of the first.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_proto::{
    GroupId,
    pb::registry as pb,
    signing::{Method, SigningError},
};
use sha2::{Digest as _, Sha256};

use service_kit::share::TooSoon;

use crate::group::Group;

/// How long a nonce is valid.
pub const LIFETIME: Duration = Duration::from_secs(60);
/// Most calls that are remembered; each takes about 200 bytes.
const MAX_USED: usize = 64 * 1024;
const NONCE_BYTES: usize = 32;
type Nonce = [u8; NONCE_BYTES];

/// Why a signed call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// See [`SigningError`].
    #[error("{0}; sign the call with the device's own key")]
    Signature(#[from] SigningError),
    /// The nonce is too old, or of another registry.
    #[error("the nonce has expired or is not this registry's; get a new one with GetChallenge and sign again")]
    NonceExpired,
    /// Another call used the nonce.
    #[error("the nonce was used for another call; get a new one with GetChallenge and sign again")]
    NonceUsed,
    /// The call is for another device than the one that signed it.
    #[error(
        "the call is for another device than the one that signed it; sign it with the key of the device that it names"
    )]
    OtherDevice,
    /// The table of used nonces is full.
    #[error("too many signed calls in the last minute; try again in a moment")]
    Full,
    /// See [`TooSoon`].
    #[error(transparent)]
    TooSoon(#[from] TooSoon),
}

/// A call with its signature, not verified yet.
#[derive(Debug, Clone)]
pub struct SignedCall {
    /// The method that is called.
    pub method: Method,
    /// The group; zero for methods that have none.
    pub group: GroupId,
    /// What the signature covers besides the group: an invite code or limits, or nothing.
    pub subject: String,
    /// The signature, not verified yet.
    pub signature: pb::DeviceSignature,
    /// The caller's address; `None` for this process.
    pub from: Option<IpAddr>,
}

/// The outcome of a signed call, which its retries get too.
#[derive(Debug, Clone)]
pub(crate) enum CallOutcome {
    Done,
    Group(Arc<Group>),
}

/// Issues nonces without storing them: they carry their expiry and a keyed hash. Only used ones are stored.
#[derive(Debug)]
pub(crate) struct Challenges {
    secret: [u8; 32],
    started: Instant,
    used: Mutex<UsedNonces>,
}

#[derive(Debug, Default)]
struct UsedNonces {
    calls: HashMap<Nonce, UsedNonce>,
    order: VecDeque<(Instant, Nonce)>,
}

#[derive(Debug)]
struct UsedNonce {
    digest: [u8; 32],
    outcome: CallOutcome,
}

impl Challenges {
    pub(crate) fn new(started: Instant) -> Self {
        Self { secret: rand::random(), started, used: Mutex::default() }
    }

    pub(crate) fn issue(&self, now: Instant) -> Bytes {
        let expires = self.ms(now + LIFETIME);
        let body = [expires.to_be_bytes(), rand::random::<[u8; 8]>()].concat();
        [body.as_slice(), &self.mac(&body)].concat().into()
    }

    /// Checks the nonce of a call. Returns the outcome if this is a retry; `None` if the call must run.
    pub(crate) fn begin(&self, now: Instant, nonce: &[u8], signature: &[u8]) -> Result<Option<CallOutcome>, CallError> {
        let nonce: Nonce = nonce.try_into().map_err(|_| CallError::NonceExpired)?;
        let digest: [u8; 32] = Sha256::digest(signature).into();
        let expires = self.expiry(&nonce).ok_or(CallError::NonceExpired)?;
        let mut used = self.used();
        while used.order.front().is_some_and(|(until, _)| *until < now) {
            if let Some((_, old)) = used.order.pop_front() {
                used.calls.remove(&old);
            }
        }
        if let Some(call) = used.calls.get(&nonce) {
            return if call.digest == digest { Ok(Some(call.outcome.clone())) } else { Err(CallError::NonceUsed) };
        }
        if expires < now {
            return Err(CallError::NonceExpired);
        }
        if used.calls.len() >= MAX_USED {
            return Err(CallError::Full);
        }
        Ok(None)
    }

    /// Remembers the outcome of a call. A call that failed changed nothing, so it is not remembered and may run again.
    pub(crate) fn finish(&self, now: Instant, nonce: &[u8], signature: &[u8], outcome: &CallOutcome) {
        let Ok(nonce) = nonce.try_into() else { return };
        let mut used = self.used();
        used.calls.insert(nonce, UsedNonce { digest: Sha256::digest(signature).into(), outcome: outcome.clone() });
        // Longer than the nonce itself, so that a repeat finds the outcome; and in the order of use.
        used.order.push_back((now + 2 * LIFETIME, nonce));
    }

    fn expiry(&self, nonce: &Nonce) -> Option<Instant> {
        let (body, mac) = nonce.split_at(16);
        let expires = u64::from_be_bytes(*body.first_chunk()?);
        (mac == self.mac(body)).then(|| self.started + Duration::from_millis(expires))
    }

    fn ms(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }

    /// Computes the keyed hash. The input has one length, so a plain hash of secret and input is sound.
    fn mac(&self, body: &[u8]) -> [u8; 16] {
        let digest = Sha256::new().chain_update(self.secret).chain_update(body).finalize();
        *digest.first_chunk().expect("a SHA-256 digest has 32 bytes")
    }

    fn used(&self) -> MutexGuard<'_, UsedNonces> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_nonce_serves_one_call_and_its_repeats_for_a_minute() {
        let now = Instant::now();
        let challenges = Challenges::new(now);
        let nonce: Nonce = challenges.issue(now)[..].try_into().unwrap();
        assert!(challenges.begin(now, &nonce, b"one").unwrap().is_none());
        assert!(challenges.begin(now, &nonce, b"one").unwrap().is_none(), "it had not finished");
        challenges.finish(now, &nonce, b"one", &CallOutcome::Done);
        assert!(matches!(challenges.begin(now, &nonce, b"one"), Ok(Some(CallOutcome::Done))));
        assert_eq!(challenges.begin(now, &nonce, b"two").unwrap_err(), CallError::NonceUsed);

        let other: Nonce = challenges.issue(now)[..].try_into().unwrap();
        let late = now + LIFETIME + Duration::from_millis(1);
        assert_eq!(challenges.begin(late, &other, b"one").unwrap_err(), CallError::NonceExpired);
        assert_eq!(challenges.begin(now, &[7; 32], b"one").unwrap_err(), CallError::NonceExpired, "made up");
        assert!(challenges.begin(now + 3 * LIFETIME, &nonce, b"one").is_err());
        assert!(challenges.used().calls.is_empty(), "old calls are forgotten");
    }
}
