//! The device: an Ed25519 key that is the same for all processes of one data folder.

mod key_file;

use std::{
    io,
    path::{Path, PathBuf},
};

use ed25519_dalek::SigningKey;
use gaung_proto::DeviceId;
use rand::Rng as _;

pub use key_file::{DeviceKeyFile, ExportedDevice, ImportedDevice};

/// The device key cannot be used or kept.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The folder or a file in it cannot be made or read.
    #[error("cannot use the data folder {}: {source}; choose another or mend its permissions", .dir.display())]
    Io {
        /// The folder.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that a key is exported to or imported from cannot be written or read.
    #[error("cannot use {}: {source}", .path.display())]
    Elsewhere {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is there, and is no key.
    #[error("{} is not a device key; restore it from a copy, or remove it to become a new device", .0.display())]
    Malformed(PathBuf),
    /// The file to import is not one that was exported.
    #[error("{} is not an exported device key, or was damaged; export it again", .0.display())]
    NotExported(PathBuf),
    /// The key is protected, and no passphrase was given.
    #[error("{} is protected by a passphrase, which has to be given to use it", .0.display())]
    Protected(PathBuf),
    /// The passphrase does not decrypt the key.
    #[error("wrong passphrase for {}; if it is right, the file was changed: restore it from a copy", .0.display())]
    WrongPassphrase(PathBuf),
}

/// This device's identity; cloning shares it.
#[derive(Clone)]
pub struct Device {
    key: SigningKey,
}

impl Device {
    /// Reads the key of `dir`, or makes folder and key. Processes that start at the same moment get the same key.
    ///
    /// # Errors
    /// [`DeviceError`]; [`DeviceError::Protected`] for a key that [`DeviceKeyFile::unlock`] has to read.
    pub fn load_or_create(dir: &Path) -> Result<Self, DeviceError> {
        DeviceKeyFile::new(dir).load_or_create()
    }

    /// Makes a key that is not kept, for a client that only reads what is public.
    pub(crate) fn ephemeral() -> Self {
        Self::of_secret(&rand::rng().random())
    }

    /// Its id: what identifies the person to others.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        DeviceId::of_public_key(self.key.verifying_key().as_bytes())
    }

    /// The Ed25519 public key.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        *self.key.verifying_key().as_bytes()
    }

    pub(crate) const fn key(&self) -> &SigningKey {
        &self.key
    }

    fn of_secret(secret: &[u8; 32]) -> Self {
        Self { key: SigningKey::from_bytes(secret) }
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Device({})", self.id())
    }
}
