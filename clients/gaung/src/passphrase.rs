//! Passphrases of the device key: read from a file or typed unseen on the terminal.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _, Read as _, Write as _},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use gaung_client::{Device, DeviceError, DeviceKeyFile, Passphrase};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use crate::{failure::Failure, output::say};

/// How often a wrong passphrase is asked for again.
const ATTEMPTS: u32 = 3;
/// Longest line of a passphrase's file and of what is typed, bytes; a longer one is no passphrase.
const MAX_LINE: usize = 2048;
const END_OF_TEXT: u8 = 0x03;
const END_OF_TRANSMISSION: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const ERASE_LINE: u8 = 0x15;
const DELETE: u8 = 0x7f;

/// Where passphrases come from: the file that `GAUNG_PASSPHRASE_FILE` names, else the terminal.
#[derive(Debug, Clone)]
pub(crate) struct PassphraseSource {
    file: Option<PathBuf>,
}

/// A device whose key was read.
#[derive(Debug)]
pub(crate) struct UnlockedDevice {
    /// The device.
    pub(crate) device: Device,
    /// What its key was decrypted with; `None` if it is not protected.
    pub(crate) passphrase: Option<Passphrase>,
}

impl PassphraseSource {
    /// Reads passphrases from the first line of `file`, which is opened when one is needed.
    pub(crate) const fn new(file: Option<PathBuf>) -> Self {
        Self { file }
    }

