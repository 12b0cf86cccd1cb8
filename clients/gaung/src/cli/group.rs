//! `gaung group …`.

use std::{net::Ipv4Addr, time::Duration};

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use gaung_proto::{GroupName, GroupRetention};
use service_kit::config::{parse_bytes, parse_duration};

use super::moderation::{BanArgs, KickArgs, MuteArgs, RedactArgs, RoleArgs, UnbanArgs, UnmuteArgs};

/// Shortest retention by age, as the registry enforces it.
const MIN_AGE_MS: u64 = 3_600_000;

/// What can be done with groups.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  gaung group create lobby && gaung group list")]
pub(crate) enum GroupCommand {
    /// Create a group; the registry chooses its multicast address unless --address is given.
    Create(CreateArgs),
    /// List all groups.
    List(ListArgs),
    /// Show one group.
    Show(ShowArgs),
    /// List the members of a group.
    Members(MembersArgs),
    /// Join a group, or with an invite a private one.
    Join(JoinArgs),
    /// Leave a group.
    Leave(LeaveArgs),
    /// Delete a group; only for the device that created it.
    Delete(DeleteArgs),
    /// Start a new log for a group at seq 1, and lose its history; only for the device that created it.
    Reset(ResetArgs),
    /// Set how much of a group's log is kept; only for the device that created it.
    Keep(KeepArgs),
    /// Create an invite code for a private group.
    Invite(InviteArgs),
    /// Revoke an invite code.
    Revoke(RevokeArgs),
    /// Show who has a role in a group and who is banned or muted, or give a device a role.
    Role(RoleArgs),
    /// Remove a device from a group; it may come back, into a private group by a new invite.
    Kick(KickArgs),
    /// Remove a device from a group, and refuse its messages and its return.
    Ban(BanArgs),
    /// Lift a ban.
    Unban(UnbanArgs),
    /// Refuse the messages of a device for a while; it may read.
    Mute(MuteArgs),
    /// Lift a mute.
    Unmute(UnmuteArgs),
    /// Hide a message of anybody from readers; its bytes stay in the log until retention drops them.
    Redact(RedactArgs),
}

/// `gaung group create`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  gaung group create lobby\n  \
    gaung group create praktikum --address 224.1.1.1 --port 5004 --format text\n  \
    gaung group create kelas --keep-for 30d --keep-bytes 1GiB")]
pub(crate) struct CreateArgs {
    /// Letters, digits, '-', '_' and '.', at most 64.
    #[arg(value_name = "NAME")]
    pub(crate) group: GroupName,
    /// How far the group's datagrams travel: one site, or the whole organization.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) scope: ScopeArg,
    /// Multicast address [default: chosen by the registry].
    #[arg(long, value_name = "A")]
    pub(crate) address: Option<Ipv4Addr>,
    /// UDP port [default: chosen by the registry].
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// proto: ordered and repaired. text: each datagram is exactly the text, for plain sockets, without repair.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: FormatArg,
    /// Open the group only to those with an invite. Its messages are carried by TCP alone.
    #[arg(long)]
    pub(crate) private: bool,
    /// Delete messages that are older, such as 30d; at least 1h [default: no limit].
    #[arg(long, value_name = "DURATION", value_parser = age)]
    pub(crate) keep_for: Option<u64>,
    /// Delete the oldest messages above so many bytes [default: no limit].
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) keep_bytes: Option<u64>,
    /// Delete the oldest messages above so many [default: no limit].
    #[arg(long, value_name = "N")]
    pub(crate) keep_messages: Option<u64>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

