//! Groups: which there are, making one, being in one.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State, rejection::JsonRejection},
    http::StatusCode,
};
use bytes::Bytes;
use gaung_proto::{
    GroupId, LogId,
    pb::registry::{
        CreateGroupRequest, Format, Group, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest, Scope,
        join_group_request::By,
    },
};
use serde::{Deserialize, Serialize};

use crate::{directory::GroupInfo, hub::Hub, registry};

use super::{
    device::{Hex, to_hex},
    error::ApiError,
    group_id, timed,
};

/// Most groups that the page shows.
const MAX_GROUPS: u32 = 1000;

/// A group as the page is told of it.
#[derive(Debug, Serialize)]
pub(super) struct GroupJson {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) private: bool,
    /// `everyone`.
    pub(super) reserved: bool,
    /// Multicast address and port; `None` while it has none, or nobody can say.
    pub(super) address: Option<String>,
    /// 16 hexadecimal digits.
    log: String,
}

impl GroupJson {
    /// `None` if the registry said something that no group can be.
    pub(super) fn from_pb(group: &Group) -> Option<Self> {
        Some(Self {
            id: GroupId::try_from(&group.id[..]).ok()?.to_string(),
            name: group.name.clone(),
            private: group.private,
            reserved: group.reserved,
            address: (!group.address_lapsed).then(|| format!("{}:{}", group.address, group.port)),
            log: LogId(group.log_id).to_string(),
        })
    }

    fn of_known(info: &GroupInfo) -> Self {
        Self {
            id: info.id.to_string(),
            name: info.name.clone(),
            private: info.private,
            reserved: info.reserved,
            address: None,
            log: info.log.to_string(),
        }
    }
}

/// All groups, by name; while the registry is away, those that the hub knows, for they talk on.
pub(super) async fn list(State(hub): State<Arc<Hub>>) -> Result<Json<Vec<GroupJson>>, ApiError> {
    match all(&hub).await {
        Ok(groups) => Ok(Json(groups.iter().filter_map(GroupJson::from_pb).collect())),
        Err(error) => {
            let mut known = hub.directory.all();
            known.sort_by(|a, b| a.name.cmp(&b.name));
            let known: Vec<_> = known.iter().map(|info| GroupJson::of_known(info)).collect();
            if known.is_empty() { Err(error) } else { Ok(Json(known)) }
        }
    }
}

/// The first [`MAX_GROUPS`] groups, by name.
pub(super) async fn all(hub: &Hub) -> Result<Vec<Group>, ApiError> {
    let request = ListGroupsRequest { page_size: MAX_GROUPS, page_token: String::new() };
    Ok(registry::client(hub).list_groups(timed(request)).await?.into_inner().groups)
}

#[derive(Deserialize)]
pub(super) struct CreateRequest {
    /// 16 bytes, one wish: a repetition gives the same group.
    request_id: Hex,
    name: String,
    #[serde(default)]
    private: bool,
    public_key: Hex,
    member_name: String,
}

/// Makes a group.
pub(super) async fn create(
    State(hub): State<Arc<Hub>>,
    body: Result<Json<CreateRequest>, JsonRejection>,
) -> Result<(StatusCode, Json<GroupJson>), ApiError> {
    let Json(wish) = body?;
    let request = CreateGroupRequest {
        request_id: wish.request_id.0.into(),
        name: wish.name,
        scope: Scope::Site.into(),
        format: Format::Proto.into(),
        private: wish.private,
        owner_public_key: wish.public_key.0.into(),
        owner_name: wish.member_name,
        ..CreateGroupRequest::default()
    };
    let made = registry::client(&hub).create_group(timed(request)).await?.into_inner();
    Ok((StatusCode::CREATED, Json(described(made.group.as_ref())?)))
}

/// The group of an answer.
pub(super) fn described(group: Option<&Group>) -> Result<GroupJson, ApiError> {
    group.and_then(GroupJson::from_pb).ok_or_else(|| ApiError::unavailable("the registry's answer has no group"))
}

#[derive(Deserialize)]
pub(super) struct MemberRequest {
    public_key: Hex,
    client: Hex,
    #[serde(default)]
    member_name: String,
}

#[derive(Serialize)]
pub(super) struct Joined {
    group: GroupJson,
    /// The right to use a private group; hexadecimal, for subscriptions.
    ticket: String,
    /// How long presence and ticket last; repeated before.
    lease_ms: u64,
}

/// Becomes a member, or stays a present one.
pub(super) async fn join(
    State(hub): State<Arc<Hub>>,
    Path(group): Path<String>,
    body: Result<Json<MemberRequest>, JsonRejection>,
) -> Result<Json<Joined>, ApiError> {
    let Json(member) = body?;
    let request = JoinGroupRequest {
        by: Some(By::Id(group_id(&group)?.into())),
        public_key: member.public_key.0.into(),
        member_name: member.member_name,
        client_id: member.client.0.into(),
        lane: "tcp".to_owned(),
    };
    let joined = registry::client(&hub).join_group(timed(request)).await?.into_inner();
    Ok(Json(Joined {
        group: described(joined.group.as_ref())?,
        ticket: to_hex(&joined.ticket),
        lease_ms: joined.lease_ms,
    }))
}

/// Is a member no more.
pub(super) async fn leave(
    State(hub): State<Arc<Hub>>,
    Path(group): Path<String>,
    body: Result<Json<MemberRequest>, JsonRejection>,
) -> Result<StatusCode, ApiError> {
    let Json(member) = body?;
    // An empty client id ends the lasting membership.
    let request = LeaveGroupRequest {
        group_id: group_id(&group)?.into(),
        public_key: member.public_key.0.into(),
        client_id: Bytes::from(member.client.0),
    };
    registry::client(&hub).leave_group(timed(request)).await?;
    Ok(StatusCode::NO_CONTENT)
}
