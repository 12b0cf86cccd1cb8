//! `gaung site`.

use clap::{Args, Subcommand};
use gaung_client::SiteCode;

/// `gaung site`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  gaung site\n  \
    gaung site trust K7QX-2MPA-Q9DV-E4TB --server 192.168.1.10\n  gaung site forget K7QX-2MPA-Q9DV-E4TB\n\n\
    A site is one server with its services; its code stays the same when its address changes. With --json one object for \
    each site: site, code, basis, since, addresses."
)]
pub(crate) struct SiteArgs {
    /// What to do; without it the known sites are listed.
    #[command(subcommand)]
    pub(crate) command: Option<SiteCommand>,
    /// Print one JSON object a line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What can be done with known sites.
#[derive(Debug, Subcommand)]
pub(crate) enum SiteCommand {
    /// Connect to the server, which must belong to the site with this code, and trust the site from then on.
    Trust(TrustArgs),
    /// Forget a site: the next server at its addresses is taken as new.
    Forget(ForgetArgs),
}

/// `gaung site trust`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung site trust K7QX-2MPA-Q9DV-E4TB --server 192.168.1.10\n\n\
    The server shows its code when it starts. Get it by another way than this network where that matters.")]
pub(crate) struct TrustArgs {
    /// The site's code.
    pub(crate) code: SiteCode,
}

/// `gaung site forget`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung site forget K7QX-2MPA-Q9DV-E4TB")]
pub(crate) struct ForgetArgs {
    /// The site's code.
    pub(crate) code: SiteCode,
}
