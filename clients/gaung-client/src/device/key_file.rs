//! The file of the device key: made at the first start, encrypted if its owner wants it, copied to other machines.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use gaung_site::{Passphrase, ProtectedKey, private_files};
use rand::Rng as _;

use super::{Device, DeviceError};

const FILE: &str = "device.key";

/// The file `device.key` in a data folder, readable by its owner alone: 64 hexadecimal digits, or the text of a [`ProtectedKey`].
///
/// It is replaced as a whole, so that an interruption leaves the key that was there or the new one.
#[derive(Debug, Clone)]
pub struct DeviceKeyFile {
    dir: PathBuf,
    path: PathBuf,
}

/// A key in a file that [`DeviceKeyFile::export`] wrote, not decrypted yet.
#[derive(Debug)]
pub struct ExportedDevice {
    path: PathBuf,
    key: ProtectedKey,
}

/// What [`DeviceKeyFile::import`] did.
#[derive(Debug)]
pub struct ImportedDevice {
    /// The device of the imported key.
    pub device: Device,
    /// Where the key is kept that was there before; `None` if there was none.
    pub replaced: Option<PathBuf>,
}

enum StoredKey {
    Plain(Device),
    Protected(ProtectedKey),
}

impl DeviceKeyFile {
    /// Uses the file of this data folder; nothing is read yet.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self { dir: data_dir.to_owned(), path: data_dir.join(FILE) }
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the key, or makes folder and key. Processes that start at the same moment get the same key.
    ///
    /// # Errors
    /// [`DeviceError::Protected`] for one that [`Self::unlock`] has to read, [`DeviceError::Io`], [`DeviceError::Malformed`].
    pub fn load_or_create(&self) -> Result<Device, DeviceError> {
        let stored = match self.stored()? {
            Some(stored) => stored,
            None => {
                self.create().map_err(|source| self.io(source))?;
                self.stored()?.ok_or_else(|| self.io(io::ErrorKind::NotFound.into()))?
            }
        };
        match stored {
            StoredKey::Plain(device) => Ok(device),
            StoredKey::Protected(_) => Err(DeviceError::Protected(self.path.clone())),
        }
    }

    /// Reads the key as [`Self::load_or_create`] does, and decrypts one that is protected, which takes a fraction of a second.
    ///
    /// # Errors
    /// [`DeviceError::WrongPassphrase`], [`DeviceError::Io`], [`DeviceError::Malformed`].
    pub fn unlock(&self, passphrase: &Passphrase) -> Result<Device, DeviceError> {
        match self.stored()? {
            Some(StoredKey::Protected(key)) => decrypt(&key, passphrase, &self.path),
            Some(StoredKey::Plain(_)) | None => self.load_or_create(),
        }
    }

    /// Keeps `device` as the key of this folder, encrypted.
    ///
    /// # Errors
    /// [`DeviceError::Io`]; the key that was there is still there then.
    pub fn protect(&self, device: &Device, passphrase: &Passphrase) -> Result<(), DeviceError> {
        encrypt(device, passphrase).and_then(|line| private_files::replace(&self.path, &line)).map_err(|e| self.io(e))
    }

    /// Keeps `device` as the key of this folder, unencrypted.
    ///
    /// # Errors
    /// [`DeviceError::Io`]; the key that was there is still there then.
    pub fn unprotect(&self, device: &Device) -> Result<(), DeviceError> {
        private_files::replace(&self.path, plain_text(device.key.as_bytes()).as_bytes()).map_err(|e| self.io(e))
    }

    /// Writes `device`, encrypted, to a file that does not exist yet.
    ///
    /// # Errors
    /// [`DeviceError::Elsewhere`].
    pub fn export(device: &Device, passphrase: &Passphrase, to: &Path) -> Result<(), DeviceError> {
        let written = encrypt(device, passphrase).and_then(|line| private_files::create(to, &line));
        written.map_err(|source| DeviceError::Elsewhere { path: to.to_owned(), source })
    }

