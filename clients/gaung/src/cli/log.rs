//! `gaung log …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What can be done with a log's files.
#[derive(Debug, Subcommand)]
#[command(after_help = SALVAGE_EXAMPLES)]
pub(crate) enum LogCommand {
    /// Copy the intact messages of a damaged log to a new folder, and list what is missing.
    Salvage(SalvageArgs),
}

const SALVAGE_EXAMPLES: &str = "Examples:
  gaung log salvage ~/.local/share/gaung/relay/log --to /tmp/log
  gaung log salvage log-0000000003.seg.damaged --to /tmp/log --json";

/// `gaung log salvage`.
#[derive(Debug, Args)]
#[command(after_help = SALVAGE_EXAMPLES)]
pub(crate) struct SalvageArgs {
    /// Folder of the log, `relay/log` in the data folder of `gaung up`, or one file of it. The relay must not run. It is
    /// not changed.
    #[arg(value_name = "DIR")]
    pub(crate) from: PathBuf,
    /// Folder to copy to: empty, or one that does not exist.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// Print one JSON object a line, for each group.
    #[arg(long)]
    pub(crate) json: bool,
}
