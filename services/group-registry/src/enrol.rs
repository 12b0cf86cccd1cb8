//! Makes services of other machines services of the site: their keys are certified for a token, and again for a certificate.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use gaung_site::{
    AuthorityError, EnrolError, EnrolRequest, EnrolSecrets, EnrolToken, LocalName, PeerIdentity, Role,
    ServicePublicKey, SiteAuthority, SiteChain, TOKEN_LIFETIME,
};
use rustls::pki_types::UnixTime;
use service_kit::share::{Origin, RateLimit, TooSoon};

use crate::limits;

/// Calls a second of one address, each of which costs a signature.
const CALLS_PER_SECOND: f64 = 1.0;
/// Calls of one address at once: a machine that runs a lab starts dozens of services at a time.
const CALLS_AT_ONCE: f64 = 64.0;

/// A service's key, to be certified for its role.
pub(crate) struct EnrolCall {
    pub(crate) role: Role,
    pub(crate) key: ServicePublicKey,
    /// `None`: the connection's certificate has to prove the role.
    pub(crate) mac: Option<[u8; 32]>,
    pub(crate) names: Vec<LocalName>,
}

/// Why a key is not certified.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolRefusal {
    #[error("enrolling needs TLS, by which the registry proves the site")]
    Plaintext,
    #[error(transparent)]
    Token(#[from] EnrolError),
    #[error("the connection does not prove this service; give a token, made with `group-registry enrol`")]
    NotProven,
    #[error(transparent)]
    TooSoon(#[from] TooSoon),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// The tokens that are good now, and the authority that certifies for them.
#[derive(Debug)]
pub(crate) struct Enrolments {
    authority: Arc<SiteAuthority>,
    secrets: Mutex<EnrolSecrets>,
    limit: RateLimit<Origin>,
}

impl Enrolments {
    /// Begins with the token of the settings, if there is one.
    ///
    /// # Errors
    /// If it is for another site.
    pub(crate) fn new(
        authority: Arc<SiteAuthority>,
        token: Option<&EnrolToken>,
        now: Instant,
    ) -> Result<Self, EnrolError> {
        let mut secrets = EnrolSecrets::new(authority.id());
        token.map_or(Ok(()), |token| secrets.admit(token, now))?;
        let limit = RateLimit::new(CALLS_PER_SECOND, CALLS_AT_ONCE);
        Ok(Self { authority, secrets: Mutex::new(secrets), limit })
    }

    /// Makes a token that is good for an hour.
    pub(crate) fn open_token(&self, now: Instant) -> EnrolToken {
        self.secrets().open(rand::random(), Some(TOKEN_LIFETIME), now)
    }

    /// Certifies a service; returns its chain and the MAC of the answer, if the call had one.
    ///
    /// `peer`: who the caller has proven to be; `None` without TLS. `from`: the address that is charged.
    pub(crate) fn enrol(
        &self,
        call: EnrolCall,
        peer: Option<PeerIdentity>,
        from: Option<IpAddr>,
        (now, unix): (Instant, UnixTime),
    ) -> Result<(SiteChain, Option<[u8; 32]>), EnrolRefusal> {
        limits::take(&self.limit, from, now)?;
        let peer = peer.ok_or(EnrolRefusal::Plaintext)?;
        let mac = match call.mac {
            Some(mac) => {
                let request = EnrolRequest { role: call.role, spki: call.key.to_spki(), mac };
                Some(self.secrets().accept(&request, now)?.mac)
            }
            None if peer == PeerIdentity::Service(call.role) => None,
            None => return Err(EnrolRefusal::NotProven),
        };
        Ok((self.authority.issue(call.role, &call.key, &call.names, unix)?, mac))
    }

    fn secrets(&self) -> MutexGuard<'_, EnrolSecrets> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use gaung_proto::RelayId;
    use gaung_site::{Enrolment, ServiceKey};

    use super::*;

    const RELAY: Role = Role::Relay(RelayId([7; 16]));
    const HUB: Role = Role::Hub(RelayId([7; 16]));
    const UNIX: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1_796_000_000));

    fn enrolments(token: Option<&EnrolToken>) -> Enrolments {
        Enrolments::new(Arc::new(SiteAuthority::create().unwrap()), token, Instant::now()).unwrap()
    }

    fn by_token(token: &EnrolToken) -> (Enrolment, EnrolCall) {
        let key = ServiceKey::generate().unwrap();
        let public = key.public();
        let enrolment = Enrolment::new(token.clone(), RELAY, key).unwrap();
        let mac = Some(enrolment.request().unwrap().mac);
        (enrolment, EnrolCall { role: RELAY, key: public, mac, names: Vec::new() })
    }

    fn renewal(role: Role) -> EnrolCall {
        EnrolCall { role, key: ServiceKey::generate().unwrap().public(), mac: None, names: Vec::new() }
    }

    #[test]
    fn a_token_of_the_registry_or_of_its_settings_certifies_a_service() {
        let now = Instant::now();
        let secret: EnrolToken = "5e".repeat(16).parse().unwrap();
        let enrolments = enrolments(Some(&secret));
        for token in [secret, enrolments.open_token(now)] {
            let (enrolment, call) = by_token(&token);
            let answer = enrolments.enrol(call, Some(PeerIdentity::Unproven), None, (now, UNIX)).unwrap();
            enrolment.finish(&answer.0, &answer.1.unwrap(), UNIX).unwrap();
            let (_, call) = by_token(&token);
            let refused = enrolments.enrol(call, None, None, (now, UNIX)).err();
            assert!(matches!(refused, Some(EnrolRefusal::Plaintext)), "{refused:?}");
        }
        let (_, call) = by_token(&"00".repeat(16).parse().unwrap());
        let refused = enrolments.enrol(call, Some(PeerIdentity::Service(RELAY)), None, (now, UNIX)).err();
        assert!(matches!(refused, Some(EnrolRefusal::Token(EnrolError::Refused))), "{refused:?}");
    }

    #[test]
    fn a_service_renews_its_own_certificate_and_no_other() {
        let (enrolments, at) = (enrolments(None), (Instant::now(), UNIX));
        let renewed = enrolments.enrol(renewal(RELAY), Some(PeerIdentity::Service(RELAY)), None, at).unwrap();
        renewed.0.verify(&gaung_site::ExpectedSite::Any, RELAY, UNIX).unwrap();
        assert_eq!(renewed.1, None);
        for peer in [PeerIdentity::Unproven, PeerIdentity::Service(HUB), PeerIdentity::Service(Role::Registry)] {
            let refused = enrolments.enrol(renewal(RELAY), Some(peer), None, at).err();
            assert!(matches!(refused, Some(EnrolRefusal::NotProven)), "{peer:?}: {refused:?}");
        }
    }

    #[test]
    fn an_address_that_calls_without_end_is_refused_and_no_other() {
        let (enrolments, now) = (enrolments(None), Instant::now());
        let call = |last: u8| {
            let from = Some(IpAddr::from([10, 0, 0, last]));
            enrolments.enrol(renewal(RELAY), Some(PeerIdentity::Unproven), from, (now, UNIX)).err().unwrap()
        };
        let taken = (0..1000).filter(|_| !matches!(call(1), EnrolRefusal::TooSoon(_))).count();
        assert_eq!(taken, CALLS_AT_ONCE as usize);
        assert!(matches!(call(2), EnrolRefusal::NotProven));
    }
}