    /// Takes an exported key as the key of this folder, encrypted as it is. The one that was there is kept beside it.
    ///
    /// # Errors
    /// [`DeviceError::WrongPassphrase`], [`DeviceError::Io`]; the key that was there is still there then.
    pub fn import(&self, exported: &ExportedDevice, passphrase: &Passphrase) -> Result<ImportedDevice, DeviceError> {
        let ExportedDevice { path, key } = exported;
        let device = decrypt(key, passphrase, path)?;
        private_files::make_folder(&self.dir).map_err(|source| self.io(source))?;
        let replaced = self.keep_copy().map_err(|source| self.io(source))?;
        private_files::replace(&self.path, format!("{key}\n").as_bytes()).map_err(|source| self.io(source))?;
        Ok(ImportedDevice { device, replaced })
    }

    fn stored(&self) -> Result<Option<StoredKey>, DeviceError> {
        let text = match private_files::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io(error)),
        };
        let stored =
            parse_plain(&text).map(StoredKey::Plain).or_else(|| parse_protected(&text).map(StoredKey::Protected));
        stored.map(Some).ok_or_else(|| DeviceError::Malformed(self.path.clone()))
    }

    /// Puts a new key into the file, unless another process was first: a link never replaces and never shows half a file.
    fn create(&self) -> io::Result<()> {
        private_files::make_folder(&self.dir)?;
        let mut rng = rand::rng();
        let draft = self.dir.join(format!(".{FILE}.{}.{:016x}", std::process::id(), rng.random::<u64>()));
        let written =
            private_files::create(&draft, plain_text(&rng.random()).as_bytes()).and_then(|()| self.place(&draft));
        let _ = fs::remove_file(&draft);
        written
    }

    fn place(&self, draft: &Path) -> io::Result<()> {
        match fs::hard_link(draft, &self.path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            // File systems without links: the last of several first starts wins, and all read what stands there.
            Err(_) if !self.path.exists() => fs::rename(draft, &self.path),
            Err(_) => Ok(()),
        }
    }

    /// Copies the file, whatever it holds, to the first name `device.key.replaced-N` that is free.
    fn keep_copy(&self) -> io::Result<Option<PathBuf>> {
        let text = match private_files::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut number = 1_u32;
        loop {
            let copy = self.dir.join(format!("{FILE}.replaced-{number}"));
            match private_files::create(&copy, &text) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                created => return created.map(|()| Some(copy)),
            }
        }
    }

    fn io(&self, source: io::Error) -> DeviceError {
        DeviceError::Io { dir: self.dir.clone(), source }
    }
}

impl ExportedDevice {
    /// Reads an exported file.
    ///
    /// # Errors
    /// [`DeviceError::Elsewhere`], [`DeviceError::NotExported`].
    pub fn read(path: &Path) -> Result<Self, DeviceError> {
        let path = path.to_owned();
        match private_files::read(&path).map(|text| parse_protected(&text)) {
            Ok(Some(key)) => Ok(Self { path, key }),
            Ok(None) => Err(DeviceError::NotExported(path)),
            Err(source) => Err(DeviceError::Elsewhere { path, source }),
        }
    }
}

fn encrypt(device: &Device, passphrase: &Passphrase) -> io::Result<Vec<u8>> {
    let key = ProtectedKey::encrypt(device.key.as_bytes(), passphrase)?;
    Ok(format!("{key}\n").into_bytes())
}

fn decrypt(key: &ProtectedKey, passphrase: &Passphrase, path: &Path) -> Result<Device, DeviceError> {
    let secret = key.decrypt(passphrase).map_err(|_| DeviceError::WrongPassphrase(path.to_owned()))?;
    Ok(Device::of_secret(&secret))
}

fn plain_text(secret: &[u8; 32]) -> String {
    secret.iter().map(|byte| format!("{byte:02x}")).chain(["\n".to_owned()]).collect()
}

fn parse_plain(text: &[u8]) -> Option<Device> {
    let text = std::str::from_utf8(text).ok()?.trim_end();
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut secret = [0; 32];
    for (i, byte) in secret.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(Device::of_secret(&secret))
}

