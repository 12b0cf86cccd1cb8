//! The client's check of a server: the right site, the right role.

use std::sync::Arc;

use rustls::{
    DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use webpki::{EndEntityCert, KeyUsage};

use super::tls12_refused;
use crate::{
    chain,
    error::TrustError,
    role::Role,
    site_id::{SiteCode, SiteId},
};

/// The sites that a client accepts on a connection.
#[derive(Debug, Clone)]
pub enum ExpectedSite {
    /// The site with this code alone.
    Pinned(SiteCode),
    /// Any of these sites.
    OneOf(Arc<[SiteId]>),
    /// Any site: the first contact, made without a code.
    Any,
}

impl ExpectedSite {
    /// Checks a site that has been met.
    ///
    /// # Errors
    /// [`TrustError::OtherSite`].
    pub fn check(&self, shown: SiteId) -> Result<(), TrustError> {
        let (accepted, pinned) = match self {
            Self::Pinned(code) => (shown.code() == *code, Some(*code)),
            Self::OneOf(sites) => (sites.contains(&shown), None),
            Self::Any => (true, None),
        };
        if accepted { Ok(()) } else { Err(TrustError::OtherSite { shown, pinned }) }
    }
}

/// Accepts a chain to the root of an expected site whose leaf has the role that was connected to.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    expected: ExpectedSite,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    pub(crate) const fn new(expected: ExpectedSite, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { expected, algorithms }
    }

    pub(crate) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), TrustError> {
        let role = role_of(name).ok_or(TrustError::NotARole)?;
        let [issuer, root] = rest else { return Err(TrustError::Shape) };
        chain::check_sizes(&[leaf.clone(), issuer.clone(), root.clone()])?;
        let leaf = EndEntityCert::try_from(leaf)?;
        let shown = chain::site_of(root)?;
        // The chain comes first: only who belongs to a site is reported as belonging to it.
        chain::verify(&leaf, &rest[..1], root, &KeyUsage::server_auth(), &self.algorithms, now)?;
        self.expected.check(shown)?;
        leaf.verify_is_valid_for_subject_name(name).map_err(|_| TrustError::OtherRole(role))
    }
}

fn role_of(name: &ServerName<'_>) -> Option<Role> {
    let ServerName::DnsName(name) = name else { return None };
    Role::of_name(name.as_ref())
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(leaf, rest, name, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12_refused())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
