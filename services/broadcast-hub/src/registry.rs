//! The registry, which may come and go: says where the hub is, hears of groups and relays, looks up what is new.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use bytes::Bytes;
use gaung_net::backoff::Backoff;
use gaung_proto::{
    GroupId,
    pb::registry::{
        GetGroupRequest, Group, ListServicesRequest, RegisterServiceRequest, ServiceKind, Viewer,
        get_group_request::By, registry_service_client::RegistryServiceClient,
    },
    watch_groups::{GroupChange, GroupWatch},
};
use service_kit::{
    readiness::Readiness,
    rpc::MAX_MESSAGE_BYTES,
    share::{Origin, Share},
};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, transport::Channel};
use tracing::{info, warn};

use crate::{
    directory::GroupInfo,
    failure::Failure,
    hub::Hub,
    inbox::{Answer, AnswerBody, FoundGroup},
    session_core::GroupKey,
};

const CALL_LIMIT: Duration = Duration::from_secs(5);
/// Bounds of the waits for a registry that is away.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MOST: Duration = Duration::from_secs(1);
/// How often the list of services is read; a relay that moved is found again within it.
const SERVICES_INTERVAL: Duration = Duration::from_secs(1);

/// The ports that the hub tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) grpc: u16,
    pub(crate) tcp: u16,
    pub(crate) text: u16,
    pub(crate) broadcast: u16,
    pub(crate) page: u16,
}

/// Keeps the hub listed and the list of relays fresh.
pub(crate) async fn stay_listed(hub: Arc<Hub>, ports: Ports, stop: CancellationToken) -> anyhow::Result<()> {
    let mut backoff = Backoff::between(RETRY_FIRST, RETRY_MOST);
    let mut reached = None;
    loop {
        let outcome = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            outcome = register(&hub, ports) => outcome,
        };
        let lost = match outcome {
            Ok(due) => {
                if reached != Some(true) {
                    info!(registry = hub.config.registry, "registered");
                }
                reached = Some(true);
                backoff.reset();
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    listed = list_services(&hub, due) => listed.err(),
                }
            }
            Err(status) => Some(status),
        };
        if let Some(status) = lost {
            if reached != Some(false) {
                let why = status.message();
                warn!(registry = hub.config.registry, why, "the registry does not answer; trying on");
            }
            reached = Some(false);
            if !backoff.wait(&stop).await {
                return Ok(());
            }
        }
    }
}

/// Registers; returns when that is due again.
async fn register(hub: &Hub, ports: Ports) -> Result<Instant, Status> {
    let request = RegisterServiceRequest {
        kind: ServiceKind::Hub.into(),
        service_id: hub.id.into(),
        advertise: hub.config.advertise.clone(),
        grpc_port: ports.grpc.into(),
        udp_port: ports.broadcast.into(),
        tcp_port: ports.tcp.into(),
        text_port: ports.text.into(),
        web_port: ports.page.into(),
        durable: false,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        service_secret: Bytes::new(),
    };
    let answer = within(client(hub).register_service(request)).await?;
    match <[u8; 32]>::try_from(&answer.registry_public_key[..]) {
        Ok(key) => {
            // 0 from a registry that does not tell it.
            let unix_ms = if answer.unix_ms == 0 { unix_ms() } else { answer.unix_ms };
            hub.directory.handle_registry(std::time::Instant::now(), key, unix_ms);
        }
        Err(_) => warn!("the registry gave no usable public key"),
    }
    Ok(Instant::now() + Duration::from_millis(answer.renew_ms.clamp(200, 60_000)))
}

/// The wall clock, in ms since 1970.
fn unix_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// Keeps the list of relays fresh until then.
async fn list_services(hub: &Hub, until: Instant) -> Result<(), Status> {
    let host = hub.config.registry.rsplit_once(':').map_or("127.0.0.1", |(host, _)| host);
    while Instant::now() < until {
        let listed = within(client(hub).list_services(ListServicesRequest {})).await?;
        hub.directory.set_services(&listed.services, host);
        sleep(SERVICES_INTERVAL).await;
    }
    Ok(())
}

/// Hears of groups for as long as the hub runs.
pub(crate) async fn watch_groups(hub: Arc<Hub>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut backoff = Backoff::between(RETRY_FIRST, RETRY_MOST);
    let mut groups = GroupWatch::new();
    loop {
        let watched = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            watched = follow(&hub, &mut groups, &mut backoff) => watched,
        };
        if let Err(status) = watched
            && matches!(status.code(), Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition)
        {
            groups = GroupWatch::new();
        }
        if !backoff.wait(&stop).await {
            return Ok(());
        }
    }
}

async fn follow(hub: &Arc<Hub>, groups: &mut GroupWatch<GroupInfo>, backoff: &mut Backoff) -> Result<(), Status> {
    let mut responses = client(hub).watch_groups(groups.request(Bytes::new(), None)).await?.into_inner();
    while let Some(response) = responses.message().await? {
        backoff.reset();
        match groups.handle(response, checked) {
            Some(GroupChange::Snapshot(snapshot)) => {
                hub.directory.replace(snapshot.groups).into_iter().for_each(|id| end_deleted(hub, id));
            }
            Some(GroupChange::Upsert(info)) => upsert(hub, info),
            Some(GroupChange::Deleted(id)) => {
                hub.directory.remove(id);
                end_deleted(hub, id);
            }
            None => {}
        }
    }
    Ok(())
}

