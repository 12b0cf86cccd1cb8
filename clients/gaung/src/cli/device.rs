//! `gaung device`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `gaung device`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  gaung device\n  gaung device protect\n  gaung device export device-of-ani\n  \
    gaung device import device-of-ani\n\n\
    The device key says who you are: whoever has it speaks as you. A passphrase is asked for on the terminal, once for each \
    command; GAUNG_PASSPHRASE_FILE names a file with the passphrase in its first line instead. With --json one object: \
    device, key_file, protected; of `import` also replaced, the file that keeps the key of before, if there was one."
)]
pub(crate) struct DeviceArgs {
    /// What to do; without it the device is shown.
    #[command(subcommand)]
    pub(crate) command: Option<DeviceCommand>,
    /// Print one JSON object.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What can be done with the device key.
#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// Encrypt the key with a passphrase, or change the passphrase.
    #[command(after_help = "Example:\n  gaung device protect\n\n\
        Nobody can recover a forgotten passphrase. Copies that backups made before stay readable.")]
    Protect,
    /// Keep the key unencrypted again.
    #[command(after_help = "Example:\n  gaung device unprotect")]
    Unprotect,
    /// Write the key, always encrypted, to a new file for another machine: under its passphrase, or one that is asked for.
    Export(ExportArgs),
    /// Take an exported key as this device; the key of before is kept beside it.
    Import(ImportArgs),
}

/// `gaung device export`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung device export device-of-ani")]
pub(crate) struct ExportArgs {
    /// The file to make.
    pub(crate) file: PathBuf,
}

/// `gaung device import`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung device import device-of-ani\n\n\
    Commands that run meanwhile stay the device of before until they are started again.")]
pub(crate) struct ImportArgs {
    /// The exported file.
    pub(crate) file: PathBuf,
}
