//! Groups: listing, creating, joining and leaving them.

use std::sync::Arc;

use axum::{
    Json,
    extract::{
        Extension, Path, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{HeaderValue, StatusCode},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use gaung_proto::{
    GroupId, LogId,
    limits::MAX_SESSION_GROUPS,
    pb::registry::{
        CreateGroupRequest, DeviceSignature, Format, GetGroupRequest, Group, JoinGroupRequest, LeaveGroupRequest,
        Scope, get_group_request, join_group_request::By,
    },
};
use serde::{Deserialize, Serialize};

use crate::directory::GroupInfo;

use super::{
    super::{context::ApiContext, serve::PageConnection},
    error::ApiError,
    group_id,
    hex::{Hex, to_hex},
    refuse_exposed,
    signature::SignatureJson,
    timed, timed_for,
};

/// Groups on one page of the list.
const PAGE_GROUPS: usize = 200;
/// Most groups of a request by id: as many as a session may be in, and `everyone`.
const MAX_IDS: usize = MAX_SESSION_GROUPS + 1;

/// A group as the page gets it.
#[derive(Debug, Serialize)]
pub(super) struct GroupJson {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) private: bool,
    /// True for `everyone`.
    pub(super) reserved: bool,
    /// Multicast address and port; `None` while the group has none, or where the hub does not know it.
    pub(super) address: Option<String>,
    /// The log id as 16 hexadecimal digits.
    log: String,
}

impl GroupJson {
    /// Returns `None` if the registry described a group without a valid id.
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

#[derive(Default, Deserialize)]
pub(super) struct ListQuery {
    /// Ids of the wanted groups, separated by commas; those that do not exist or are private are left out.
    ids: Option<String>,
    /// A part of the wanted groups' names, in any letter case.
    #[serde(default)]
    search: String,
    /// The last name on the page before.
    #[serde(default)]
    after: String,
}

/// Answers with the groups requested by id, or with a page of the public groups that the hub knows: `everyone` first, the others
/// by name. The header `gaung-next` is the `after` of the next page, percent-encoded.
pub(super) async fn list(
    State(context): State<Arc<ApiContext>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query?;
    if let Some(ids) = &query.ids {
        return Ok(Json(by_ids(&context, ids).await).into_response());
    }
    let (page, next) = page_of(context.directory.public(), &query.search, &query.after);
    if page.is_empty() && context.directory.everyone().is_none() {
        return Err(ApiError::unavailable("the hub has not reached the registry yet; try again"));
    }
    let page: Vec<_> = page.iter().map(|info| GroupJson::of_known(info)).collect();
    let mut response = Json(page).into_response();
    if let Some(next) = next.and_then(|name| HeaderValue::from_str(&percent_encoded(&name)).ok()) {
        response.headers_mut().insert("gaung-next", next);
    }
    Ok(response)
}

/// Returns one page, and the name after which the next one begins.
fn page_of(groups: Vec<Arc<GroupInfo>>, search: &str, after: &str) -> (Vec<Arc<GroupInfo>>, Option<String>) {
    let wanted = search.trim().to_lowercase();
    let is_wanted = |info: &GroupInfo| wanted.is_empty() || info.name.to_lowercase().contains(&wanted);
    let is_later = |info: &GroupInfo| after.is_empty() || (!info.is_everyone() && info.name.as_str() > after);
    let mut found: Vec<_> = groups.into_iter().filter(|info| is_later(info) && is_wanted(info)).collect();
    found.sort_by(|a, b| (!a.is_everyone(), &a.name).cmp(&(!b.is_everyone(), &b.name)));
    let goes_on = found.len() > PAGE_GROUPS;
    found.truncate(PAGE_GROUPS);
    let next = found.last().filter(|_| goes_on).map(|info| info.name.clone());
    (found, next)
}

/// Encodes like `encodeURIComponent`, because headers carry ASCII alone.
fn percent_encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// Returns those groups that exist and are public, in the order of `ids`. Groups that the directory does not have are looked up
/// at the registry. A browser gets its private groups by joining them, which it signs.
async fn by_ids(context: &ApiContext, ids: &str) -> Vec<GroupJson> {
    let mut found = Vec::new();
    for id in ids.split(',').filter_map(|id| id.parse::<GroupId>().ok()).take(MAX_IDS) {
        let group = match context.directory.by_id(id).filter(|info| !info.private) {
            Some(info) => Some(GroupJson::of_known(&info)),
            None => described_by_id(context, id).await.ok(),
        };
        found.extend(group);
    }
    found
}

/// Looks a group up at the registry.
pub(super) async fn described_by_id(context: &ApiContext, id: GroupId) -> Result<GroupJson, ApiError> {
    let request = GetGroupRequest { by: Some(get_group_request::By::Id(id.into())), viewer: None };
    let answer = context.registry.clone().get_group(timed(request)).await?.into_inner();
    described(answer.group.as_ref())
}

#[derive(Deserialize)]
pub(super) struct CreateRequest {
    /// 16 bytes that identify the request: a repeated one returns the same group.
    request_id: Hex,
    name: String,
    #[serde(default)]
    private: bool,
    member_name: String,
    /// Of the call `create`, by the owner.
    signature: SignatureJson,
}

/// Creates a group.
pub(super) async fn create(
    State(context): State<Arc<ApiContext>>,
    Extension(browser): Extension<PageConnection>,
    body: Result<Json<CreateRequest>, JsonRejection>,
) -> Result<(StatusCode, Json<GroupJson>), ApiError> {
    let Json(create) = body?;
    if create.private {
        refuse_exposed(&browser)?;
    }
    let signature = DeviceSignature::from(create.signature);
    let request = CreateGroupRequest {
        request_id: create.request_id.0.into(),
        name: create.name,
        scope: Scope::Site.into(),
        format: Format::Proto.into(),
        private: create.private,
        owner_public_key: signature.public_key.clone(),
        owner_name: create.member_name,
        signature: Some(signature),
        ..CreateGroupRequest::default()
    };
    let created = context.registry.clone().create_group(timed_for(&browser, request)).await?.into_inner();
    Ok((StatusCode::CREATED, Json(described(created.group.as_ref())?)))
}

/// Converts the group in an answer of the registry.
pub(super) fn described(group: Option<&Group>) -> Result<GroupJson, ApiError> {
    group.and_then(GroupJson::from_pb).ok_or_else(|| ApiError::unavailable("the registry's answer has no group"))
}

#[derive(Deserialize)]
pub(super) struct MemberRequest {
    client: Hex,
    #[serde(default)]
    member_name: String,
    /// Of the call `join` or `leave`.
    signature: SignatureJson,
}

/// The outcome of joining a group.
#[derive(Serialize)]
pub(super) struct JoinedJson {
    group: GroupJson,
    /// The ticket that subscriptions to a private group carry, as hexadecimal digits; empty for a public one.
    ticket: String,
    /// Time until presence and ticket expire; the page joins again before.
    lease_ms: u64,
}

/// Makes the device that has signed a member, or renews its presence.
pub(super) async fn join(
    State(context): State<Arc<ApiContext>>,
    Extension(browser): Extension<PageConnection>,
    Path(group): Path<String>,
    body: Result<Json<MemberRequest>, JsonRejection>,
) -> Result<Json<JoinedJson>, ApiError> {
    let Json(member) = body?;
    let signature = DeviceSignature::from(member.signature);
    let request = JoinGroupRequest {
        by: Some(By::Id(group_id(&group)?.into())),
        public_key: signature.public_key.clone(),
        member_name: member.member_name,
        client_id: member.client.0.into(),
        lane: "tcp".to_owned(),
        signature: Some(signature),
    };
    let joined = context.registry.clone().join_group(timed_for(&browser, request)).await?.into_inner();
    let group = described(joined.group.as_ref())?;
    let ticket = if group.private {
        refuse_exposed(&browser)?;
        to_hex(&joined.ticket)
    } else {
        String::new()
    };
    Ok(Json(JoinedJson { group, ticket, lease_ms: joined.lease_ms }))
}

/// Ends the membership of the device that has signed.
pub(super) async fn leave(
    State(context): State<Arc<ApiContext>>,
    Path(group): Path<String>,
    body: Result<Json<MemberRequest>, JsonRejection>,
) -> Result<StatusCode, ApiError> {
    let Json(member) = body?;
    // An empty client id ends the membership itself; another one only the presence of that client.
    let signature = DeviceSignature::from(member.signature);
    let request = LeaveGroupRequest {
        group_id: group_id(&group)?.into(),
        public_key: signature.public_key.clone(),
        client_id: Bytes::from(member.client.0),
        signature: Some(signature),
    };
    context.registry.clone().leave_group(timed(request)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use gaung_proto::{Generation, RelayId};

    use super::*;

    fn group(number: u8, name: &str, reserved: bool) -> Arc<GroupInfo> {
        Arc::new(GroupInfo {
            id: GroupId([number; 16]),
            name: name.to_owned(),
            private: false,
            relay: RelayId([1; 16]),
            generation: Generation(1),
            log: LogId(1),
            reserved,
        })
    }

    #[test]
    fn every_group_is_on_some_page_and_everyone_on_the_first() {
        let mut groups: Vec<_> = (0..3 * PAGE_GROUPS).map(|i| group(2, &format!("-{i:06}"), false)).collect();
        groups.push(group(1, "everyone", true));
        groups.push(group(3, "Kelas é", false));
        let (first, mut next) = page_of(groups.clone(), "", "");
        assert_eq!((first[0].name.as_str(), first.len()), ("everyone", PAGE_GROUPS));
        let mut seen = first.len();
        while let Some(after) = next {
            let page;
            (page, next) = page_of(groups.clone(), "", &after);
            seen += page.len();
        }
        assert_eq!(seen, groups.len());
        let (found, next) = page_of(groups, " kELAS", "");
        assert_eq!((found[0].name.as_str(), found.len(), next), ("Kelas é", 1, None));
        assert_eq!(percent_encoded("Kelas é"), "Kelas%20%C3%A9");
    }
}
