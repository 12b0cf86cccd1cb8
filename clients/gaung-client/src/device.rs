//! The device key: Ed25519, made at the first start, kept in the data folder for its owner alone.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use ed25519_dalek::SigningKey;
use gaung_proto::DeviceId;
use rand::Rng as _;

const FILE: &str = "device.key";

/// The data folder holds no usable key.
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
    /// The file is there, and is no key.
    #[error("{} is not a device key; restore it from a copy, or remove it to become a new device", .0.display())]
    Malformed(PathBuf),
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
    /// [`DeviceError`].
    pub fn load_or_create(dir: &Path) -> Result<Self, DeviceError> {
        let io = |source| DeviceError::Io { dir: dir.to_owned(), source };
        let path = dir.join(FILE);
        match fs::read(&path) {
            Ok(text) => return Self::parse(&text).ok_or(DeviceError::Malformed(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io(error)),
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
        create(dir, &path).map_err(io)?;
        let text = fs::read(&path).map_err(io)?;
        Self::parse(&text).ok_or(DeviceError::Malformed(path))
    }

    /// Makes a key that is not kept, for a client that only reads what is public.
    pub(crate) fn ephemeral() -> Self {
        Self { key: SigningKey::from_bytes(&rand::rng().random()) }
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

    fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?.trim_end();
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let mut secret = [0; 32];
        for (i, byte) in secret.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
        }
        Some(Self { key: SigningKey::from_bytes(&secret) })
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Device({})", self.id())
    }
}

/// Puts a whole key at `path`, unless another process was first: a link never replaces and never shows half a file.
fn create(dir: &Path, path: &Path) -> io::Result<()> {
    let mut rng = rand::rng();
    let secret: [u8; 32] = rng.random();
    let draft = dir.join(format!(".{FILE}.{}.{:016x}", std::process::id(), rng.random::<u64>()));
    let written = write_draft(&draft, &secret).and_then(|()| place(&draft, path));
    let _ = fs::remove_file(&draft);
    written
}

fn write_draft(draft: &Path, secret: &[u8; 32]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    let text: String = secret.iter().map(|byte| format!("{byte:02x}")).chain(["\n".to_owned()]).collect();
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn place(draft: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(draft, path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // File systems without links: the last of several first starts wins, and all read what stands there.
        Err(_) if !path.exists() => fs::rename(draft, path),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn fifty_first_starts_at_once_agree_on_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("a/b");
        let starts: Vec<_> = (0..50)
            .map(|_| {
                let data = data.clone();
                std::thread::spawn(move || Device::load_or_create(&data).unwrap().id())
            })
            .collect();
        let ids: Vec<_> = starts.into_iter().map(|start| start.join().unwrap()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]));
        let files: Vec<_> = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(files, [FILE]);
        let mode = fs::metadata(data.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(Device::load_or_create(&data).unwrap().id(), ids[0]);
    }

    #[test]
    fn a_file_that_is_no_key_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "hello").unwrap();
        assert!(matches!(Device::load_or_create(dir.path()), Err(DeviceError::Malformed(_))));
        assert_eq!(fs::read(dir.path().join(FILE)).unwrap(), b"hello");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_said_so() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Device::load_or_create(&file.join("data")).unwrap_err();
        assert!(matches!(error, DeviceError::Io { .. }), "{error}");
    }
}
