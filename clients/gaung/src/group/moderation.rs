//! `gaung group role`, `kick`, `ban` and `mute`: who may do what in a group.

use std::collections::BTreeSet;

use gaung_client::{Client, ErrorKind, GroupPolicy, Member, Moderation, Role};
use gaung_proto::{Content, DeviceId, GroupName, Kind, Seq};
use gaung_terminal::{sanitise::one_line, table::table};
use serde::Serialize;

use super::to_json;
use crate::{
    cli::moderation::{BanArgs, KickArgs, MuteArgs, RedactArgs, RoleArg, RoleArgs, UnbanArgs, UnmuteArgs, WhoArgs},
    failure::Failure,
    output::{Output, say},
    render::{amount, time::rfc3339_s},
};

/// Fewest digits that name a device, so that a member's name is rarely taken for one.
const MIN_DIGITS: usize = 4;

pub(super) async fn role(client: &Client, args: RoleArgs, output: &mut Output) -> anyhow::Result<()> {
    let (Some(who), Some(role)) = (args.who, args.role) else {
        return show(client, &args.group, args.json, output).await;
    };
    let person = find(client, &args.group, &who).await?;
    let role = match role {
        RoleArg::Admin => Role::Admin,
        RoleArg::Moderator => Role::Moderator,
        RoleArg::Member => Role::Member,
    };
    client.moderate(&args.group, Moderation::SetRole(person.device, role)).await?;
    say(&format!("{person} is {} of {} now", role.name(), args.group));
    Ok(())
}

pub(super) async fn kick(client: &Client, KickArgs { whom }: KickArgs) -> anyhow::Result<()> {
    let person = decide(client, &whom, Moderation::Kick).await?;
    say(&format!("{person} was removed from {}; who has a new invite, or finds it open, may come back", whom.group));
    Ok(())
}

pub(super) async fn ban(client: &Client, BanArgs { whom }: BanArgs) -> anyhow::Result<()> {
    let person = decide(client, &whom, Moderation::Ban).await?;
    say(&format!(
        "{person} is banned from {}; to lift that: gaung group unban {} {}",
        whom.group, whom.group, person.device
    ));
    Ok(())
}

pub(super) async fn unban(client: &Client, UnbanArgs { whom }: UnbanArgs) -> anyhow::Result<()> {
    let person = decide(client, &whom, Moderation::Unban).await?;
    say(&format!("{person} may join {} again", whom.group));
    Ok(())
}

pub(super) async fn mute(client: &Client, MuteArgs { whom, time }: MuteArgs) -> anyhow::Result<()> {
    let person = decide(client, &whom, |device| Moderation::Mute(device, time)).await?;
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    say(&format!("{person} may not write in {} for {}", whom.group, amount::duration_ms(ms)));
    Ok(())
}

pub(super) async fn unmute(client: &Client, UnmuteArgs { whom }: UnmuteArgs) -> anyhow::Result<()> {
    let person = decide(client, &whom, Moderation::Unmute).await?;
    say(&format!("{person} may write in {} again", whom.group));
    Ok(())
}

pub(super) async fn redact(client: &Client, RedactArgs { group, seq }: RedactArgs) -> anyhow::Result<()> {
    let kind = Kind::Moderate { seq: Seq(seq) };
    let publisher = client.publisher(&group).await?;
    publisher.publish(Content { author_name: String::new(), kind }).await?.await?;
    say(&format!("#{seq} of {group} is hidden; its bytes stay in the log until they are dropped (gaung group keep)"));
    Ok(())
}

async fn decide(client: &Client, whom: &WhoArgs, what: impl FnOnce(DeviceId) -> Moderation) -> anyhow::Result<Person> {
    let person = find(client, &whom.group, &whom.who).await?;
    client.moderate(&whom.group, what(person.device)).await?;
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

/// A device that somebody named.
#[derive(Debug, PartialEq, Eq)]
struct Person {
    name: Option<String>,
    device: DeviceId,
}

impl std::fmt::Display for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Some(name) => f.write_str(&one_line(name)),
            None => self.device.fmt(f),
        }
    }
}

async fn find(client: &Client, group: &GroupName, who: &str) -> anyhow::Result<Person> {
    let (policy, members) = (client.policy(group).await?.policy, client.members(group).await?);
    let decided = policy.bans.iter().chain(policy.mutes.keys()).chain(&policy.admins).chain(&policy.moderators);
    let known: BTreeSet<DeviceId> = members.iter().map(|member| member.device).chain(decided.copied()).collect();
    Ok(named(who, &members, &known)?)
}

/// Finds the device that `who` names: by a member's name, by the first digits of a device that is known, or by all of them.
fn named(who: &str, members: &[Member], known: &BTreeSet<DeviceId>) -> Result<Person, Failure> {
    let digits = who.to_ascii_lowercase();
    let by_digits = |device: &&DeviceId| digits.len() >= MIN_DIGITS && device.to_string().starts_with(&digits);
    let by_name = members.iter().filter(|member| member.name == who).map(|member| &member.device);
    let found: BTreeSet<DeviceId> =
        by_name.chain(known.iter().filter(by_digits)).copied().filter(|d| !d.is_none()).collect();
    let device = match (found.len(), digits.parse()) {
        (1, _) => found.first().copied(),
        (0, Ok(device)) => Some(device),
        (0, Err(_)) => {
            let message = format!("nobody in the group is called {who}; `gaung group members` shows names and devices");
            return Err(Failure::new(ErrorKind::NotFound, message));
        }
        (_, _) => None,
    };
    let Some(device) = device else {
        let devices: Vec<_> = found.iter().map(ToString::to_string).collect();
        return Err(Failure::usage(format!("{who} may be several devices, choose one: {}", devices.join(", "))));
    };
    Ok(Person { name: name_of(members, device).map(str::to_owned), device })
}

fn name_of(members: &[Member], device: DeviceId) -> Option<&str> {
    members.iter().find(|member| member.device == device).map(|member| member.name.as_str())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn member(name: &str, device: u8) -> Member {
        let device = DeviceId([device; 16]);
        Member { device, name: name.to_owned(), present: true, lane: String::new(), joined_unix_ms: 0 }
    }

    #[test]
    fn a_device_is_named_by_a_name_or_by_digits_and_never_by_chance() {
        let members = [member("Budi", 0xab), member("Budi", 0xcd), member("Citra", 0xce), member("abab", 0x11)];
        let known: BTreeSet<_> = members.iter().map(|member| member.device).chain([DeviceId([0xef; 16])]).collect();
        let device = |who: &str| named(who, &members, &known).map(|person| person.device.0[0]);
        assert_eq!(device("Citra").unwrap(), 0xce);
        assert_eq!(device("CDCD").unwrap(), 0xcd);
        assert_eq!(device("efef").unwrap(), 0xef, "a banned device is no member");
        assert_eq!(device(&"77".repeat(16)).unwrap(), 0x77, "a device that is not known yet");
        assert!(device("Budi").unwrap_err().to_string().contains("several"));
        assert!(device("abab").unwrap_err().to_string().contains("several"), "a name, and another's digits");
        for unknown in ["Dewi", "ef", "efee"] {
            assert!(device(unknown).unwrap_err().to_string().contains("nobody"), "{unknown}");
        }
    }
}
