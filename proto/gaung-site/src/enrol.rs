//! How a service on another machine becomes one of the site: a person carries a token from the registry to it.
//!
//! The token has a secret and names the site. The service connects to the registry, which must prove that site, and sends the
//! public key that it wants certified, with a MAC under the secret: so the secret itself is never sent, and an answer to one
//! request certifies no other key. The answer has a MAC too. Where the secret is chosen before there is a site, as in a file of
//! settings for all services, that MAC alone proves the site.

use std::{
    fmt,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use gaung_proto::RelayId;
use ring::hmac;
use rustls::pki_types::UnixTime;

use crate::{
    base32,
    chain::SiteChain,
    error::TrustError,
    expected_site::ExpectedSite,
    key::{ServiceKey, ServicePublicKey},
    leaf::Leaf,
    role::Role,
    site_id::SiteId,
};

/// Time for which a token is good if nothing else is said.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(60 * 60);

const PREFIX: &str = "gaung-enrol-1.";
const LABEL: &[u8] = b"gaung-enrol-v1\0";
const ANSWER_LABEL: &[u8] = b"gaung-enrolled-v1\0";
/// Tokens that are good at one time; the one that ends first makes room.
const MAX_OPEN: usize = 16;

/// A service does not become one of the site.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnrolError {
    /// The text is no token.
    #[error("this is not a token for enrolling, which begins with {PREFIX}, nor a secret of 32 hexadecimal digits")]
    NotAToken,
    /// The registry is the site's one and is not enrolled.
    #[error("only relays and hubs are enrolled")]
    NotEnrollable,
    /// The request was made with no token that is good now.
    #[error("the token is unknown or has expired; make another with `group-registry enrol`")]
    Refused,
    /// What is to be certified is no P-256 key, or what came back does not certify it.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The token is for another site.
    #[error("the token is for the site {}", .0.code())]
    OtherSite(SiteId),
    /// The answer does not come from a registry that has the token.
    #[error("whoever answered does not have the token's secret")]
    Unproven,
    /// The chain that came back is for another key.
    #[error("the registry certified another key")]
    OtherKey,
}

/// The text that a person carries from the registry to a service: `gaung-enrol-1.` and 52 letters and digits. Or a secret alone,
/// which a person gives to both: 32 hexadecimal digits, random, because whoever poses as the registry may try guesses on a request.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolToken {
    secret: [u8; 16],
    /// `None`: a secret alone.
    site: Option<SiteId>,
}

impl EnrolToken {
    /// Returns the site that the registry has to prove; `None` for a secret alone.
    #[must_use]
    pub const fn site(&self) -> Option<SiteId> {
        self.site
    }
}

impl fmt::Display for EnrolToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.site {
            Some(site) => write!(f, "{PREFIX}{}", base32::encode(&[self.secret, *site.as_bytes()].concat())),
            None => self.secret.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

impl fmt::Debug for EnrolToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.site {
            Some(site) => write!(f, "EnrolToken(for {site})"),
            None => f.write_str("EnrolToken(for any site)"),
        }
    }
}

impl FromStr for EnrolToken {
    type Err = EnrolError;
    fn from_str(text: &str) -> Result<Self, EnrolError> {
        let text = text.trim();
        if text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let secret = u128::from_str_radix(text, 16).map_err(|_| EnrolError::NotAToken)?.to_be_bytes();
            return Ok(Self { secret, site: None });
        }
        let encoded = text.strip_prefix(PREFIX).ok_or(EnrolError::NotAToken)?;
        let bytes: [u8; 32] = base32::decode(encoded).ok_or(EnrolError::NotAToken)?;
        let (secret, site) = bytes.split_at(16);
        let sixteen = "half of 32 bytes";
        Ok(Self {
            secret: secret.try_into().expect(sixteen),
            site: Some(SiteId::from_bytes(site.try_into().expect(sixteen))),
        })
    }
}

/// What a service sends to be enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolRequest {
    /// What it will be.
    pub role: Role,
    /// Its public key, DER of SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// HMAC-SHA256 under the token's secret over `"gaung-enrol-v1"`, a zero byte, the kind (2 relay, 3 hub), the service's id and
    /// the key.
    pub mac: [u8; 32],
}

/// A service's side of enrolling.
pub struct Enrolment {
    token: EnrolToken,
    role: Role,
    key: ServiceKey,
}

impl Enrolment {
    /// Begins to enrol the holder of `key` as `role`.
    ///
    /// # Errors
    /// [`EnrolError::NotEnrollable`].
    pub fn new(token: EnrolToken, role: Role, key: ServiceKey) -> Result<Self, EnrolError> {
        kind_and_id(role)?;
        Ok(Self { token, role, key })
    }

    /// Returns what the connection to the registry has to prove.
    #[must_use]
    pub fn expected(&self) -> ExpectedSite {
        self.token.site.map_or(ExpectedSite::Any, |site| ExpectedSite::OneOf(Arc::new([site])))
    }

    /// Makes the request; it may be sent again if the answer is lost.
    ///
    /// # Errors
    /// [`EnrolError::NotEnrollable`].
    pub fn request(&self) -> Result<EnrolRequest, EnrolError> {
        let spki = self.key.public().to_spki();
        let tag = hmac::sign(&hmac_key(&self.token.secret), &mac_input(self.role, &spki)?);
        let mac = tag.as_ref().try_into().expect("HMAC-SHA256 gives 32 bytes");
        Ok(EnrolRequest { role: self.role, spki, mac })
    }

