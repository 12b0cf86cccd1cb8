//! Why a peer is not who it should be, and why a site's certificates cannot be had.

use std::{io, sync::Arc};

use rustls::{CertificateError, OtherError};

use crate::{
    role::Role,
    site_id::{SiteCode, SiteId},
};

/// A peer's certificates do not prove what they should. A handshake that fails by it carries it in its error; see
/// [`TrustError::of`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// The server belongs to another site than the pinned one, or to an unknown one where a known one was met before.
    #[error("the server belongs to the site {}, {}", .shown.code(), expected_text(.pinned))]
    OtherSite {
        /// The site that the server has proven to belong to.
        shown: SiteId,
        /// The code that was demanded; `None` if any known site was.
        pinned: Option<SiteCode>,
    },
    /// The certificate is the site's own, for another service.
    #[error("the server is not {0}")]
    OtherRole(Role),
    /// The chain does not lead to the site's root.
    #[error("the certificates do not verify: {0}")]
    Chain(webpki::Error),
    /// There are no certificates, too many, or too large ones.
    #[error("a site's service shows three certificates of at most 4096 bytes each")]
    Shape,
    /// The connection is to a name that is no role's.
    #[error("services of a site are reached by the names of their roles")]
    NotARole,
    /// The certificate holds neither a service's name nor a usable device key.
    #[error("the certificate is neither a device's nor a service's")]
    Unidentified,
}

fn expected_text(pinned: &Option<SiteCode>) -> String {
    match pinned {
        Some(code) => format!("not to {code}"),
        None => "which this device does not know".to_owned(),
    }
}

/// The site's certificates cannot be made, read or kept.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The system's random generator failed, or bytes are no key.
    #[error("a key or certificate cannot be made: {0}")]
    Signing(#[from] rcgen::Error),
    /// A key and its certificate cannot be used together.
    #[error("a key and its certificate do not fit together: {0}")]
    Tls(#[from] rustls::Error),
    /// The files are there and are not one site's.
    #[error(
        "the files of the site do not fit together ({0}); restore root.der, issuer.der and issuer.key from one copy"
    )]
    Damaged(TrustError),
    /// A file or the folder cannot be read or made.
    #[error("the files of the site cannot be read or made: {0}")]
    Io(#[from] io::Error),
}

impl TrustError {
    /// Finds the reason in the error of a failed handshake; `None` if that failed for something else.
    #[must_use]
    pub fn of(error: &rustls::Error) -> Option<&Self> {
        let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = error else { return None };
        other.0.downcast_ref()
    }
}

impl From<webpki::Error> for TrustError {
    fn from(error: webpki::Error) -> Self {
        Self::Chain(error)
    }
}

impl From<TrustError> for rustls::Error {
    fn from(error: TrustError) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
    }
}
