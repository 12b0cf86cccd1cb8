//! `gaung group …`: prints results to stdout, and what was done to stderr.

pub(crate) mod moderation;

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use anyhow::Context as _;
use gaung_client::{Client, Format, GroupInfo, Member, Moderation, NewGroup};
use gaung_proto::{GroupName, GroupRetention, Scope};
use gaung_terminal::{sanitise::one_line, table::table};
use serde::Serialize;
use service_kit::amount;

use crate::{
    cli::group::{CreateArgs, FormatArg, GroupCommand, InviteArgs, InviteCode, JoinArgs, KeepArgs, ScopeArg, code},
    context::Context,
    failure::Failure,
    output::{Output, say},
    people::People,
    render::time::rfc3339_s,
};

/// The longest line with a code that is read, in bytes.
const MAX_CODE_LINE: u64 = 256;

/// Runs a command on groups.
///
/// # Errors
/// [`gaung_client::ClientError`].
pub(crate) async fn run(context: &Context, command: GroupCommand) -> anyhow::Result<()> {
    let client = context.connect().await?;
    let mut output = Output::new();
    match command {
        GroupCommand::Create(args) => create(&client, args, &mut output).await?,
        GroupCommand::List(args) => list(&client.groups().await?, args.json, &mut output)?,
        GroupCommand::Show(args) => show(&client.group(&args.group).await?, args.json, &mut output)?,
        GroupCommand::Members(args) => members(context, &client, &args.group, args.json, &mut output).await?,
        GroupCommand::Join(args) => join(&client, args).await?,
        GroupCommand::Leave(args) => {
            client.leave(&args.group).await?;
            say(&format!("left {}", args.group));
        }
        GroupCommand::Delete(args) => {
            client.delete_group(&args.group).await?;
            say(&format!("deleted {}; its log goes in 24 hours", args.group));
        }
        GroupCommand::Reset(args) => {
            let group = client.reset_group(&args.group).await?;
            say(&format!("{} starts again at seq 1 with log {}", group.name, group.log));
        }
        GroupCommand::Keep(args) => keep(&client, args).await?,
        GroupCommand::Invite(args) => invite(&client, args, &mut output).await?,
        GroupCommand::Revoke(args) => {
            client.revoke(&args.code).await?;
            say("the invite is worth nothing now");
        }
        GroupCommand::Role(args) => moderation::role(&client, args, &mut output).await?,
        GroupCommand::Kick(args) => moderation::moderate(&client, &args.whom, Moderation::Kick).await?,
        GroupCommand::Ban(args) => moderation::moderate(&client, &args.whom, Moderation::Ban).await?,
        GroupCommand::Unban(args) => moderation::moderate(&client, &args.whom, Moderation::Unban).await?,
        GroupCommand::Mute(args) => moderation::moderate(&client, &args.whom, Moderation::Mute(args.time)).await?,
        GroupCommand::Redact(args) => moderation::redact(&client, args).await?,
        GroupCommand::Unmute(args) => moderation::moderate(&client, &args.whom, Moderation::Unmute).await?,
    }
    output.flush()
}

async fn create(client: &Client, args: CreateArgs, output: &mut Output) -> anyhow::Result<()> {
    let new = NewGroup {
        keep: args.keep(),
        name: args.group,
        scope: match args.scope {
            ScopeArg::Site => Scope::Site,
            ScopeArg::Organization => Scope::Organization,
        },
        format: match args.format {
            FormatArg::Proto => Format::Proto,
            FormatArg::Text => Format::Text,
        },
        private: args.private,
        address: args.address,
        port: args.port,
    };
    let group = client.create_group(new).await?;
    if group.private {
        say(
            "a private group is carried by TCP only, until datagrams are encrypted; let others in with `gaung group invite`",
        );
    }
    show(&group, args.json, output)
}

