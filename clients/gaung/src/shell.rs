//! `gaung completions` and `gaung man`: print what clap generates from the grammar of the command line.

use anyhow::Context as _;

use crate::{
    cli::{Cli, CompletionsArgs, ManArgs},
    output::{Output, say},
};

/// Prints a completion script.
///
/// # Errors
/// If stdout cannot be written.
pub(crate) fn completions(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::grammar(), "gaung", &mut script);
    let mut output = Output::new();
    output.bytes(&script)?;
    output.flush()
}

/// Writes one page for each command: `gaung.1`, `gaung-send.1`, `gaung-group-create.1` and so on.
///
/// # Errors
/// If the folder cannot be made or written.
pub(crate) fn man(args: &ManArgs) -> anyhow::Result<()> {
    let dir = &args.dir;
    let mut grammar = Cli::grammar().disable_help_subcommand(true);
    grammar.build();
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    clap_mangen::generate_to(grammar, dir)
        .with_context(|| format!("cannot write manual pages to {}", dir.display()))?;
    say(&format!("wrote the manual pages to {}; read them with: man {}/gaung.1", dir.display(), dir.display()));
    Ok(())
}
