//! P-256 keys of services. Devices have Ed25519 keys, so the two are never taken for each other.

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::error::{AuthorityError, TrustError};

/// Bytes of an uncompressed point of P-256.
const POINT_BYTES: usize = 65;
/// What stands before the point in DER of SubjectPublicKeyInfo (RFC 5480), with the byte that says "uncompressed".
const SPKI_PREFIX: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

/// The private key of a service.
pub struct ServiceKey(pub(crate) KeyPair);

impl ServiceKey {
    /// Makes a key by the operating system's generator.
    ///
    /// # Errors
    /// [`AuthorityError::Signing`] if that generator fails.
    pub fn generate() -> Result<Self, AuthorityError> {
        Ok(Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?))
    }

    /// Reads a key that was kept, in PKCS #8.
    ///
    /// # Errors
    /// [`AuthorityError::Signing`] if it is none.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, AuthorityError> {
        let der = PrivatePkcs8KeyDer::from(der);
        Ok(Self(KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256)?))
    }

    /// Returns the key in PKCS #8.
    #[must_use]
    pub fn to_pkcs8(&self) -> &[u8] {
        self.0.serialized_der()
    }

    /// Returns the public half.
    #[must_use]
    pub fn public(&self) -> ServicePublicKey {
        let point = self.0.public_key_raw().try_into().expect("a P-256 key is an uncompressed point");
        ServicePublicKey(point)
    }

    pub(crate) fn to_rustls(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.to_pkcs8().to_vec()).into()
    }
}

/// The public key of a service, as a certificate is asked for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ServicePublicKey([u8; POINT_BYTES]);

impl ServicePublicKey {
    /// Reads DER of SubjectPublicKeyInfo. That the point lies on the curve is not checked: nobody could use its certificate.
    ///
    /// # Errors
    /// [`TrustError::Unidentified`] if it is not an uncompressed P-256 key in the one form that DER allows.
    pub fn from_spki(der: &[u8]) -> Result<Self, TrustError> {
        let (prefix, _) = der.split_first_chunk().ok_or(TrustError::Unidentified)?;
        let point = der[SPKI_PREFIX.len() - 1..].try_into().map_err(|_| TrustError::Unidentified)?;
        if *prefix == SPKI_PREFIX { Ok(Self(point)) } else { Err(TrustError::Unidentified) }
    }

    /// Returns DER of SubjectPublicKeyInfo, 91 bytes.
    #[must_use]
    pub fn to_spki(&self) -> Vec<u8> {
        self.subject_public_key_info()
    }
}

impl PublicKeyData for ServicePublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}