    /// Reads or makes the device key, with its passphrase if it is protected.
    ///
    /// # Errors
    /// [`DeviceError`]; [`Failure`] of usage if there is neither a usable file nor a terminal.
    pub(crate) fn unlock(&self, file: &DeviceKeyFile) -> anyhow::Result<UnlockedDevice> {
        match file.load_or_create() {
            Ok(device) => Ok(UnlockedDevice { device, passphrase: None }),
            Err(DeviceError::Protected(_)) => {
                let (device, passphrase) = self.open(file.path(), |passphrase| file.unlock(passphrase))?;
                Ok(UnlockedDevice { device, passphrase: Some(passphrase) })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the key in the file `of` with its passphrase; who types a wrong one may try again.
    ///
    /// # Errors
    /// As [`Self::unlock`].
    pub(crate) fn open<T>(
        &self,
        of: &Path,
        open: impl Fn(&Passphrase) -> Result<T, DeviceError>,
    ) -> anyhow::Result<(T, Passphrase)> {
        if let Some(file) = &self.file {
            let passphrase = read_file(file)?;
            return Ok((open(&passphrase)?, passphrase));
        }
        let mut attempt = 1;
        loop {
            let passphrase = ask(&format!("Passphrase of {}: ", of.display()))?;
            match open(&passphrase) {
                Err(DeviceError::WrongPassphrase(_)) if attempt < ATTEMPTS => say("wrong passphrase; try again"),
                opened => return Ok((opened?, passphrase)),
            }
            attempt += 1;
        }
    }

    /// Asks for a new passphrase.
    ///
    /// # Errors
    /// As [`Self::unlock`]; [`Failure`] of usage if the two that are typed differ.
    pub(crate) fn choose(&self) -> anyhow::Result<Passphrase> {
        match &self.file {
            Some(file) => read_file(file),
            None => self.choose_on_terminal(),
        }
    }

    /// Asks for a new passphrase on the terminal, as the file has the former one.
    ///
    /// # Errors
    /// As [`Self::choose`].
    pub(crate) fn choose_on_terminal(&self) -> anyhow::Result<Passphrase> {
        let passphrase = ask("New passphrase: ")?;
        if ask("The same again: ")? != passphrase {
            return Err(Failure::usage("the two passphrases differ; nothing was changed").into());
        }
        Ok(passphrase)
    }
}

fn read_file(path: &Path) -> anyhow::Result<Passphrase> {
    let failure = |error: &dyn std::fmt::Display| {
        Failure::usage(format!("{}, which GAUNG_PASSPHRASE_FILE names: {error}", path.display()))
    };
    let mut line = Vec::with_capacity(MAX_LINE);
    let read = File::open(path).and_then(|file| file.take(MAX_LINE as u64).read_to_end(&mut line));
    read.map_err(|error| failure(&error))?;
    let end = line.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(line.len());
    line.truncate(end);
    Ok(Passphrase::new(line).map_err(|error| failure(&error))?)
}

/// Asks on the terminal until something is typed.
fn ask(question: &str) -> anyhow::Result<Passphrase> {
    let terminal = terminal()?;
    loop {
        let hidden = HiddenInput::begin(&terminal).context("cannot hide what is typed")?;
        (&terminal).write_all(question.as_bytes()).context("cannot ask for the passphrase")?;
        let typed = type_line(&terminal);
        drop(hidden);
        let _ = (&terminal).write_all(b"\n");
        match Passphrase::new(typed?) {
            Ok(passphrase) => return Ok(passphrase),
            Err(error) => say(&error.to_string()),
        }
    }
}

/// Returns the terminal at stdin or, where something is piped into the command, the one that the process belongs to.
fn terminal() -> anyhow::Result<File> {
    if io::stdin().is_terminal() {
        return Ok(io::stdin().as_fd().try_clone_to_owned().context("cannot use the terminal")?.into());
    }
    OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|_| {
        let advice = "no terminal to ask for the passphrase of the device key; name a file that holds it in GAUNG_PASSPHRASE_FILE";
        Failure::usage(advice).into()
    })
}

/// Reads bytes as they are typed, and honours the keys that correct and cancel.
fn type_line(mut terminal: &File) -> anyhow::Result<Vec<u8>> {
    // Never moved to a larger place, so that no copy is left behind.
    let mut typed = Vec::with_capacity(MAX_LINE);
    loop {
        let mut byte = [0];
        if terminal.read(&mut byte).context("cannot read the passphrase")? == 0 {
            bail!("the terminal closed before the passphrase was complete");
        }
        match byte[0] {
            b'\n' | b'\r' => return Ok(typed),
            END_OF_TEXT | END_OF_TRANSMISSION => bail!("no passphrase was given"),
            ERASE_LINE => typed.clear(),
            // A character is up to four bytes, of which the first alone does not begin with the bits 10.
            BACKSPACE | DELETE => while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            byte if typed.len() < MAX_LINE => typed.push(byte),
            _ => {}
        }
    }
}

/// A terminal that shows nothing of what is typed and gives it byte by byte, until this is dropped.
struct HiddenInput<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> HiddenInput<'a> {
    fn begin(terminal: &'a File) -> nix::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut hidden = before.clone();
        // Without ISIG Ctrl+C is a byte like others: a signal would end the process and leave the terminal without echo.
        hidden.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        tcsetattr(terminal, SetArg::TCSAFLUSH, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for HiddenInput<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, SetArg::TCSADRAIN, &self.before);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::failure::exit_code;

    #[test]
    fn the_first_line_of_a_file_is_the_passphrase() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        let expected = Passphrase::new(b"kunci rumah".to_vec()).unwrap();
        for text in ["kunci rumah", "kunci rumah\n", "kunci rumah\r\n", "kunci rumah\nmore\n"] {
            std::fs::write(&path, text).unwrap();
            assert!(read_file(&path).unwrap() == expected, "{text:?}");
        }
        for text in [String::new(), "\nkunci".to_owned(), "x".repeat(1025)] {
            std::fs::write(&path, text).unwrap();
            let error = read_file(&path).unwrap_err();
            assert!(exit_code(&error) == 2 && error.to_string().contains("GAUNG_PASSPHRASE_FILE"), "{error}");
        }
        assert_eq!(exit_code(&read_file(&dir.path().join("missing")).unwrap_err()), 2);
    }
}
