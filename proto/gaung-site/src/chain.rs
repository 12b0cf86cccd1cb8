//! A service's certificates: leaf, issuer and root, in the order in which TLS sends them.

use std::time::Duration;

use rustls::{
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyUsage, anchor_from_trusted_cert};

use crate::{crypto, error::TrustError, expected_site::ExpectedSite, role::Role, site_id::SiteId};

/// Validity of a leaf before and after its issue, seconds. Apple's systems refuse more than 825 days in all.
pub(crate) const LEAF_VALIDITY: u64 = 400 * 24 * 60 * 60;

/// Certificates of a chain: leaf, issuer, root.
const CERTIFICATES: usize = 3;
/// Largest certificate read, bytes: one with dozens of names has less than half of it.
const MAX_CERTIFICATE_BYTES: usize = 4096;
/// Dates that may be corrected in one chain: the leaf's and the issuer's.
const CORRECTED_DATES: usize = 2;

/// The certificates by which a service proves its role: its leaf, the site's issuer, the site's root.
///
/// The root is included, so that a client that knows only a [`SiteCode`](crate::SiteCode) can check the root by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteChain(pub(crate) [CertificateDer<'static>; CERTIFICATES]);

impl SiteChain {
    /// Takes certificates in DER as they were received. What they say is not checked.
    ///
    /// # Errors
    /// [`TrustError::Shape`] if they are not three, or one is too large.
    pub fn from_der(certificates: &[impl AsRef<[u8]>]) -> Result<Self, TrustError> {
        let certificates: &[_; CERTIFICATES] = certificates.try_into().map_err(|_| TrustError::Shape)?;
        let owned = certificates.each_ref().map(|der| CertificateDer::from(der.as_ref().to_vec()));
        check_sizes(&owned)?;
        Ok(Self(owned))
    }

    /// Returns the certificates, the leaf first.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }

    /// Returns the site that the root belongs to, whether or not the rest fits.
    ///
    /// # Errors
    /// [`TrustError::Chain`] if the root is no certificate.
    pub fn site(&self) -> Result<SiteId, TrustError> {
        site_of(&self.0[2])
    }

    /// Returns when the leaf was issued, by the issuer's clock; `None` if the chain does not verify, or that clock was before 1971.
    #[must_use]
    pub fn issued(&self) -> Option<UnixTime> {
        let [leaf, rest @ .., root] = &self.0;
        let leaf = EndEntityCert::try_from(leaf).ok()?;
        let anchors = [anchor_from_trusted_cert(root).ok()?];
        let algorithms = crypto::provider().signature_verification_algorithms;
        let (beginning, usage) = (UnixTime::since_unix_epoch(Duration::ZERO), KeyUsage::server_auth());
        // The parser tells a date only if it excludes the one that is asked for.
        match leaf.verify_for_usage(algorithms.all, &anchors, rest, beginning, usage, None, None) {
            Err(webpki::Error::CertNotValidYet { not_before, .. }) => {
                Some(UnixTime::since_unix_epoch(Duration::from_secs(not_before.as_secs() + LEAF_VALIDITY)))
            }
            Ok(_) | Err(_) => None,
        }
    }

    /// Verifies that the chain proves `role` in an expected site, as a client does in a handshake.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn verify(&self, expected: &ExpectedSite, role: Role, now: UnixTime) -> Result<(), TrustError> {
        let algorithms = crypto::provider().signature_verification_algorithms;
        let [leaf, rest @ ..] = &self.0;
        verify_server(leaf, rest, &role.server_name(), expected, &algorithms, now)
    }
}

/// Refuses certificates that are too large to be a site's.
pub(crate) fn check_sizes(certificates: &[CertificateDer<'_>]) -> Result<(), TrustError> {
    let fits = certificates.iter().all(|certificate| certificate.len() <= MAX_CERTIFICATE_BYTES);
    if fits { Ok(()) } else { Err(TrustError::Shape) }
}

/// Returns the site whose root `root` is.
pub(crate) fn site_of(root: &CertificateDer<'_>) -> Result<SiteId, TrustError> {
    let parsed = EndEntityCert::try_from(root)?;
    Ok(SiteId::of_root_key(&parsed.subject_public_key_info()))
}

/// Verifies that a server's certificates prove the role that `name` names, in an expected site.
pub(crate) fn verify_server(
    leaf: &CertificateDer<'_>,
    rest: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    expected: &ExpectedSite,
    algorithms: &WebPkiSupportedAlgorithms,
    now: UnixTime,
) -> Result<(), TrustError> {
    let role = role_of(name).ok_or(TrustError::NotARole)?;
    let [issuer, root] = rest else { return Err(TrustError::Shape) };
    check_sizes(&[leaf.clone(), issuer.clone(), root.clone()])?;
    let leaf = EndEntityCert::try_from(leaf)?;
    let shown = site_of(root)?;
    // The chain comes first: only who belongs to a site is reported as belonging to it.
    verify(&leaf, &rest[..1], root, &KeyUsage::server_auth(), algorithms, now)?;
    expected.check(shown)?;
    leaf.verify_is_valid_for_subject_name(name).map_err(|_| TrustError::OtherRole(role))
}

fn role_of(name: &ServerName<'_>) -> Option<Role> {
    let ServerName::DnsName(name) = name else { return None };
    Role::of_name(name.as_ref())
}

/// Verifies that `leaf` was issued under `root` for `usage`: signatures, name constraints, usages.
///
/// Dates decide nothing: one that excludes `now` is taken as a wrong clock, here or where the leaf was issued, and the chain is
/// verified at that date instead. Whoever holds an old leaf's key has the rights of its service until the registry lists it no
/// more.
pub(crate) fn verify(
    leaf: &EndEntityCert<'_>,
    intermediates: &[CertificateDer<'_>],
    root: &CertificateDer<'_>,
    usage: &impl ExtendedKeyUsageValidator,
    algorithms: &WebPkiSupportedAlgorithms,
    now: UnixTime,
) -> Result<(), TrustError> {
    let anchors = [anchor_from_trusted_cert(root)?];
    let mut at = now;
    for _ in 0..CORRECTED_DATES {
        match leaf.verify_for_usage(algorithms.all, &anchors, intermediates, at, usage, None, None) {
            Ok(_) => return Ok(()),
            Err(webpki::Error::CertExpired { not_after, .. }) => at = not_after,
            Err(webpki::Error::CertNotValidYet { not_before, .. }) => at = not_before,
            Err(error) => return Err(error.into()),
        }
    }
    leaf.verify_for_usage(algorithms.all, &anchors, intermediates, at, usage, None, None)?;
    Ok(())
}
