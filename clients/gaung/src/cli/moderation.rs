//! `gaung group role`, `kick`, `ban` and `mute`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use gaung_proto::GroupName;

use super::group::lifetime;

/// A device of a group.
#[derive(Debug, Args)]
pub(crate) struct WhoArgs {
    /// The group.
    #[arg(value_name = "NAME")]
    pub(crate) group: GroupName,
    /// The name of a member that no other member has, or the first digits of a device id as `group members` shows it.
    #[arg(value_name = "WHO")]
    pub(crate) who: String,
}

/// `gaung group role`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  gaung group role lobby\n  gaung group role lobby Budi moderator\n  \
    gaung group role lobby 3f9a20c4 member")]
pub(crate) struct RoleArgs {
    /// The group.
    #[arg(value_name = "NAME")]
    pub(crate) group: GroupName,
    /// The name of a member that no other member has, or the first digits of a device id. Without it everybody with a role is
    /// shown, and everybody who is banned or muted.
    #[arg(value_name = "WHO", requires = "role")]
    pub(crate) who: Option<String>,
    /// The new role.
    #[arg(value_name = "ROLE", value_enum)]
    pub(crate) role: Option<RoleArg>,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A role that can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArg {
    /// Appoints moderators, and does what they do; set by the owner alone.
    Admin,
    /// Bans, mutes and kicks those without a role, and redacts messages.
    Moderator,
    /// No role.
    Member,
}

/// `gaung group kick`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung group kick lobby Budi")]
pub(crate) struct KickArgs {
    #[command(flatten)]
    pub(crate) whom: WhoArgs,
}

/// `gaung group ban`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung group ban lobby Budi")]
pub(crate) struct BanArgs {
    #[command(flatten)]
    pub(crate) whom: WhoArgs,
}

/// `gaung group unban`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung group unban lobby 3f9a20c4")]
pub(crate) struct UnbanArgs {
    #[command(flatten)]
    pub(crate) whom: WhoArgs,
}

/// `gaung group mute`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung group mute lobby Budi --for 30m")]
pub(crate) struct MuteArgs {
    #[command(flatten)]
    pub(crate) whom: WhoArgs,
    /// For how long, such as 30m, 24h, 7d.
    #[arg(long = "for", id = "time", value_name = "DURATION", default_value = "10m", value_parser = lifetime)]
    pub(crate) time: Duration,
}

/// `gaung group unmute`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung group unmute lobby Budi")]
pub(crate) struct UnmuteArgs {
    #[command(flatten)]
    pub(crate) whom: WhoArgs,
}

/// `gaung group redact`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung group redact lobby 41")]
pub(crate) struct RedactArgs {
    /// The group.
    #[arg(value_name = "NAME")]
    pub(crate) group: GroupName,
    /// The message, by its number in the log.
    #[arg(value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seq: u64,
}