    /// Checks the answer, whose chain [`ServiceFolder::keep`](crate::ServiceFolder::keep) then keeps, and gives the leaf to serve
    /// with. `mac`: [`EnrolGrant::mac`].
    ///
    /// # Errors
    /// [`EnrolError::Trust`] if the chain does not prove the role in the token's site; [`EnrolError::Unproven`];
    /// [`EnrolError::OtherKey`].
    pub fn finish(&self, chain: &SiteChain, mac: &[u8], now: UnixTime) -> Result<Leaf, EnrolError> {
        chain.verify(&self.expected(), self.role, now)?;
        let input = answer_input(self.role, &self.key.public().to_spki(), chain.site()?)?;
        hmac::verify(&hmac_key(&self.token.secret), &input, mac).map_err(|_| EnrolError::Unproven)?;
        Leaf::new(chain, &self.key).map_err(|_| EnrolError::OtherKey)
    }
}

/// A request that was made with a good token: what to certify, and what to answer beside the chain.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolGrant {
    /// The role to certify.
    pub role: Role,
    /// The key to certify it for.
    pub key: ServicePublicKey,
    /// HMAC-SHA256 under the token's secret over `"gaung-enrolled-v1"`, a zero byte, kind, id and key as in the request, and the
    /// site's id.
    pub mac: [u8; 32],
}

/// The registry's side of enrolling: the secrets of tokens that are good now. They are kept in memory alone.
#[derive(Debug)]
pub struct EnrolSecrets {
    site: SiteId,
    open: Vec<OpenSecret>,
}

struct OpenSecret {
    secret: [u8; 16],
    /// `None`: good as long as the registry runs, for a token from its configuration.
    ends: Option<Instant>,
}

impl fmt::Debug for OpenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenSecret(until {:?})", self.ends)
    }
}

impl EnrolSecrets {
    /// Begins without any token.
    #[must_use]
    pub const fn new(site: SiteId) -> Self {
        Self { site, open: Vec::new() }
    }

    /// Makes a token of 16 random bytes. `lifetime`: usually [`TOKEN_LIFETIME`]; `None` for a token from the configuration, which
    /// does not expire. While 16 tokens are good, the one that ends first makes room.
    pub fn open(&mut self, secret: [u8; 16], lifetime: Option<Duration>, now: Instant) -> EnrolToken {
        self.expire(now);
        if self.open.len() >= MAX_OPEN {
            let first = |secret: &(usize, &OpenSecret)| (secret.1.ends.is_none(), secret.1.ends);
            if let Some(index) = self.open.iter().enumerate().min_by_key(first).map(|(index, _)| index) {
                self.open.remove(index);
            }
        }
        self.open.push(OpenSecret { secret, ends: lifetime.map(|lifetime| now + lifetime) });
        EnrolToken { secret, site: Some(self.site) }
    }

    /// Takes a token that a person chose for as long as the registry runs.
    ///
    /// # Errors
    /// [`EnrolError::OtherSite`].
    pub fn admit(&mut self, token: &EnrolToken, now: Instant) -> Result<(), EnrolError> {
        if let Some(other) = token.site.filter(|site| *site != self.site) {
            return Err(EnrolError::OtherSite(other));
        }
        self.open(token.secret, None, now);
        Ok(())
    }

    /// Checks a request: gives the role and key to issue a chain for.
    ///
    /// A token enrols any number of services while it is good, under any id that they name, also one that is in use: whoever
    /// carries it is trusted like the operator.
    ///
    /// # Errors
    /// [`EnrolError`].
    pub fn accept(&mut self, request: &EnrolRequest, now: Instant) -> Result<EnrolGrant, EnrolError> {
        self.expire(now);
        let input = mac_input(request.role, &request.spki)?;
        let mut keys = self.open.iter().map(|open| hmac_key(&open.secret));
        let key = keys.find(|key| hmac::verify(key, &input, &request.mac).is_ok()).ok_or(EnrolError::Refused)?;
        let tag = hmac::sign(&key, &answer_input(request.role, &request.spki, self.site)?);
        let mac = tag.as_ref().try_into().expect("HMAC-SHA256 gives 32 bytes");
        Ok(EnrolGrant { role: request.role, key: ServicePublicKey::from_spki(&request.spki)?, mac })
    }

    fn expire(&mut self, now: Instant) {
        self.open.retain(|open| open.ends.is_none_or(|ends| now < ends));
    }
}

fn hmac_key(secret: &[u8; 16]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret)
}

fn mac_input(role: Role, spki: &[u8]) -> Result<Vec<u8>, EnrolError> {
    let (kind, id) = kind_and_id(role)?;
    Ok([LABEL, &[kind], id.as_bytes(), spki].concat())
}

fn answer_input(role: Role, spki: &[u8], site: SiteId) -> Result<Vec<u8>, EnrolError> {
    let (kind, id) = kind_and_id(role)?;
    Ok([ANSWER_LABEL, &[kind], id.as_bytes(), spki, site.as_bytes()].concat())
}

/// Returns the number of a role's kind, as in discovery, and the service's id.
const fn kind_and_id(role: Role) -> Result<(u8, RelayId), EnrolError> {
    match role {
        Role::Registry => Err(EnrolError::NotEnrollable),
        Role::Relay(id) => Ok((2, id)),
        Role::Hub(id) => Ok((3, id)),
    }
}
