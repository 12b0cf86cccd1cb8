//! The members of a group: those who are present at the relay, then those whom only the registry knows.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use axum::{
    Json,
    extract::{Extension, Path, Query, State, rejection::QueryRejection},
    http::HeaderMap,
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
    super::{context::ApiContext, serve::PageConnection},
    error::ApiError,
    group_id,
    hex::{Hex, to_hex},
    history::ticket,
    receipts::lane_word,
    relay_of, timed,
};

/// A member as the page gets it.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct MemberJson {
    /// Empty if it is unknown.
    pub(super) name: String,
    /// Empty for a text session.
    pub(super) device: String,
    /// The client id; empty if the member is not present at the relay.
    pub(super) client: String,
    /// `None` if the member is absent, or its lane unknown.
    pub(super) lane: Option<String>,
    pub(super) here: bool,
    pub(super) delivered: u64,
    /// First-sent datagrams that the member received in this epoch.
    pub(super) received: u64,
    pub(super) lost: u64,
    pub(super) repaired: u64,
    /// 0 if it is unknown.
    pub(super) round_trip_us: u32,
}

#[derive(Deserialize)]
pub(super) struct MembersQuery {
    ticket: Option<Hex>,
}

/// Answers with the members of one group.
pub(super) async fn members(
    State(context): State<Arc<ApiContext>>,
    Extension(browser): Extension<PageConnection>,
    Path(group): Path<String>,
    headers: HeaderMap,
    query: Result<Query<MembersQuery>, QueryRejection>,
) -> Result<Json<Vec<MemberJson>>, ApiError> {
    let Query(query) = query?;
    let group = group_id(&group)?;
    let ticket = ticket(&context, &browser, &headers, group, query.ticket)?;
    let log = log_of(&context, group, &ticket).await?;
    Ok(Json(merged(&log.members, &known_members(&context, group, ticket).await)))
}

/// Reads the state of the group's log from its relay.
pub(super) async fn log_of(context: &ApiContext, group: GroupId, ticket: &Bytes) -> Result<GetLogResponse, ApiError> {
    let (info, mut relay) = relay_of(context, group, ticket).await?;
    let request = GetLogRequest { group_id: info.id.into(), ticket: ticket.clone() };
    Ok(relay.get_log(timed(request)).await?.into_inner())
}

/// Lists the members that the registry knows; none while it is away, because the relay's list is useful without names.
pub(super) async fn known_members(context: &ApiContext, group: GroupId, ticket: Bytes) -> Vec<Member> {
    let request = ListMembersRequest { group_id: group.into(), viewer: ticket_viewer(ticket) };
    let listed = context.registry.clone().list_members(timed(request)).await;
    listed.map(|listed| listed.into_inner().members).unwrap_or_default()
}

/// Merges both lists: one entry for each present client, then one for each absent device.
pub(super) fn merged(present: &[MemberStatus], known: &[Member]) -> Vec<MemberJson> {
    let names: HashMap<&[u8], &str> =
        known.iter().map(|member| (&member.device_id[..], member.name.as_str())).collect();
    let present_devices: HashSet<&[u8]> = present.iter().map(|member| &member.device_id[..]).collect();
    let mut rows: Vec<_> = present.iter().map(|member| MemberJson::present(member, &names)).collect();
    rows.extend(known.iter().filter(|member| !present_devices.contains(&member.device_id[..])).map(MemberJson::known));
    rows.sort_by(|a, b| (!a.here, &a.name, &a.client).cmp(&(!b.here, &b.name, &b.client)));
    rows
}

impl MemberJson {
    fn present(member: &MemberStatus, names: &HashMap<&[u8], &str>) -> Self {
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
        // On other lanes a present member is in the relay's list. The registry's lease alone proves nothing: it outlasts a
        // closed browser by minutes.
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
    fn present_members_come_first_and_none_is_listed_twice() {
        let tcp = MemberStatus {
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
        let rows = merged(&[text, tcp], &[member(1, "sari"), closed]);
        let listed: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.lane.as_deref(), row.here)).collect();
        assert_eq!(listed, [("client-1", Some("text"), true), ("sari", Some("tcp"), true), ("budi", None, false)]);
    }
}
