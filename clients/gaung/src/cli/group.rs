//! `gaung group …`.

use std::{net::Ipv4Addr, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use gaung_proto::GroupName;
use service_kit::config::parse_duration;

/// What can be done with groups.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  gaung group create lobby && gaung group list")]
pub(crate) enum GroupCommand {
    /// Make a group; the registry chooses its multicast address unless told.
    Create(CreateArgs),
    /// List all groups.
    List(ListArgs),
    /// Show one group.
    Show(ShowArgs),
    /// List the members of a group.
    Members(MembersArgs),
    /// Become a member of a group, or of a private one by an invite.
    Join(JoinArgs),
    /// End one's membership.
    Leave(LeaveArgs),
    /// Delete a group; only the device that made it may.
    Delete(DeleteArgs),
    /// Start a group's log anew at seq 1; its history is lost. Only the device that made it may.
    Reset(ResetArgs),
    /// Make an invite code that lets others in.
    Invite(InviteArgs),
    /// Make an invite code worthless.
    Revoke(RevokeArgs),
}

/// `gaung group create`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  gaung group create lobby\n  \
    gaung group create praktikum --address 224.1.1.1 --port 5004 --format text")]
pub(crate) struct CreateArgs {
    /// Letters, digits, '-', '_' and '.', at most 64.
    #[arg(value_name = "NAME")]
    pub(crate) group: GroupName,
    /// How far the group's datagrams go: one site, or the whole organization.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) scope: ScopeArg,
    /// A multicast address of your own choice.
    #[arg(long, value_name = "A")]
    pub(crate) address: Option<Ipv4Addr>,
    /// UDP port of the group.
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// proto: ordered and repaired. text: a datagram is exactly the text, for bare sockets; nothing is repaired.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: FormatArg,
    /// Only for those with an invite; carried by TCP only until datagrams are encrypted.
    #[arg(long)]
    pub(crate) private: bool,
    /// One JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How far a group reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ScopeArg {
    /// 239.255.0.0/16, TTL 1.
    #[default]
    Site,
    /// 239.192.0.0/14, TTL 16.
    Organization,
}

/// What a group's datagrams look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum FormatArg {
    /// Gaung's own.
    #[default]
    Proto,
    /// Bare text.
    Text,
}

/// `gaung group list`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung group list --json")]
pub(crate) struct ListArgs {
    /// One JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `gaung group show`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung group show lobby")]
pub(crate) struct ShowArgs {
    /// The group.
    #[arg(value_name = "NAME")]
    pub(crate) group: GroupName,
    /// One JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `gaung group members`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung group members lobby")]
pub(crate) struct MembersArgs {
    /// The group.
    #[arg(value_name = "NAME")]
    pub(crate) group: GroupName,
    /// One JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `gaung group join`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  gaung group join lobby\n  gaung group join --invite 7KQ2M4VXW3E5T6Y7U2I3O4P5AA")]
pub(crate) struct JoinArgs {
    /// The group.
    #[arg(value_name = "NAME", required_unless_present = "invite", conflicts_with = "invite")]
    pub(crate) group: Option<GroupName>,
    /// A code made by `gaung group invite`.
    #[arg(long, value_name = "CODE", value_parser = code)]
    pub(crate) invite: Option<String>,
}

/// `gaung group leave`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung group leave lobby")]
pub(crate) struct LeaveArgs {
    /// The group.
    #[arg(value_name = "NAME")]
    pub(crate) group: GroupName,
}

/// `gaung group delete`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung group delete lobby")]
pub(crate) struct DeleteArgs {
    /// The group.
    #[arg(value_name = "NAME")]
    pub(crate) group: GroupName,
}

/// `gaung group reset`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung group reset lobby")]
pub(crate) struct ResetArgs {
    /// The group.
    #[arg(value_name = "NAME")]
    pub(crate) group: GroupName,
}

/// `gaung group invite`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung group invite rapat --uses 5 --expires 24h")]
pub(crate) struct InviteArgs {
    /// The group.
    #[arg(value_name = "NAME")]
    pub(crate) group: GroupName,
    /// How many devices may enter by it [default: no limit].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) uses: Option<u32>,
    /// How long it is good for, such as 30m, 24h, 7d.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = lifetime)]
    pub(crate) expires: Duration,
}

/// `gaung group revoke`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung group revoke 7KQ2M4VXW3E5T6Y7U2I3O4P5AA")]
pub(crate) struct RevokeArgs {
    /// The code.
    #[arg(value_parser = code)]
    pub(crate) code: String,
}

fn code(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err("is no invite code; it has 26 letters and digits".to_owned());
    }
    Ok(text.to_owned())
}

fn lifetime(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("must be longer than nothing".to_owned()),
        duration => Ok(duration),
    }
}
