//! The running network in figures: services, groups, who hears by which lane, what was sent. Made at most once a second,
//! however many look.

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
    members::{MemberJson, joined, known, log_of},
    timed,
};

/// How old an answer may be.
const FRESH: Duration = Duration::from_millis(900);
/// Groups that are looked into.
const MAX_GROUPS: usize = 64;

/// The answer that was made last.
#[derive(Debug, Default)]
pub(super) struct Snapshot(Mutex<Option<(Instant, Bytes)>>);

#[derive(Serialize)]
struct Lab {
    unix_ms: u64,
    services: Vec<ServiceJson>,
    hub: HubJson,
    groups: Vec<LabGroup>,
    /// Groups that are not among them.
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

/// This hub's own counts, from its start.
#[derive(Serialize)]
struct HubJson {
    id: String,
    framed_sessions: i64,
    web_sessions: i64,
    text_sessions: i64,
    /// To all its sessions.
    written_bytes: u64,
    broadcast_datagrams: u64,
}

#[derive(Serialize)]
struct LabGroup {
    id: String,
    name: String,
    address: Option<String>,
    head: u64,
    sent: SentJson,
    members: Vec<MemberJson>,
    /// Why there are no figures.
    trouble: Option<String>,
}

#[derive(Serialize, Default)]
struct SentJson {
    data: u64,
    data_bytes: u64,
    repairs: u64,
    parity: u64,
}

/// Answers with the newest figures.
pub(super) async fn lab(State(context): State<Arc<ApiContext>>, snapshot: Arc<Snapshot>) -> Result<Response, ApiError> {
    let mut made = snapshot.0.lock().await;
    let fresh = made.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, json)| json.clone());
    let json = match fresh {
        Some(json) => json,
        None => {
            let json = Bytes::from(serde_json::to_vec(&gather(&context).await?).expect("figures become JSON"));
            *made = Some((Instant::now(), json.clone()));
            json
        }
    };
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}

async fn gather(context: &Arc<ApiContext>) -> Result<Lab, ApiError> {
    let listed = context.registry.clone().list_services(timed(ListServicesRequest {})).await?.into_inner();
    let groups = by_interest(context);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Lab {
        unix_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        services: listed.services.iter().filter_map(ServiceJson::from_pb).collect(),
        hub: HubJson::of(context),
        groups_left_out: groups.len().saturating_sub(MAX_GROUPS),
        groups: looked_into(context, groups).await,
    })
}

/// `everyone`, then the groups that somebody follows here, then the others, each by name: made-up groups hide none that is used.
fn by_interest(context: &ApiContext) -> Vec<Arc<GroupInfo>> {
    let mut groups = context.directory.public();
    let key = |info: &GroupInfo| (!info.is_everyone(), context.groups.get(info.id).is_none(), info.name.clone());
    groups.sort_by_cached_key(|info| key(info));
    groups
}

async fn looked_into(context: &Arc<ApiContext>, groups: Vec<Arc<GroupInfo>>) -> Vec<LabGroup> {
    let mut looking = JoinSet::new();
    for group in groups.into_iter().take(MAX_GROUPS) {
        looking.spawn(LabGroup::look(context.clone(), group));
    }
    let mut found: Vec<_> = looking.join_all().await.into_iter().flatten().collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

impl LabGroup {
    async fn look(context: Arc<ApiContext>, group: Arc<GroupInfo>) -> Option<Self> {
        let id = group.id;
        // None is private: those are told to their members alone.
        let told = groups::described_by_id(&context, id, None).await.ok()?;
        let log = log_of(&context, id, &Bytes::new()).await;
        let looked = Self {
            id: told.id,
            name: told.name,
            address: told.address,
            head: 0,
            sent: SentJson::default(),
            members: Vec::new(),
            trouble: None,
        };
        Some(match log {
            Ok(log) => {
                let known = known(&context, id, Bytes::new()).await;
                let sent = log.sent.unwrap_or_default();
                Self {
                    head: log.head_seq,
                    sent: SentJson::from_pb(&sent),
                    members: joined(&log.members, &known),
                    ..looked
                }
            }
            Err(error) => Self { trouble: Some(error.message().to_owned()), ..looked },
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
            id: super::device::to_hex(&service.service_id),
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
