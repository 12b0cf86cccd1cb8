//! Who is at the other end of a connection, as far as it has proven.

use ed25519_dalek::VerifyingKey;
use gaung_proto::DeviceId;
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::{chain, error::TrustError, role::Role};

/// What stands before the 32 bytes of an Ed25519 key in DER of SubjectPublicKeyInfo (RFC 8410, section 4).
const ED25519_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Who a client has proven to be in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerIdentity {
    /// The client showed no certificate.
    Unproven,
    /// The client has the key of this device.
    Device {
        /// The device that the key belongs to.
        id: DeviceId,
        /// Its Ed25519 public key.
        public_key: [u8; 32],
    },
    /// The client is this service of the site.
    Service(Role),
}

impl PeerIdentity {
    /// Reads the identity from the certificates of an established connection, as `peer_certificates()` gives them.
    ///
    /// It is proven only if the handshake was held under [`tls::server_config`](crate::tls::server_config), which has verified
    /// chain and possession.
    ///
    /// # Errors
    /// [`TrustError`] if the first certificate is neither a device's nor a service's.
    pub fn of_chain(certificates: Option<&[CertificateDer<'_>]>) -> Result<Self, TrustError> {
        let Some(certificate) = certificates.and_then(<[_]>::first) else { return Ok(Self::Unproven) };
        chain::check_sizes(std::slice::from_ref(certificate))?;
        Self::of_certificate(&EndEntityCert::try_from(certificate)?)
    }

    /// Returns the proven device; [`DeviceId::NONE`] for anyone else.
    #[must_use]
    pub const fn device(&self) -> DeviceId {
        match self {
            Self::Device { id, .. } => *id,
            Self::Unproven | Self::Service(_) => DeviceId::NONE,
        }
    }

    /// A device's key makes a device, whatever names stand beside it: only the site's issuer names roles, for P-256 keys alone.
    pub(crate) fn of_certificate(certificate: &EndEntityCert<'_>) -> Result<Self, TrustError> {
        let spki = certificate.subject_public_key_info();
        if let Some(key) = spki.strip_prefix(&ED25519_PREFIX) {
            return Self::of_device_key(key).ok_or(TrustError::Unidentified);
        }
        let role = certificate.valid_dns_names().find_map(Role::of_name);
        role.map(Self::Service).ok_or(TrustError::Unidentified)
    }

    fn of_device_key(key: &[u8]) -> Option<Self> {
        let public_key: [u8; 32] = key.try_into().ok()?;
        // Anyone can sign for the few keys of small order.
        let is_strong = VerifyingKey::from_bytes(&public_key).is_ok_and(|key| !key.is_weak());
        is_strong.then(|| Self::Device { id: DeviceId::of_public_key(&public_key), public_key })
    }
}
