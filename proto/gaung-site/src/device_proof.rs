//! A device's key as a TLS client certificate: the handshake proves that the device has the key.

use std::{sync::Arc, time::Duration};

use ed25519_dalek::SigningKey;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ED25519, SerialNumber, date_time_ymd};
use rustls::{
    client::ResolvesClientCert,
    crypto::ring,
    pki_types::PrivatePkcs8KeyDer,
    sign::{CertifiedKey, SingleCertAndKey},
};

use crate::error::AuthorityError;

/// What stands before the 32 bytes of an Ed25519 key in PKCS #8 (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// Validity of the certificate, which nobody reads: up to the end of 2099.
const VALIDITY: Duration = Duration::from_secs(4_102_444_799);

/// Makes the certificate by which a client proves its device, to be given to [`tls::client_config`](crate::tls::client_config).
///
/// It is self-signed and says nothing but the key; one key always gives the same certificate.
///
/// # Errors
/// If the libraries refuse the key, which no Ed25519 key causes.
pub fn device_proof(key: &SigningKey) -> Result<Arc<dyn ResolvesClientCert>, AuthorityError> {
    let pkcs8 = PrivatePkcs8KeyDer::from([&PKCS8_PREFIX[..], key.as_bytes()].concat());
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_ED25519)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(&[1]));
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = params.not_before + VALIDITY;
    let certificate = params.self_signed(&pair)?;
    let chain = vec![certificate.der().clone()];
    let certified = CertifiedKey::from_der(chain, pkcs8.into(), &ring::default_provider())?;
    Ok(Arc::new(SingleCertAndKey::from(certified)))
}
