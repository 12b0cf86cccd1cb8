//! `gaung device`: shows the device, protects its key, and takes it from and to other machines.

use std::path::{Path, PathBuf};

use gaung_client::{Device, DeviceKeyFile, ErrorKind, ExportedDevice};
use serde::Serialize;

use crate::{
    cli::device::{DeviceArgs, DeviceCommand},
    context::Context,
    failure::Failure,
    group::to_json,
    output::{Output, say},
    passphrase::{PassphraseSource, UnlockedDevice},
};

/// Runs a command on the device key.
///
/// # Errors
/// [`gaung_client::DeviceError`]; [`Failure`] of usage if nobody can be asked for a passphrase, of kind failed for a key that is
/// not protected when that is to be ended.
pub(crate) fn run(context: &Context, args: DeviceArgs) -> anyhow::Result<()> {
    let (file, passphrases) = (context.device_key_file(), &context.passphrases);
    let entry = match args.command {
        None => {
            let unlocked = passphrases.unlock(&file)?;
            DeviceEntry::new(&file, &unlocked.device, unlocked.passphrase.is_some())
        }
        Some(DeviceCommand::Protect) => protect(&file, passphrases)?,
        Some(DeviceCommand::Unprotect) => unprotect(&file, passphrases)?,
        Some(DeviceCommand::Export(export)) => export_to(&export.file, &file, passphrases)?,
        Some(DeviceCommand::Import(import)) => import_from(&import.file, &file, passphrases)?,
    };
    entry.print(args.json)
}

fn protect(file: &DeviceKeyFile, passphrases: &PassphraseSource) -> anyhow::Result<DeviceEntry> {
    let UnlockedDevice { device, passphrase: former } = passphrases.unlock(file)?;
    let passphrase = if former.is_some() { passphrases.choose_on_terminal()? } else { passphrases.choose()? };
    file.protect(&device, &passphrase)?;
    say("the device key is protected; nobody can recover a forgotten passphrase");
    Ok(DeviceEntry::new(file, &device, true))
}

fn unprotect(file: &DeviceKeyFile, passphrases: &PassphraseSource) -> anyhow::Result<DeviceEntry> {
    let unlocked = passphrases.unlock(file)?;
    if unlocked.passphrase.is_none() {
        return Err(Failure::new(ErrorKind::Failed, "the device key is not protected").into());
    }
    file.unprotect(&unlocked.device)?;
    say("the device key is not protected any more");
    Ok(DeviceEntry::new(file, &unlocked.device, false))
}

fn export_to(to: &Path, file: &DeviceKeyFile, passphrases: &PassphraseSource) -> anyhow::Result<DeviceEntry> {
    let unlocked = passphrases.unlock(file)?;
    let protected = unlocked.passphrase.is_some();
    let passphrase = unlocked.passphrase.map_or_else(|| passphrases.choose(), Ok)?;
    DeviceKeyFile::export(&unlocked.device, &passphrase, to)?;
    say(&format!("exported the device key to {}; take it there with: gaung device import FILE", to.display()));
    Ok(DeviceEntry::new(file, &unlocked.device, protected))
}

fn import_from(from: &Path, file: &DeviceKeyFile, passphrases: &PassphraseSource) -> anyhow::Result<DeviceEntry> {
    let exported = ExportedDevice::read(from)?;
    let (imported, _) = passphrases.open(from, |passphrase| file.import(&exported, passphrase))?;
    if let Some(replaced) = &imported.replaced {
        say(&format!("the key of before is kept in {}", replaced.display()));
    }
    Ok(DeviceEntry { replaced: imported.replaced, ..DeviceEntry::new(file, &imported.device, true) })
}

/// The device as it is shown.
#[derive(Debug, Serialize)]
struct DeviceEntry {
    device: String,
    key_file: PathBuf,
    protected: bool,
    /// Where an import keeps the key of before.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced: Option<PathBuf>,
}

impl DeviceEntry {
    fn new(file: &DeviceKeyFile, device: &Device, protected: bool) -> Self {
        Self { device: device.id().to_string(), key_file: file.path().to_owned(), protected, replaced: None }
    }

    fn print(&self, as_json: bool) -> anyhow::Result<()> {
        let mut output = Output::new();
        if as_json {
            output.line(&to_json(self))?;
        } else {
            output.line(&format!("device     {}", self.device))?;
            output.line(&format!("key file   {}", self.key_file.display()))?;
            output.line(&format!("protected  {}", if self.protected { "by a passphrase" } else { "no" }))?;
        }
        output.flush()
    }
}
