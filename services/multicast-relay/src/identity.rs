//! The relay's identity in its data folder: its id, its secrets, and the registry's public key.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use gaung_proto::RelayId;
use rand::Rng as _;
use service_kit::data_folder;

use crate::reports::ReportKey;

/// The small files of the data folder, made at the first start; random values for this process without a folder.
pub(crate) struct RelayIdentity {
    folder: Option<PathBuf>,
    pub(crate) relay: RelayId,
    /// Authenticates the relay's own reports to itself; nobody else has it.
    pub(crate) report_key: ReportKey,
    /// Proves this relay to the registry.
    pub(crate) service_secret: [u8; 32],
    /// Keys the hashes by which client windows, in snapshots too, recognise their publishers. A damaged one is replaced, and
    /// returning publishers then take other client ids.
    pub(crate) claims_secret: [u8; 16],
}

impl fmt::Debug for RelayIdentity {
    /// Leaves the secrets out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("relay", &self.relay).finish_non_exhaustive()
    }
}

/// The folder cannot hold the relay's id.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// No permission, no space, no such folder.
    #[error("data folder {path} cannot be used: {error}; mend it, or choose another one with --data")]
    Io { path: PathBuf, error: io::Error },
    /// The file holds something else.
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

impl RelayIdentity {
    /// Reads the folder's files and creates those that are missing. Without a folder every value is random.
    pub(crate) fn load(folder: Option<&Path>) -> Result<Self, IdentityError> {
        let Some(folder) = folder else {
            return Ok(Self {
                folder: None,
                relay: random_id(),
                report_key: ReportKey::from(rand::random::<[u8; 32]>()),
                service_secret: rand::random(),
                claims_secret: rand::random(),
            });
        };
        data_folder::prepare(folder).map_err(failed(folder))?;
        Ok(Self {
            folder: Some(folder.to_owned()),
            relay: kept(folder, ID_FILE, random_id, |id| format!("{id}\n").into(), read_id)?,
            report_key: kept_secret::<32>(folder, REPORT_KEY_FILE)?.into(),
            service_secret: kept_secret(folder, SECRET_FILE)?,
            claims_secret: match kept_secret(folder, CLAIMS_FILE) {
                Err(IdentityError::Damaged { path }) => {
                    fs::remove_file(&path).map_err(failed(&path))?;
                    kept_secret(folder, CLAIMS_FILE)?
                }
                kept => kept?,
            },
        })
    }

    /// Returns the registry's public key as stored at the last registration.
    pub(crate) fn registry_key(&self) -> Option<[u8; 32]> {
        let bytes = fs::read(self.folder.as_ref()?.join(KEY_FILE)).ok()?;
        bytes.try_into().ok()
    }

    /// Stores the registry's public key, so that tickets can be checked after a start without the registry.
    pub(crate) fn keep_registry_key(&self, key: [u8; 32]) -> io::Result<()> {
        match &self.folder {
            Some(folder) if self.registry_key() != Some(key) => write(folder, KEY_FILE, &key),
            Some(_) | None => Ok(()),
        }
    }
}

/// Reads a file, or at the first start creates it with what `make` returns.
fn kept<T>(
    folder: &Path,
    name: &str,
    make: impl FnOnce() -> T,
    encode: impl FnOnce(&T) -> Vec<u8>,
    decode: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<T, IdentityError> {
    let path = folder.join(name);
    match fs::read(&path) {
        Ok(bytes) => decode(&bytes).ok_or(IdentityError::Damaged { path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = make();
            write(folder, name, &encode(&made)).map_err(failed(folder))?;
            Ok(made)
        }
        Err(error) => Err(failed(&path)(error)),
    }
}

fn kept_secret<const N: usize>(folder: &Path, name: &str) -> Result<[u8; N], IdentityError> {
    let make = || {
        let mut secret = [0; N];
        rand::rng().fill(&mut secret[..]);
        secret
    };
    kept(folder, name, make, |secret| secret.to_vec(), |bytes| bytes.try_into().ok())
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> IdentityError {
    let path = path.to_owned();
    move |error| IdentityError::Io { path, error }
}

fn read_id(bytes: &[u8]) -> Option<RelayId> {
    std::str::from_utf8(bytes).ok()?.trim().parse().ok()
}

fn random_id() -> RelayId {
    RelayId(rand::random())
}

/// Writes a file atomically: after a crash or power cut it is whole or unchanged.
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
        let first = RelayIdentity::load(Some(&path)).unwrap();
        assert_eq!(first.registry_key(), None);
        first.keep_registry_key([7; 32]).unwrap();
        let second = RelayIdentity::load(Some(&path)).unwrap();
        let secrets =
            |identity: &RelayIdentity| (identity.report_key.clone(), identity.service_secret, identity.claims_secret);
        assert_eq!(secrets(&second), secrets(&first));
        assert_eq!((second.relay, second.registry_key()), (first.relay, Some([7; 32])));
        assert_ne!(RelayIdentity::load(None).unwrap().relay, RelayIdentity::load(None).unwrap().relay);
    }

    #[test]
    fn a_damaged_secret_of_claims_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let first = RelayIdentity::load(Some(folder.path())).unwrap();
        fs::write(folder.path().join(CLAIMS_FILE), "short").unwrap();
        let second = RelayIdentity::load(Some(folder.path())).unwrap();
        assert_ne!(second.claims_secret, first.claims_secret);
        assert_eq!(RelayIdentity::load(Some(folder.path())).unwrap().claims_secret, second.claims_secret);
    }

    #[test]
    fn a_bad_folder_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(ID_FILE), "nonsense").unwrap();
        let error = RelayIdentity::load(Some(folder.path())).unwrap_err();
        assert!(error.to_string().contains("--data"), "{error}");
        fs::remove_file(folder.path().join(ID_FILE)).unwrap();
        fs::write(folder.path().join(SECRET_FILE), "short").unwrap();
        assert!(matches!(RelayIdentity::load(Some(folder.path())).unwrap_err(), IdentityError::Damaged { .. }));
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(RelayIdentity::load(Some(&file)).unwrap_err(), IdentityError::Io { .. }));
    }
}