async fn keep(client: &Client, args: KeepArgs) -> anyhow::Result<()> {
    let before = client.group(&args.group).await?.keep;
    let group = client.set_retention(&args.group, args.keep(before)).await?;
    say(&format!("{} keeps {}", group.name, kept(group.keep)));
    Ok(())
}

async fn join(client: &Client, args: JoinArgs) -> anyhow::Result<()> {
    let group = match (args.group, args.invite) {
        (_, Some(InviteCode::Given(code))) => client.redeem(&code).await?,
        (_, Some(InviteCode::Stdin)) => client.redeem(&code_from_stdin()?).await?,
        (Some(name), None) => client.join(&name).await?,
        (None, None) => unreachable!("clap asks for one of them"),
    };
    say(&format!("joined {}", group.name));
    Ok(())
}

fn code_from_stdin() -> anyhow::Result<String> {
    if io::stdin().is_terminal() {
        say("the invite's code:");
    }
    let mut line = String::new();
    io::stdin().lock().take(MAX_CODE_LINE).read_line(&mut line).context("reading the code from stdin")?;
    code(&line).map_err(|wrong| Failure::usage(format!("what came by stdin {wrong}")).into())
}

async fn invite(client: &Client, args: InviteArgs, output: &mut Output) -> anyhow::Result<()> {
    let invite = client.invite(&args.group, args.uses, Some(args.expires)).await?;
    let uses = args.uses.map_or_else(|| "any number of devices".to_owned(), |n| format!("{n} device(s)"));
    say(&format!(
        "lets {uses} into {} until {}; they type: gaung group join --invite {}",
        args.group,
        rfc3339_s(invite.expires_unix_ms),
        invite.code
    ));
    output.line(&invite.code)
}

fn list(groups: &[GroupInfo], json: bool, output: &mut Output) -> anyhow::Result<()> {
    if json {
        return groups.iter().try_for_each(|group| output.line(&to_json(&GroupObject::of(group))));
    }
    let rows: Vec<_> = groups
        .iter()
        .map(|g| [g.name.to_string(), address(g), scope(g).to_owned(), format(g).to_owned(), access(g).to_owned()])
        .collect();
    table(["GROUP", "ADDRESS", "SCOPE", "FORMAT", "ACCESS"], &rows).iter().try_for_each(|line| output.line(line))
}

fn show(group: &GroupInfo, json: bool, output: &mut Output) -> anyhow::Result<()> {
    if json {
        return output.line(&to_json(&GroupObject::of(group)));
    }
    let owner = group.owner.map_or_else(|| "nobody".to_owned(), |owner| owner.to_string());
    let lines = [
        ("name", group.name.to_string()),
        ("id", group.id.to_string()),
        ("address", if group.lapsed { without_address(group) } else { address(group) }),
        ("scope", format!("{} (TTL {})", scope(group), group.ttl)),
        ("format", format(group).to_owned()),
        ("access", access(group).to_owned()),
        ("log", group.log.to_string()),
        ("relay", group.relay.to_string()),
        ("keeps", kept(group.keep)),
        ("owner", owner),
        ("created", rfc3339_s(group.created_unix_ms)),
    ];
    lines.iter().try_for_each(|(key, value)| output.line(&format!("{key:<8} {value}")))
}

async fn members(
    context: &Context,
    client: &Client,
    name: &GroupName,
    json: bool,
    output: &mut Output,
) -> anyhow::Result<()> {
    let mut members = client.members(name).await?;
    let mut people = People::open(context, client.device_id())?;
    members.iter_mut().for_each(|member| people.rename(&mut member.name, member.device));
    if json {
        return members.iter().try_for_each(|member| output.line(&to_json(&MemberObject::of(member))));
    }
    member_lines(&members).iter().try_for_each(|line| output.line(line))
}

