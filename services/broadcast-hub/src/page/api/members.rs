//! Who is in a group: what the relay hears of, then those whom the registry alone knows.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use bytes::Bytes;
use gaung_proto::{
    GroupId,
    pb::{
        registry::{ListMembersRequest, Member},
        relay::{GetLogRequest, GetLogResponse, MemberStatus},
    },
};
use serde::{Deserialize, Serialize};

use crate::registry::ticket_viewer;

use super::{
    super::context::ApiContext,
    device::{Hex, to_hex},
    error::ApiError,
    group_id,
    history::ticket,
    receipts::lane_word,
    relay_of, timed,
};

/// A member as the page is told of it.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct MemberJson {
    /// Empty if nobody knows it.
    pub(super) name: String,
    /// Empty for a text session.
    pub(super) device: String,
    /// The process; empty if the relay does not hear of it.
    pub(super) client: String,
    /// `None` if it is away, or nobody knows.
    pub(super) lane: Option<String>,
    pub(super) here: bool,
    pub(super) delivered: u64,
    /// Of first-sent datagrams, in this epoch.
    pub(super) received: u64,
    pub(super) lost: u64,
    pub(super) repaired: u64,
    /// 0: unknown.
    pub(super) round_trip_us: u32,
}

#[derive(Deserialize)]
pub(super) struct MembersQuery {
    ticket: Option<Hex>,
}

/// The members of one group.
pub(super) async fn members(
    State(context): State<Arc<ApiContext>>,
    Path(group): Path<String>,
    query: Result<Query<MembersQuery>, QueryRejection>,
) -> Result<Json<Vec<MemberJson>>, ApiError> {
    let Query(query) = query?;
    let group = group_id(&group)?;
    let ticket = ticket(query.ticket);
    let log = log_of(&context, group, &ticket).await?;
    Ok(Json(joined(&log.members, &known(&context, group, ticket).await)))
}

/// The group's log as its relay describes it.
pub(super) async fn log_of(context: &ApiContext, group: GroupId, ticket: &Bytes) -> Result<GetLogResponse, ApiError> {
    let (info, mut relay) = relay_of(context, group, ticket).await?;
    let request = GetLogRequest { group_id: info.id.into(), ticket: ticket.clone() };
    Ok(relay.get_log(timed(request)).await?.into_inner())
}

/// Whom the registry knows; nobody while it is away, for the relay's list is worth showing without names.
pub(super) async fn known(context: &ApiContext, group: GroupId, ticket: Bytes) -> Vec<Member> {
    let request = ListMembersRequest { group_id: group.into(), viewer: ticket_viewer(ticket) };
    let listed = context.registry.clone().list_members(timed(request)).await;
    listed.map(|listed| listed.into_inner().members).unwrap_or_default()
}

/// One entry a process that is here, then one a device that is away.
pub(super) fn joined(heard: &[MemberStatus], known: &[Member]) -> Vec<MemberJson> {
    let names: HashMap<&[u8], &str> =
        known.iter().map(|member| (&member.device_id[..], member.name.as_str())).collect();
    let told: HashSet<&[u8]> = heard.iter().map(|member| &member.device_id[..]).collect();
    let mut rows: Vec<_> = heard.iter().map(|member| MemberJson::heard(member, &names)).collect();
    rows.extend(known.iter().filter(|member| !told.contains(&member.device_id[..])).map(MemberJson::known));
    rows.sort_by(|a, b| (!a.here, &a.name, &a.client).cmp(&(!b.here, &b.name, &b.client)));
    rows
}

impl MemberJson {
    fn heard(member: &MemberStatus, names: &HashMap<&[u8], &str>) -> Self {
        let client = to_hex(&member.client_id);
        let has_device = member.device_id.iter().any(|byte| *byte != 0);
        let name = names.get(&member.device_id[..]).copied().unwrap_or(&member.name);
        Self {
            name: name.to_owned(),
            device: if has_device { to_hex(&member.device_id) } else { String::new() },
            client,
            lane: lane_word(member.lane()).map(str::to_owned),
            here: true,
            delivered: member.delivered_seq,
            received: member.received_datagrams,
            lost: member.lost_datagrams,
            repaired: member.repaired_datagrams,
            round_trip_us: member.round_trip_us,
        }
    }

    fn known(member: &Member) -> Self {
        // By the other lanes the relay hears of those who are here; the registry's lease outlasts a browser by minutes.
        let here = member.present && member.lane == "broadcast";
        Self {
            name: member.name.clone(),
            device: to_hex(&member.device_id),
            lane: here.then(|| member.lane.clone()),
            here,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use gaung_proto::pb::relay::MemberLane;

    use super::*;

    #[test]
    fn those_who_are_here_come_first_and_nobody_twice() {
        let heard = MemberStatus {
            device_id: vec![1; 16].into(),
            client_id: vec![0xab; 16].into(),
            lane: MemberLane::Tcp.into(),
            ..MemberStatus::default()
        };
        let text = MemberStatus {
            device_id: vec![0; 16].into(),
            client_id: vec![3; 16].into(),
            lane: MemberLane::Text.into(),
            name: "client-1".to_owned(),
            ..MemberStatus::default()
        };
        let member = |device: u8, name: &str| Member {
            device_id: vec![device; 16].into(),
            name: name.to_owned(),
            ..Member::default()
        };
        let closed = Member { present: true, lane: "tcp".to_owned(), ..member(2, "budi") };
        let rows = joined(&[text, heard], &[member(1, "sari"), closed]);
        let told: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.lane.as_deref(), row.here)).collect();
        assert_eq!(told, [("client-1", Some("text"), true), ("sari", Some("tcp"), true), ("budi", None, false)]);
    }
}