fn checked(group: Group) -> Option<GroupInfo> {
    let info = GroupInfo::from_pb(&group);
    if info.is_none() {
        warn!("the registry told of a group without a valid id");
    }
    info
}

fn end_deleted(hub: &Arc<Hub>, id: GroupId) {
    hub.end_group(id, Code::NotFound, "the group was deleted");
}

fn upsert(hub: &Hub, info: GroupInfo) {
    let info = hub.directory.upsert(info);
    if let Some(group) = hub.groups.get(info.id) {
        group.set_info(info);
    }
}

/// Follows `everyone` as soon as it is known, tells the shards, and is ready once the relay sends it.
pub(crate) async fn keep_everyone(hub: Arc<Hub>, readiness: Readiness, stop: CancellationToken) -> anyhow::Result<()> {
    let mut changes = hub.directory.changes();
    let mut pinned = None;
    loop {
        if let Some(everyone) = hub.directory.everyone()
            && pinned != Some(everyone.id)
        {
            let group = hub.pin(&everyone).context("`everyone` cannot be followed")?;
            pinned = Some(everyone.id);
            for shard in &hub.shards {
                shard.everyone_known();
            }
            while !group.is_live() && !group.has_ended() {
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = sleep(LIVE_CHECK) => {}
                }
            }
            readiness.ready();
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            changed = changes.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}

const LIVE_CHECK: Duration = Duration::from_millis(20);

/// A session's lookup of a group, and its place among all lookups.
pub(crate) struct Lookup {
    pub(crate) shard: usize,
    pub(crate) session: u64,
    /// Of the session.
    pub(crate) number: u64,
    pub(crate) place: Share<Origin>,
}

/// Asks for a group that the directory does not have; the answer goes to the session.
///
/// `ticket`: what the session showed; a private group is found by it alone.
pub(crate) fn look_up(hub: &Arc<Hub>, key: GroupKey, ticket: Bytes, lookup: Lookup) {
    let hub = hub.clone();
    hub.runtime.clone().spawn(async move {
        let by = match &key {
            GroupKey::Name(name) => By::Name(name.clone()),
            GroupKey::Id(id) => By::Id((*id).into()),
            GroupKey::Known(info) => By::Id(info.id.into()),
        };
        let mut registry = client(&hub);
        let answer = tokio::select! {
            answer = within(registry.get_group(GetGroupRequest { by: Some(by), viewer: holder(ticket) })) => answer,
            () = lookup.place.evicted() => Err(Status::unavailable("others have asked for less")),
        };
        let outcome = match answer {
            Ok(found) => found
                .group
                .as_ref()
                .and_then(GroupInfo::from_pb)
                .map(|info| hub.directory.looked_up(info))
                .ok_or_else(|| Failure::new(Code::Internal, "the registry's answer has no group")),
            Err(status) if status.code() == Code::NotFound => Err(not_found(&key)),
            Err(status) if status.code() == Code::PermissionDenied => Err(private(&key)),
            Err(status) if status.code() == Code::InvalidArgument => {
                Err(Failure::new(Code::InvalidArgument, status.message()))
            }
            Err(_) => Err(Failure::new(Code::Unavailable, "the registry cannot be reached; try again")),
        };
        let Lookup { shard, session, number, .. } = lookup;
        hub.shards[shard].answer(Answer { session, body: AnswerBody::Found(FoundGroup { number, outcome }) });
    });
}

/// A relay does not know a group that the directory has: one of the two is late. Asks, and ends a group that is gone.
pub(crate) fn verify(hub: &Arc<Hub>, id: GroupId) {
    let hub = hub.clone();
    hub.runtime.clone().spawn(async move {
        let ticket = hub.groups.get(id).map(|group| group.ticket()).unwrap_or_default();
        let request = GetGroupRequest { by: Some(By::Id(id.into())), viewer: holder(ticket) };
        let answer = within(client(&hub).get_group(request)).await;
        if answer.is_err_and(|status| status.code() == Code::NotFound) {
            hub.directory.remove(id);
            end_deleted(&hub, id);
        }
    });
}

/// Whoever holds a ticket may see the group that it is for.
pub(crate) fn holder(ticket: Bytes) -> Option<Viewer> {
    (!ticket.is_empty()).then(|| Viewer { ticket, ..Viewer::default() })
}

/// Says no more of the group than whoever asks said.
fn private(key: &GroupKey) -> Failure {
    let group = match key {
        GroupKey::Name(name) => name.clone(),
        GroupKey::Id(id) => id.to_string(),
        GroupKey::Known(info) => info.id.to_string(),
    };
    let message = format!("{group} is private; use `gaung chat` with an invite, or join it and send the ticket");
    Failure::new(Code::PermissionDenied, message)
}

fn not_found(key: &GroupKey) -> Failure {
    let message = match key {
        GroupKey::Name(name) => format!("there is no group {name:?}; make it with `gaung group create`"),
        GroupKey::Id(id) => format!("there is no group {id}"),
        GroupKey::Known(info) => format!("there is no group {}", info.id),
    };
    Failure::new(Code::NotFound, message)
}

async fn within<T>(call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, Status> {
    match timeout(CALL_LIMIT, call).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("no answer within 5 s")),
    }
}

/// A client of the registry.
pub(crate) fn client(hub: &Hub) -> RegistryServiceClient<Channel> {
    RegistryServiceClient::new(hub.registry.clone())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}