/// Returns a table of members.
pub(crate) fn member_lines(members: &[Member]) -> Vec<String> {
    let row = |m: &Member| {
        let here = if m.present { "here" } else { "away" };
        [
            one_line(&m.name).into_owned(),
            here.to_owned(),
            one_line(&m.lane).into_owned(),
            m.device.to_string(),
            rfc3339_s(m.joined_unix_ms),
        ]
    };
    table(["NAME", "NOW", "LANE", "DEVICE", "JOINED"], &members.iter().map(row).collect::<Vec<_>>())
}

/// Returns the address of a group for a table.
pub(crate) fn address(group: &GroupInfo) -> String {
    group.heard_at().map_or_else(|| "lapsed".to_owned(), |addr| addr.to_string())
}

fn without_address(group: &GroupInfo) -> String {
    format!(
        "lapsed (was {}): the relay was away for a day; TCP carries the group, and it gets an address when the relay is back",
        group.addr
    )
}

/// Returns how much of a log is kept, for people.
fn kept(keep: GroupRetention) -> String {
    let limits = [
        keep.max_age_ms.map(amount::duration_ms),
        keep.max_bytes.map(amount::bytes),
        keep.max_messages.map(|n| format!("{n} message{}", if n == 1 { "" } else { "s" })),
    ];
    let limits: Vec<_> = limits.into_iter().flatten().collect();
    if limits.is_empty() { "what the relay keeps; no limit of its own".to_owned() } else { limits.join(", ") }
}

const fn scope(group: &GroupInfo) -> &'static str {
    match group.scope {
        Scope::Site => "site",
        Scope::Organization => "organization",
    }
}

const fn format(group: &GroupInfo) -> &'static str {
    match group.format {
        Format::Proto => "proto",
        Format::Text => "text",
    }
}

const fn access(group: &GroupInfo) -> &'static str {
    if group.private { "private" } else { "public" }
}

/// A group as a JSON object for scripts.
#[derive(Serialize)]
pub(crate) struct GroupObject {
    name: String,
    id: String,
    /// Null, and the port too, while the group has none.
    address: Option<String>,
    port: Option<u16>,
    address_lapsed: bool,
    scope: &'static str,
    ttl: u8,
    format: &'static str,
    private: bool,
    reserved: bool,
    generation: u32,
    log_id: String,
    relay_id: String,
    owner: Option<String>,
    created_at: String,
    keep: KeepObject,
}

/// The limits of a log; null means none.
#[derive(Serialize)]
struct KeepObject {
    max_age_ms: Option<u64>,
    max_bytes: Option<u64>,
    max_messages: Option<u64>,
}

impl GroupObject {
    fn of(group: &GroupInfo) -> Self {
        let GroupRetention { max_age_ms, max_bytes, max_messages } = group.keep;
        Self {
            name: group.name.to_string(),
            id: group.id.to_string(),
            address: group.heard_at().map(|addr| addr.ip().to_string()),
            port: group.heard_at().map(|addr| addr.port()),
            address_lapsed: group.lapsed,
            scope: scope(group),
            ttl: group.ttl,
            format: format(group),
            private: group.private,
            reserved: group.reserved,
            generation: group.generation.0,
            log_id: group.log.to_string(),
            relay_id: group.relay.to_string(),
            owner: group.owner.map(|owner| owner.to_string()),
            created_at: rfc3339_s(group.created_unix_ms),
            keep: KeepObject { max_age_ms, max_bytes, max_messages },
        }
    }
}

#[derive(Serialize)]
struct MemberObject<'a> {
    name: &'a str,
    device: String,
    present: bool,
    lane: &'a str,
    joined_at: String,
}

impl<'a> MemberObject<'a> {
    fn of(member: &'a Member) -> Self {
        Self {
            name: &member.name,
            device: member.device.to_string(),
            present: member.present,
            lane: &member.lane,
            joined_at: rfc3339_s(member.joined_unix_ms),
        }
    }
}

/// Returns an object as JSON on one line.
pub(crate) fn to_json(object: &impl Serialize) -> String {
    serde_json::to_string(object).expect("strings, numbers and lists of them are always JSON")
}
