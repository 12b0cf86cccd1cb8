//! A service's check of those who connect: devices by their key, services of the site by their chain, others unproven.

use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use webpki::{EndEntityCert, KeyUsage};

use super::tls12_refused;
use crate::{chain, error::TrustError, peer::PeerIdentity};

/// Accepts any device's key and the site's own services.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    root: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientVerifier {
    pub(super) const fn new(root: CertificateDer<'static>, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { root, algorithms }
    }

    fn verify(&self, leaf: &CertificateDer<'_>, rest: &[CertificateDer<'_>], now: UnixTime) -> Result<(), TrustError> {
        // The issuer and, if it was sent, the root.
        if rest.len() > 2 {
            return Err(TrustError::Shape);
        }
        chain::check_sizes(rest)?;
        chain::check_sizes(std::slice::from_ref(leaf))?;
        let leaf = EndEntityCert::try_from(leaf)?;
        match PeerIdentity::of_certificate(&leaf)? {
            // Its certificate is self-signed; that it has the key is what the handshake's signature proves.
            PeerIdentity::Device { .. } | PeerIdentity::Unproven => Ok(()),
            PeerIdentity::Service(_) => {
                chain::verify(&leaf, rest, &self.root, &KeyUsage::client_auth(), &self.algorithms, now)
            }
        }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(leaf, rest, now)?;
        Ok(ClientCertVerified::assertion())
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
