//! `gaung status GROUP`: shows the lane and the progress of each member.

use std::collections::{HashMap, HashSet};

use gaung_client::{Client, Member, MemberLane, MemberProgress};
use gaung_proto::{DeviceId, GroupName, Seq};
use gaung_terminal::{sanitise::one_line, table::table};
use serde::Serialize;

use crate::{context::Context, group::to_json, output::Output, people::People};

/// Prints one line for each member: those that report to the relay, then those that only the registry lists.
///
/// # Errors
/// [`gaung_client::ClientError`] if there is no such group, or its relay does not answer.
pub(super) async fn run(context: &Context, client: &Client, group: &GroupName, json: bool) -> anyhow::Result<()> {
    let mut log = client.group_status(group).await?;
    // Without the registry the lines have no names.
    let mut known = client.members(group).await.unwrap_or_default();
    let mut people = People::open(context, client.device_id())?;
    known.iter_mut().for_each(|member| people.rename(&mut member.name, member.device));
    log.members.iter_mut().for_each(|member| people.rename(&mut member.name, member.device));
    let rows = rows(log.head, &log.members, &known);
    let mut output = Output::new();
    if json {
        rows.iter().try_for_each(|row| output.line(&to_json(row)))?;
    } else {
        let cells: Vec<_> = rows.iter().map(Row::cells).collect();
        let head = ["NAME", "LANE", "LOSS %", "REPAIRS", "ROUND TRIP", "DELIVERED", "BEHIND"];
        table(head, &cells).iter().try_for_each(|line| output.line(line))?;
    }
    output.flush()
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct Row {
    name: String,
    /// `None` for a text session.
    device: Option<String>,
    /// The process; `None` if it is not known to the relay.
    client: Option<String>,
    /// `multicast`, `tcp` or `text`; `None` if it is not here, or nobody knows.
    lane: Option<String>,
    here: bool,
    delivered: Option<u64>,
    /// Messages after that one.
    behind: Option<u64>,
    received_datagrams: Option<u64>,
    lost_datagrams: Option<u64>,
    loss_percent: Option<f64>,
    /// Lost datagrams that came by multicast again.
    repairs: Option<u64>,
    round_trip_us: Option<u32>,
}

fn rows(head: Seq, reported: &[MemberProgress], known: &[Member]) -> Vec<Row> {
    let names: HashMap<DeviceId, &str> = known.iter().map(|member| (member.device, member.name.as_str())).collect();
    let mut rows: Vec<Row> = reported.iter().map(|member| Row::reporting(head, member, &names)).collect();
    rows.sort_by(|a, b| (&a.name, &a.client).cmp(&(&b.name, &b.client)));
    let reporting: HashSet<DeviceId> = reported.iter().map(|member| member.device).collect();
    let mut others: Vec<Row> = known.iter().filter(|m| !reporting.contains(&m.device)).map(Row::listed).collect();
    others.sort_by(|a, b| a.name.cmp(&b.name));
    rows.extend(others);
    rows
}

impl Row {
    fn reporting(head: Seq, member: &MemberProgress, names: &HashMap<DeviceId, &str>) -> Self {
        let delivered = (member.lane != Some(MemberLane::Text)).then_some(member.delivered.0);
        let sent = member.received_datagrams + member.lost_datagrams;
        let by_datagrams = |count: u64| (sent > 0).then_some(count);
        let name = names.get(&member.device).copied().unwrap_or(&member.name);
        Self {
            name: if name.is_empty() { member.client.to_string()[..8].to_owned() } else { name.to_owned() },
            device: (!member.device.is_none()).then(|| member.device.to_string()),
            client: Some(member.client.to_string()),
            lane: member.lane.map(|lane| lane.as_str().to_owned()),
            here: true,
            delivered,
            behind: delivered.map(|delivered| head.0.saturating_sub(delivered)),
            received_datagrams: by_datagrams(member.received_datagrams),
            lost_datagrams: by_datagrams(member.lost_datagrams),
            loss_percent: (sent > 0).then(|| member.lost_datagrams as f64 * 100.0 / sent as f64),
            repairs: by_datagrams(member.repaired_datagrams),
            round_trip_us: (member.round_trip_us > 0).then_some(member.round_trip_us),
        }
    }

    /// Makes the row of a member that only the registry lists: absent, or present without reporting to the relay.
    fn listed(member: &Member) -> Self {
        Self {
            name: member.name.clone(),
            device: Some(member.device.to_string()),
            lane: Some(member.lane.clone()).filter(|lane| member.present && !lane.is_empty()),
            here: member.present,
            ..Self::default()
        }
    }

    fn cells(&self) -> [String; 7] {
        let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let lane = self.lane.as_deref().unwrap_or(if self.here { "?" } else { "away" });
        [
            one_line(&self.name).into_owned(),
            one_line(lane).into_owned(),
            self.loss_percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent:.1}")),
            number(self.repairs),
            self.round_trip_us.map_or_else(|| "-".to_owned(), |us| format!("{:.1} ms", f64::from(us) / 1000.0)),
            number(self.delivered),
            number(self.behind),
        ]
    }
}

#[cfg(test)]
mod tests {
    use gaung_proto::ClientId;

    use super::*;

    fn progress(device: u8, lane: MemberLane, delivered: u64) -> MemberProgress {
        MemberProgress {
            device: if lane == MemberLane::Text { DeviceId::NONE } else { DeviceId([device; 16]) },
            client: ClientId([device; 16]),
            delivered: Seq(delivered),
            received_datagrams: if lane == MemberLane::Multicast { 190 } else { 0 },
            lost_datagrams: if lane == MemberLane::Multicast { 10 } else { 0 },
            repaired_datagrams: 9,
            round_trip_us: if lane == MemberLane::Multicast { 1250 } else { 0 },
            lane: Some(lane),
            name: if lane == MemberLane::Text { "client-1".to_owned() } else { String::new() },
        }
    }

    fn member(device: u8, name: &str, present: bool) -> Member {
        let (device, name, lane) = (DeviceId([device; 16]), name.to_owned(), "tcp".to_owned());
        Member { device, name, present, lane, joined_unix_ms: 0 }
    }

    #[test]
    fn each_member_is_one_line_whatever_its_lane() {
        let reported = [
            progress(2, MemberLane::Tcp, 40),
            progress(1, MemberLane::Multicast, 37),
            progress(3, MemberLane::Text, 0),
        ];
        let known = [member(1, "ani", true), member(2, "bu\ndi", true), member(4, "citra", false)];
        let cells: Vec<_> = rows(Seq(40), &reported, &known).iter().map(|row| row.cells().join("|")).collect();
        let lines = [
            "ani|multicast|5.0|9|1.2 ms|37|3",
            "bu␊di|tcp|-|-|-|40|0",
            "client-1|text|-|-|-|-|-",
            "citra|away|-|-|-|-|-",
        ];
        assert_eq!(cells, lines);
    }
}