fn parse_protected(text: &[u8]) -> Option<ProtectedKey> {
    std::str::from_utf8(text).ok()?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.as_bytes().to_vec()).unwrap()
    }

    fn files(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

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
        assert_eq!(files(&data), [FILE]);
        assert_eq!(mode(&data.join(FILE)), 0o600);
        assert_eq!(Device::load_or_create(&data).unwrap().id(), ids[0]);
    }

    #[test]
    fn a_file_that_is_no_key_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "hello").unwrap();
        assert!(matches!(Device::load_or_create(dir.path()), Err(DeviceError::Malformed(_))));
        let unlocked = DeviceKeyFile::new(dir.path()).unlock(&passphrase("x"));
        assert!(matches!(unlocked, Err(DeviceError::Malformed(_))));
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

    #[test]
    fn a_protected_key_is_the_same_device_and_needs_its_passphrase() {
        let dir = tempfile::tempdir().unwrap();
        let file = DeviceKeyFile::new(dir.path());
        let device = file.load_or_create().unwrap();
        let plain = fs::read(file.path()).unwrap();
        file.protect(&device, &passphrase("kunci")).unwrap();
        assert_eq!((files(dir.path()), mode(file.path())), (vec![FILE.to_owned()], 0o600));
        assert!(fs::read_to_string(file.path()).unwrap().starts_with("gaung-key-2 "));
        assert!(matches!(Device::load_or_create(dir.path()), Err(DeviceError::Protected(_))));
        assert!(matches!(file.unlock(&passphrase("kunc")), Err(DeviceError::WrongPassphrase(_))));
        let unlocked = file.unlock(&passphrase("kunci")).unwrap();
        assert_eq!(unlocked.id(), device.id());
        file.unprotect(&unlocked).unwrap();
        assert_eq!(fs::read(file.path()).unwrap(), plain);
        assert_eq!(file.unlock(&passphrase("any")).unwrap().id(), device.id());
    }

    #[test]
    fn an_exported_key_is_imported_elsewhere_and_what_was_there_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (DeviceKeyFile::new(&dir.path().join("from")), DeviceKeyFile::new(&dir.path().join("to")));
        let exported = dir.path().join("exported");
        let device = from.load_or_create().unwrap();
        DeviceKeyFile::export(&device, &passphrase("kunci"), &exported).unwrap();
        assert_eq!(mode(&exported), 0o600);
        let again = DeviceKeyFile::export(&device, &passphrase("other"), &exported).unwrap_err();
        assert!(again.to_string().contains("exists"), "{again}");

        let exported = ExportedDevice::read(&exported).unwrap();
        let first = to.import(&exported, &passphrase("kunci")).unwrap();
        assert_eq!((first.device.id(), first.replaced), (device.id(), None));
        assert_eq!(to.unlock(&passphrase("kunci")).unwrap().id(), device.id());

        let other = DeviceKeyFile::new(&dir.path().join("other"));
        let before = other.load_or_create().unwrap();
        for number in 1..=2 {
            let kept = fs::read(other.path()).unwrap();
            let replaced = other.import(&exported, &passphrase("kunci")).unwrap().replaced.unwrap();
            assert_eq!(replaced, other.dir.join(format!("device.key.replaced-{number}")));
            assert_eq!((fs::read(&replaced).unwrap(), mode(&replaced)), (kept, 0o600));
        }
        fs::rename(other.dir.join("device.key.replaced-1"), other.path()).unwrap();
        assert_eq!(other.load_or_create().unwrap().id(), before.id());
    }

    #[test]
    fn what_cannot_be_imported_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = DeviceKeyFile::new(&dir.path().join("data"));
        let device = file.load_or_create().unwrap();
        let before = fs::read(file.path()).unwrap();
        let given = dir.path().join("given");
        let missing = ExportedDevice::read(&given).unwrap_err();
        assert!(matches!(missing, DeviceError::Elsewhere { .. }), "{missing}");
        // Nobody shall carry a key about in the clear.
        for text in ["hello", "", std::str::from_utf8(&before).unwrap()] {
            fs::write(&given, text).unwrap();
            assert!(matches!(ExportedDevice::read(&given), Err(DeviceError::NotExported(_))), "{text}");
        }
        fs::remove_file(&given).unwrap();
        DeviceKeyFile::export(&device, &passphrase("x"), &given).unwrap();
        let given = ExportedDevice::read(&given).unwrap();
        assert!(matches!(file.import(&given, &passphrase("y")), Err(DeviceError::WrongPassphrase(_))));
        assert_eq!((fs::read(file.path()).unwrap(), files(&file.dir)), (before, vec![FILE.to_owned()]));
    }
}
