//! `gaung group role`, `kick`, `ban` and `mute`: who may do what in a group.

use std::collections::BTreeSet;

use gaung_client::{Client, GroupPolicy, Member, Moderation, NamedDevice, Role};
use gaung_proto::{Content, DeviceId, GroupName, Kind, Seq};
use gaung_terminal::{sanitise::one_line, table::table};
use serde::Serialize;
use service_kit::amount;

use super::to_json;
use crate::{
    cli::moderation::{RedactArgs, RoleArg, RoleArgs, WhoArgs},
    output::{Output, say},
    render::time::rfc3339_s,
};

pub(super) async fn role(client: &Client, args: RoleArgs, output: &mut Output) -> anyhow::Result<()> {
    let (Some(who), Some(role)) = (args.who, args.role) else {
        return show(client, &args.group, args.json, output).await;
    };
    let role = match role {
        RoleArg::Admin => Role::Admin,
        RoleArg::Moderator => Role::Moderator,
        RoleArg::Member => Role::Member,
    };
    moderate(client, &WhoArgs { group: args.group, who }, Moderation::SetRole(role)).await
}

/// Decides about a device and says so.
pub(super) async fn moderate(client: &Client, whom: &WhoArgs, what: Moderation) -> anyhow::Result<()> {
    let person = decide(client, whom, what).await?;
    say(&outcome(&person, &whom.group, what));
    Ok(())
}

pub(super) async fn redact(client: &Client, RedactArgs { group, seq }: RedactArgs) -> anyhow::Result<()> {
    let kind = Kind::Moderate { seq: Seq(seq) };
    let publisher = client.publisher(&group).await?;
    publisher.publish(Content { author_name: String::new(), kind }).await?.await?;
    say(&format!("#{seq} of {group} is hidden; its bytes stay in the log until they are dropped (gaung group keep)"));
    Ok(())
}

/// Decides about the device that somebody names.
pub(crate) async fn decide(client: &Client, whom: &WhoArgs, what: Moderation) -> anyhow::Result<NamedDevice> {
    let person = client.named_device(&whom.group, &whom.who).await?;
    client.moderate(&whom.group, person.device, what).await?;
    Ok(person)
}

async fn show(client: &Client, group: &GroupName, json: bool, output: &mut Output) -> anyhow::Result<()> {
    let policy = client.policy(group).await?;
    let members = client.members(group).await?;
    let standings = standings(&policy, &members);
    if json {
        return standings.iter().try_for_each(|standing| output.line(&to_json(standing)));
    }
    let row = |standing: &Standing| {
        let until = standing.muted_until.clone().unwrap_or_default();
        let banned = if standing.banned { "banned" } else { "" };
        [
            one_line(&standing.name).into_owned(),
            standing.role.to_owned(),
            banned.to_owned(),
            until,
            standing.device.clone(),
        ]
    };
    let rows: Vec<_> = standings.iter().map(row).collect();
    table(["NAME", "ROLE", "BANNED", "MUTED UNTIL", "DEVICE"], &rows).iter().try_for_each(|line| output.line(line))
}

/// What was decided about one device.
#[derive(Debug, Serialize)]
struct Standing {
    /// Empty if the device is no member.
    name: String,
    device: String,
    role: &'static str,
    banned: bool,
    /// Null if it is not muted.
    muted_until: Option<String>,
}

fn standings(GroupPolicy { group, policy }: &GroupPolicy, members: &[Member]) -> Vec<Standing> {
    let owner = group.owner.unwrap_or(DeviceId::NONE);
    let listed = policy.bans.iter().chain(policy.mutes.keys()).copied();
    let ranked = group.owner.into_iter().chain(policy.admins.iter().copied()).chain(policy.moderators.iter().copied());
    let mut seen = BTreeSet::new();
    let devices = ranked.chain(listed).filter(|device| seen.insert(*device)).collect::<Vec<_>>();
    let standing = |device: DeviceId| Standing {
        name: name_of(members, device).unwrap_or_default().to_owned(),
        device: device.to_string(),
        role: policy.role(owner, device).name(),
        banned: policy.bans.contains(&device),
        muted_until: policy.mutes.get(&device).map(|until| rfc3339_s(*until)),
    };
    devices.into_iter().map(standing).collect()
}

/// Says what a decision about somebody means.
pub(crate) fn outcome(person: &NamedDevice, group: &GroupName, what: Moderation) -> String {
    let name = called(person);
    match what {
        Moderation::SetRole(role) => format!("{name} is {} of {group} now", role.name()),
        Moderation::Kick => {
            format!("{name} was removed from {group}; who has a new invite, or finds it open, may come back")
        }
        Moderation::Ban => {
            format!("{name} is banned from {group}; to lift that: gaung group unban {group} {}", person.device)
        }
        Moderation::Unban => format!("{name} may join {group} again"),
        Moderation::Mute(time) => {
            let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            format!("{name} may not write in {group} for {}", amount::duration_ms(ms))
        }
        Moderation::Unmute => format!("{name} may write in {group} again"),
    }
}

/// How a person is called in an answer.
fn called(person: &NamedDevice) -> String {
    person.name.as_ref().map_or_else(|| person.device.to_string(), |name| one_line(name).into_owned())
}

fn name_of(members: &[Member], device: DeviceId) -> Option<&str> {
    members.iter().find(|member| member.device == device).map(|member| member.name.as_str())
}