impl CreateArgs {
    /// The retention of the new group.
    pub(crate) fn keep(&self) -> GroupRetention {
        limits([self.keep_for, self.keep_bytes, self.keep_messages], GroupRetention::default())
    }
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
    /// Print one JSON object a line.
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
    /// Print one JSON object.
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
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `gaung group join`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  gaung group join lobby\n  gaung group join --invite -\n  gaung group join --invite 7KQ2M4VXW3E5T6Y7U2I3O4P5AA"
)]
pub(crate) struct JoinArgs {
    /// The group.
    #[arg(value_name = "NAME", required_unless_present = "invite", conflicts_with = "invite")]
    pub(crate) group: Option<GroupName>,
    /// Invite code of `gaung group invite`. Other users of this machine can see it in the process list; `-` reads it from
    /// stdin instead, with a prompt on a terminal.
    #[arg(long, value_name = "CODE|-", value_parser = invite_code, allow_hyphen_values = true)]
    pub(crate) invite: Option<InviteCode>,
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

/// `gaung group keep`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  gaung group keep lobby --for 30d --messages 100000\n  gaung group keep lobby --for 0"
)]
#[command(group = ArgGroup::new("limits").args(["age", "bytes", "messages"]).required(true).multiple(true))]
pub(crate) struct KeepArgs {
    /// The group.
    #[arg(value_name = "NAME")]
    pub(crate) group: GroupName,
    /// Delete messages that are older, such as 30d; at least 1h, 0 for no limit [default: unchanged].
    #[arg(long = "for", id = "age", value_name = "DURATION", value_parser = age)]
    pub(crate) age_ms: Option<u64>,
    /// Delete the oldest messages above so many bytes, 0 for no limit [default: unchanged].
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) bytes: Option<u64>,
    /// Delete the oldest messages above so many, 0 for no limit [default: unchanged].
    #[arg(long, value_name = "N")]
    pub(crate) messages: Option<u64>,
}

impl KeepArgs {
    /// The new retention, given the one `before`.
    pub(crate) fn keep(&self, before: GroupRetention) -> GroupRetention {
        limits([self.age_ms, self.bytes, self.messages], before)
    }
}

/// `gaung group invite`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung group invite rapat --uses 5 --expires 24h")]
pub(crate) struct InviteArgs {
    /// The group.
    #[arg(value_name = "NAME")]
    pub(crate) group: GroupName,
    /// How many devices may use it [default: no limit].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) uses: Option<u32>,
    /// How long it is valid, such as 30m, 24h, 7d.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = lifetime)]
    pub(crate) expires: Duration,
}

/// `gaung group revoke`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung group revoke 7KQ2M4VXW3E5T6Y7U2I3O4P5AA")]
pub(crate) struct RevokeArgs {
    /// The invite code.
    #[arg(value_parser = code)]
    pub(crate) code: String,
}

/// Where an invite's code comes from.
#[derive(Debug, Clone)]
pub(crate) enum InviteCode {
    Given(String),
    Stdin,
}

fn invite_code(text: &str) -> Result<InviteCode, String> {
    if text == "-" { Ok(InviteCode::Stdin) } else { code(text).map(InviteCode::Given) }
}

pub(crate) fn code(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err("is no invite code; it has 26 letters and digits".to_owned());
    }
    Ok(text.to_owned())
}

/// Milliseconds for which messages are kept; 0 for ever.
fn age(text: &str) -> Result<u64, String> {
    let ms = u64::try_from(parse_duration(text)?.as_millis()).unwrap_or(u64::MAX);
    if (1..MIN_AGE_MS).contains(&ms) {
        return Err(
            "messages are kept for at least 1h, the time in which publishers send them again; 0 keeps them for ever"
                .to_owned(),
        );
    }
    Ok(ms)
}

/// Age, bytes and messages as typed, where 0 is no limit; what was not typed is as `before`.
fn limits(typed: [Option<u64>; 3], before: GroupRetention) -> GroupRetention {
    let limit = |typed: Option<u64>, before| typed.map_or(before, |limit| Some(limit).filter(|limit| *limit > 0));
    let [age, bytes, messages] = typed;
    GroupRetention {
        max_age_ms: limit(age, before.max_age_ms),
        max_bytes: limit(bytes, before.max_bytes),
        max_messages: limit(messages, before.max_messages),
    }
}

pub(super) fn lifetime(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("must be longer than 0".to_owned()),
        duration => Ok(duration),
    }
}
