//! What the relay remembers of itself: its id, and the registry's public key.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use gaung_proto::RelayId;
use rand::Rng as _;
use service_kit::data_folder;

use crate::reports::ReportKey;

/// The small files of the data folder; without a folder nothing is kept.
#[derive(Debug)]
pub(crate) struct Identity {
    folder: Option<PathBuf>,
    pub(crate) relay: RelayId,
    /// What the relay knows its own reports by; nobody else has it.
    pub(crate) report_key: ReportKey,
}

/// The folder cannot hold the relay's id.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// No permission, no space, no such folder.
    #[error("data folder {path} cannot be used: {error}; mend it, or choose another one with --data")]
    Io { path: PathBuf, error: io::Error },
    /// Somebody wrote something else there.
    #[error(
        "{path} does not hold what this relay once wrote there; put the file back from a copy, or choose another folder with --data"
    )]
    Damaged { path: PathBuf },
}

const ID_FILE: &str = "relay-id";
const KEY_FILE: &str = "registry-key";
const REPORT_KEY_FILE: &str = "report-key";
const SECRET_FILE: &str = "service-secret";
const CLAIMS_FILE: &str = "claims-secret";

impl Identity {
    /// The id in `folder`, made at the first start; a random one for this process without a folder.
    pub(crate) fn load(folder: Option<&Path>) -> Result<Self, IdentityError> {
        let Some(folder) = folder else {
            return Ok(Self { folder: None, relay: random_id(), report_key: ReportKey::random() });
        };
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| IdentityError::Io { path, error }
        };
        data_folder::prepare(folder).map_err(failed(folder))?;
        let path = folder.join(ID_FILE);
        let relay = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|_| IdentityError::Damaged { path })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let relay = random_id();
                write(folder, ID_FILE, format!("{relay}\n").as_bytes()).map_err(failed(folder))?;
                relay
            }
            Err(error) => return Err(failed(&path)(error)),
        };
        let path = folder.join(REPORT_KEY_FILE);
        let report_key = match fs::read(&path) {
            Ok(bytes) => ReportKey::try_from(&bytes[..]).map_err(|_| IdentityError::Damaged { path })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = ReportKey::random();
                write(folder, REPORT_KEY_FILE, key.as_bytes()).map_err(failed(folder))?;
                key
            }
            Err(error) => return Err(failed(&path)(error)),
        };
        Ok(Self { folder: Some(folder.to_owned()), relay, report_key })
    }

    /// The secret that proves this relay to the registry, made at the first start; a random one for this process without a
    /// folder, as the id is.
    pub(crate) fn service_secret(&self) -> io::Result<[u8; 32]> {
        let Some(folder) = &self.folder else { return Ok(rand::rng().random()) };
        match fs::read(folder.join(SECRET_FILE)).map(|bytes| bytes.try_into()) {
            Ok(Ok(secret)) => Ok(secret),
            // A file that was cut short proves nothing any more.
            Ok(Err(_)) => Err(io::Error::other(format!("{SECRET_FILE} is damaged; put it back from a copy"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secret: [u8; 32] = rand::rng().random();
                write(folder, SECRET_FILE, &secret)?;
                Ok(secret)
            }
            Err(error) => Err(error),
        }
    }

    /// The key that tickets were signed with when a registry was last heard.
    pub(crate) fn registry_key(&self) -> Option<[u8; 32]> {
        let bytes = fs::read(self.folder.as_ref()?.join(KEY_FILE)).ok()?;
        bytes.try_into().ok()
    }

    /// What publishers' proofs are hashed with: made at the first start, for windows in snapshots know their owners by it. A
    /// lost or damaged one is made anew, and publishers that come back take other client ids.
    pub(crate) fn claims_secret(&self) -> io::Result<[u8; 16]> {
        let Some(folder) = &self.folder else { return Ok(rand::rng().random()) };
        let known = fs::read(folder.join(CLAIMS_FILE)).ok().and_then(|bytes| bytes.try_into().ok());
        match known {
            Some(secret) => Ok(secret),
            None => {
                let secret: [u8; 16] = rand::rng().random();
                write(folder, CLAIMS_FILE, &secret)?;
                Ok(secret)
            }
        }
    }

    /// Keeps the key for a start without the registry.
    pub(crate) fn keep_registry_key(&self, key: [u8; 32]) -> io::Result<()> {
        match &self.folder {
            Some(folder) if self.registry_key() != Some(key) => write(folder, KEY_FILE, &key),
            Some(_) | None => Ok(()),
        }
    }
}

fn random_id() -> RelayId {
    RelayId(rand::rng().random())
}

/// Whole or not at all, also after a power cut.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let draft = folder.join(format!("{name}.new"));
    // For its owner alone: one of them is a secret.
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, folder.join(name))?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_id_stays_and_the_key_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let first = Identity::load(Some(&path)).unwrap();
        assert_eq!(first.registry_key(), None);
        first.keep_registry_key([7; 32]).unwrap();
        let second = Identity::load(Some(&path)).unwrap();
        assert_eq!(second.service_secret().unwrap(), first.service_secret().unwrap());
        assert_eq!((second.relay, second.registry_key()), (first.relay, Some([7; 32])));
        assert_eq!(second.claims_secret().unwrap(), first.claims_secret().unwrap());
        assert_ne!(Identity::load(None).unwrap().relay, Identity::load(None).unwrap().relay);
    }

    #[test]
    fn a_bad_folder_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(ID_FILE), "nonsense").unwrap();
        let error = Identity::load(Some(folder.path())).unwrap_err();
        assert!(error.to_string().contains("--data"), "{error}");
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(Identity::load(Some(&file)).unwrap_err(), IdentityError::Io { .. }));
    }
}
