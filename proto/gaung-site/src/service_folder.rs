//! The key and certificates of a service on another machine than the registry.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    chain::SiteChain,
    error::{AuthorityError, TrustError},
    key::ServiceKey,
    leaf::Leaf,
    private_files::{make_folder, read, replace},
};

const KEY_FILE: &str = "service.key";
/// Leaf, issuer and root, each after its length as u16: one file, so that a renewal replaces all or nothing.
const CHAIN_FILE: &str = "service.chain";

/// The folder `site/` of an enrolled service: its key, made before it enrols, and its chain, replaced at each renewal.
#[derive(Debug)]
pub struct ServiceFolder {
    folder: PathBuf,
}

impl ServiceFolder {
    /// Uses `folder`, which is made when the first file is written.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Reads the service's key, or makes one. It is kept before the service enrols, so that a crash wastes no token.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn key(&self) -> Result<ServiceKey, AuthorityError> {
        let path = self.folder.join(KEY_FILE);
        match read(&path) {
            Ok(der) => ServiceKey::from_pkcs8(&der),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = ServiceKey::generate()?;
                make_folder(&self.folder)?;
                replace(&path, key.to_pkcs8())?;
                Ok(key)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps a chain that was issued or renewed for the service's key.
    ///
    /// # Errors
    /// [`AuthorityError::Io`].
    pub fn keep(&self, chain: &SiteChain) -> Result<(), AuthorityError> {
        make_folder(&self.folder)?;
        let mut bytes = Vec::new();
        for certificate in chain.certificates() {
            let length = u16::try_from(certificate.len()).expect("a chain's certificates have at most 4096 bytes");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(certificate);
        }
        Ok(replace(&self.folder.join(CHAIN_FILE), &bytes)?)
    }

    /// Reads the chain and the leaf in use; `None` if the service has not enrolled.
    ///
    /// # Errors
    /// [`AuthorityError`] if the files cannot be read, are no chain or do not fit the key.
    pub fn leaf(&self) -> Result<Option<(SiteChain, Leaf)>, AuthorityError> {
        let bytes = match read(&self.folder.join(CHAIN_FILE)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let certificates = split(&bytes).ok_or(AuthorityError::Damaged(TrustError::Shape))?;
        let chain = SiteChain::from_der(&certificates).map_err(AuthorityError::Damaged)?;
        let leaf = Leaf::new(&chain, &self.key()?)?;
        Ok(Some((chain, leaf)))
    }
}

fn split(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut certificates = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk()?;
        let (certificate, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        certificates.push(certificate);
        bytes = rest;
    }
    Some(certificates)
}
