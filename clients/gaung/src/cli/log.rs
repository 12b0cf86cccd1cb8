//! `gaung log …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What can be done with a log's files.
#[derive(Debug, Subcommand)]
#[command(after_help = SALVAGE_EXAMPLES)]
pub(crate) enum LogCommand {
    /// Copy what is whole of a damaged log into a new folder, and say what is missing.
    Salvage(SalvageArgs),
}

const SALVAGE_EXAMPLES: &str = "Examples:
  gaung log salvage ~/.local/share/gaung/relay/log --to /tmp/log
  gaung log salvage log-0000000003.redb.damaged --to /tmp/log --json";

/// `gaung log salvage`.
#[derive(Debug, Args)]
#[command(after_help = SALVAGE_EXAMPLES)]
pub(crate) struct SalvageArgs {
    /// The folder of the log, `relay/log` in the data of `gaung up`, whose relay must not run; or one file of it. It is
    /// read only.
    #[arg(value_name = "DIR")]
    pub(crate) from: PathBuf,
    /// The folder to copy to: an empty one, or one that does not exist yet.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// One JSON object a line, for each group.
    #[arg(long)]
    pub(crate) json: bool,
}
