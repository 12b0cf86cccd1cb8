//! Figures of the running network for the lab page: services, groups, members by lane, datagrams sent. They are gathered at
//! most once a second, however many browsers request them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use gaung_proto::pb::{
    registry::{ListServicesRequest, ServiceInfo, ServiceKind},
    relay::SentDatagrams,
};
use serde::Serialize;
use tokio::{sync::Mutex, task::JoinSet, time::Instant};

use crate::directory::GroupInfo;

use super::{
    super::context::ApiContext,
    error::ApiError,
    groups,
    members::{MemberJson, known_members, log_of, merged},
    timed,
};

/// Age up to which an answer is served again.
const FRESH: Duration = Duration::from_millis(900);
/// Most groups whose figures are gathered.
const MAX_GROUPS: usize = 64;

/// The last answer and when it was gathered.
#[derive(Debug, Default)]
pub(super) struct LabSnapshot(Mutex<Option<(Instant, Bytes)>>);

#[derive(Serialize)]
struct LabJson {
    unix_ms: u64,
    services: Vec<ServiceJson>,
    hub: HubJson,
    groups: Vec<LabGroupJson>,
    /// Number of groups above the limit.
    groups_left_out: usize,
}

#[derive(Serialize)]
struct ServiceJson {
    kind: &'static str,
    id: String,
    host: String,
    alive: bool,
    version: String,
}

/// Counts of this hub since its start.
#[derive(Serialize)]
struct HubJson {
    id: String,
    framed_sessions: i64,
    web_sessions: i64,
    text_sessions: i64,
    /// Bytes written to all sessions.
    written_bytes: u64,
    broadcast_datagrams: u64,
}

#[derive(Serialize)]
struct LabGroupJson {
    id: String,
    name: String,
    address: Option<String>,
    head: u64,
    sent: SentJson,
    members: Vec<MemberJson>,
    /// Why the relay gave no figures.
    trouble: Option<String>,
}

#[derive(Serialize, Default)]
struct SentJson {
    data: u64,
    data_bytes: u64,
    repairs: u64,
    parity: u64,
}

/// Answers with figures that are at most [`FRESH`] old.
pub(super) async fn lab(
    State(context): State<Arc<ApiContext>>,
    snapshot: Arc<LabSnapshot>,
) -> Result<Response, ApiError> {
    let mut last = snapshot.0.lock().await;
    let fresh = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, json)| json.clone());
    let json = match fresh {
        Some(json) => json,
        None => {
            let json = Bytes::from(serde_json::to_vec(&gather(&context).await?).expect("figures become JSON"));
            *last = Some((Instant::now(), json.clone()));
            json
        }
    };
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}

async fn gather(context: &Arc<ApiContext>) -> Result<LabJson, ApiError> {
    let listed = context.registry.clone().list_services(timed(ListServicesRequest {})).await?.into_inner();
    let groups = by_interest(context);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(LabJson {
        unix_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        services: listed.services.iter().filter_map(ServiceJson::from_pb).collect(),
        hub: HubJson::of(context),
        groups_left_out: groups.len().saturating_sub(MAX_GROUPS),
        groups: gather_groups(context, groups).await,
    })
}

/// Sorts the groups: `everyone`, those with sessions here, then the others, each by name. So unused groups, however many,
/// displace none that is used.
fn by_interest(context: &ApiContext) -> Vec<Arc<GroupInfo>> {
    let mut groups = context.directory.public();
    let key = |info: &GroupInfo| (!info.is_everyone(), context.groups.get(info.id).is_none(), info.name.clone());
    groups.sort_by_cached_key(|info| key(info));
    groups
}

async fn gather_groups(context: &Arc<ApiContext>, groups: Vec<Arc<GroupInfo>>) -> Vec<LabGroupJson> {
    let mut gathering = JoinSet::new();
    for group in groups.into_iter().take(MAX_GROUPS) {
        gathering.spawn(LabGroupJson::gather(context.clone(), group));
    }
    let mut found: Vec<_> = gathering.join_all().await.into_iter().flatten().collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

impl LabGroupJson {
    async fn gather(context: Arc<ApiContext>, group: Arc<GroupInfo>) -> Option<Self> {
        let id = group.id;
        // Without a viewer, which is enough for public groups, and only they are listed.
        let described = groups::described_by_id(&context, id).await.ok()?;
        let log = log_of(&context, id, &Bytes::new()).await;
        let without_figures = Self {
            id: described.id,
            name: described.name,
            address: described.address,
            head: 0,
            sent: SentJson::default(),
            members: Vec::new(),
            trouble: None,
        };
        Some(match log {
            Ok(log) => {
                let known = known_members(&context, id, Bytes::new()).await;
                let sent = log.sent.unwrap_or_default();
                Self {
                    head: log.head_seq,
                    sent: SentJson::from_pb(&sent),
                    members: merged(&log.members, &known),
                    ..without_figures
                }
            }
            Err(error) => Self { trouble: Some(error.message().to_owned()), ..without_figures },
        })
    }
}

impl SentJson {
    const fn from_pb(sent: &SentDatagrams) -> Self {
        Self { data: sent.data, data_bytes: sent.data_bytes, repairs: sent.repairs, parity: sent.parity }
    }
}

impl ServiceJson {
    fn from_pb(service: &ServiceInfo) -> Option<Self> {
        let kind = match service.kind() {
            ServiceKind::Relay => "relay",
            ServiceKind::Hub => "hub",
            ServiceKind::Unspecified => return None,
        };
        Some(Self {
            kind,
            id: super::hex::to_hex(&service.service_id),
            host: service.advertise.clone(),
            alive: service.alive,
            version: service.version.clone(),
        })
    }
}

impl HubJson {
    fn of(context: &ApiContext) -> Self {
        let figures = &context.figures;
        Self {
            id: context.hub.to_string(),
            framed_sessions: figures.framed_sessions.get(),
            web_sessions: figures.web_sessions.get(),
            text_sessions: figures.text_sessions.get(),
            written_bytes: figures.written_bytes.get(),
            broadcast_datagrams: figures.broadcast_datagrams.get(),
        }
    }
}
