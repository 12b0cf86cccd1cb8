//! The relay's side of the registry: being listed, learning groups, reporting heads. Everything is tried for ever.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use gaung_proto::{
    GroupId, LogId, RelayId, Seq,
    pb::registry::{
        self as pb, GetGroupRequest, GroupReport, RegisterServiceRequest, ReportGroupsRequest, ServiceKind,
        WatchGroupsRequest, get_group_request::By, registry_service_client::RegistryServiceClient,
        watch_groups_response::Event,
    },
};
use service_kit::{
    backoff::Backoff,
    rpc::{self, MAX_MESSAGE_BYTES},
};
use tokio::{
    sync::{Mutex, mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, transport::Channel};
use tracing::{debug, info, warn};

use crate::{access::Access, directory::Directory, group::GroupConfig, identity::Identity, keeper::Order};

/// What the relay says of itself at registration.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    pub(crate) relay: RelayId,
    pub(crate) advertise: String,
    pub(crate) grpc_port: u16,
    pub(crate) udp_port: u16,
    pub(crate) durable: bool,
}

/// Calls to the registry, which may be away at any time.
#[derive(Debug)]
pub(crate) struct RegistryLink {
    client: RegistryServiceClient<Channel>,
    listing: Listing,
    /// One report at a time, so that an older head never overtakes a newer one.
    reporting: Mutex<()>,
    registered: watch::Sender<bool>,
}

/// A group whose log is not the one that the registry expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) group: GroupId,
    pub(crate) expected_log: LogId,
    pub(crate) expected_head: Seq,
}

/// One group's state for the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) group: GroupId,
    pub(crate) log: LogId,
    pub(crate) head: Seq,
}

/// Until an answer to one call; then the registry counts as away.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// Heads are reported so often, where they moved.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Groups of one ReportGroups call, as the schema limits it.
const MAX_REPORTS: usize = 1000;
/// Bounds on what the registry may ask for as the time between registrations.
const RENEW: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

impl RegistryLink {
    /// Connects at the first call. Must be called within a runtime.
    pub(crate) fn new(target: &str, listing: Listing) -> anyhow::Result<Self> {
        let endpoint = rpc::endpoint(target).context("--registry")?;
        let client = RegistryServiceClient::new(endpoint.connect_lazy())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self { client, listing, reporting: Mutex::new(()), registered: watch::Sender::new(false) })
    }

    /// The group, if the registry has it and it is this relay's.
    pub(crate) async fn group(&self, id: GroupId) -> Result<Option<GroupConfig>, Status> {
        let request = GetGroupRequest { by: Some(By::Id(id.into())) };
        match within(self.client.clone().get_group(request)).await {
            Ok(response) => Ok(response.group.and_then(|group| self.checked(group))),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// Tells the registry how far groups go; gives those that it wants refused.
    pub(crate) async fn report(&self, reports: &[Report]) -> Result<Vec<Refusal>, Status> {
        let _one_at_a_time = self.reporting.lock().await;
        self.report_now(reports).await
    }

    async fn report_now(&self, reports: &[Report]) -> Result<Vec<Refusal>, Status> {
        let mut refusals = Vec::new();
        for chunk in reports.chunks(MAX_REPORTS) {
            let to_pb = |report: &Report| GroupReport {
                group_id: report.group.into(),
                log_id: report.log.0,
                head_seq: report.head.0,
            };
            let reports = chunk.iter().map(to_pb).collect();
            let request = ReportGroupsRequest { relay_id: self.listing.relay.into(), reports };
            let answer = within(self.client.clone().report_groups(request)).await?;
            refusals.extend(answer.refusals.iter().filter_map(Refusal::checked));
        }
        Ok(refusals)
    }

    async fn register(&self) -> Result<pb::RegisterServiceResponse, Status> {
        let Listing { relay, advertise, grpc_port, udp_port, durable } = self.listing.clone();
        let request = RegisterServiceRequest {
            kind: ServiceKind::Relay.into(),
            service_id: relay.into(),
            advertise,
            grpc_port: grpc_port.into(),
            udp_port: udp_port.into(),
            durable,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..RegisterServiceRequest::default()
        };
        within(self.client.clone().register_service(request)).await
    }

    /// `None`, and a word in the log, where the group cannot be served here.
    fn checked(&self, group: pb::Group) -> Option<GroupConfig> {
        match GroupConfig::try_from(group) {
            Ok(config) if config.relay == self.listing.relay => Some(config),
            Ok(_) => None,
            Err(error) => {
                warn!(%error, "group ignored");
                None
            }
        }
    }
}

impl Refusal {
    fn checked(refusal: &pb::GroupRefusal) -> Option<Self> {
        Some(Self {
            group: GroupId::try_from(&refusal.group_id[..]).ok()?,
            expected_log: LogId(refusal.expected_log_id),
            expected_head: Seq(refusal.expected_head_seq),
        })
    }
}

async fn within<T>(call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, Status> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(Status::unavailable("the registry does not answer")),
    }
}

/// Registers and renews; learns the key that tickets are signed with.
pub(crate) async fn keep_registered(
    link: Arc<RegistryLink>,
    identity: Identity,
    access: Arc<Access>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut backoff = Backoff::new();
    let mut told = false;
    loop {
        let renew = match link.register().await {
            Ok(answer) => {
                backoff.reset();
                welcome(&link, &identity, &access, &answer);
                told = false;
                Some(Duration::from_millis(answer.renew_ms).clamp(*RENEW.start(), *RENEW.end()))
            }
            Err(status) => {
                if !std::mem::replace(&mut told, true) {
                    warn!(reason = status.message(), "registry unreachable; known groups go on");
                }
                None
            }
        };
        let wait = renew.unwrap_or_else(|| backoff.next_delay());
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn welcome(link: &RegistryLink, identity: &Identity, access: &Access, answer: &pb::RegisterServiceResponse) {
    let Ok(key) = <[u8; 32]>::try_from(&answer.registry_public_key[..]) else {
        warn!("the registry gave no usable public key");
        return;
    };
    // Another registry knows none of these groups, and its silence about them must not delete them.
    if link.listing.durable && identity.registry_key().is_some_and(|known| known != key) {
        warn!(
            "this is another registry than the one this relay's groups belong to; their logs are served on, and \
             nothing is taken from it. Give the relay an empty data folder to serve this one"
        );
        return;
    }
    access.set_key(key);
    if let Err(error) = identity.keep_registry_key(key) {
        warn!(%error, "the registry's key could not be kept");
    }
    if !link.registered.send_replace(true) {
        info!("registered");
    }
}

/// Learns which groups are this relay's, from a snapshot and the changes after it.
pub(crate) async fn watch(
    link: Arc<RegistryLink>,
    orders: mpsc::Sender<Order>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut place = Place::default();
    let mut backoff = Backoff::new();
    let mut registered = link.registered.subscribe();
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        _ = registered.wait_for(|&registered| registered) => {}
    }
    loop {
        let why = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            why = watch_once(&link, &orders, &mut place, &mut backoff) => why,
        };
        debug!(why, "not watching the registry");
        if !backoff.wait(&stop).await {
            return Ok(());
        }
    }
}

/// Where to go on after a break, and a snapshot that is not whole yet.
#[derive(Debug, Default)]
struct Place {
    revision: u64,
    watch_id: bytes::Bytes,
    snapshot: Option<Vec<GroupConfig>>,
}

async fn watch_once(
    link: &RegistryLink,
    orders: &mpsc::Sender<Order>,
    place: &mut Place,
    backoff: &mut Backoff,
) -> String {
    place.snapshot = None;
    let request = WatchGroupsRequest {
        relay_id: link.listing.relay.into(),
        after_revision: place.revision,
        watch_id: place.watch_id.clone(),
    };
    let mut stream = match link.client.clone().watch_groups(request).await {
        Ok(response) => response.into_inner(),
        Err(status) => return status.message().to_owned(),
    };
    loop {
        let change = match stream.message().await {
            Ok(Some(change)) => change,
            Ok(None) => return "the registry ended the stream".to_owned(),
            Err(status) => return status.message().to_owned(),
        };
        backoff.reset();
        let order = change.event.and_then(|event| place.handle(link, event));
        if let Some(order) = order
            && orders.send(order).await.is_err()
        {
            return "the relay is stopping".to_owned();
        }
        if place.snapshot.is_none() {
            place.revision = change.revision;
            place.watch_id = change.watch_id;
        }
    }
}

impl Place {
    fn handle(&mut self, link: &RegistryLink, event: Event) -> Option<Order> {
        match event {
            Event::SnapshotBegin(_) => {
                self.snapshot = Some(Vec::new());
                None
            }
            Event::SnapshotEnd(_) => self.snapshot.take().map(Order::Snapshot),
            Event::Upsert(group) => {
                let config = link.checked(group)?;
                match &mut self.snapshot {
                    Some(snapshot) => {
                        snapshot.push(config);
                        None
                    }
                    None => Some(Order::Upsert(Box::new(config))),
                }
            }
            Event::Deleted(deleted) => GroupId::try_from(&deleted.id[..]).ok().map(Order::Delete),
        }
    }
}

/// Reports heads that moved, and all of them after the registry was away.
pub(crate) async fn report_heads(
    link: Arc<RegistryLink>,
    directory: Arc<Directory>,
    orders: mpsc::Sender<Order>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut told: HashMap<GroupId, (LogId, Seq)> = HashMap::new();
    let mut ticks = tokio::time::interval(REPORT_INTERVAL);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        if !*link.registered.borrow() {
            continue;
        }
        let one_at_a_time = link.reporting.lock().await;
        let moved = moved_heads(&directory, &told);
        let outcome = link.report_now(&moved).await;
        drop(one_at_a_time);
        match outcome {
            Ok(refusals) => {
                told.extend(moved.iter().map(|report| (report.group, (report.log, report.head))));
                for refusal in refusals {
                    told.remove(&refusal.group);
                    if orders.send(Order::Refuse(refusal)).await.is_err() {
                        return Ok(());
                    }
                }
            }
            // It may come back with less than it was told.
            Err(_) => told.clear(),
        }
    }
}

fn moved_heads(directory: &Directory, told: &HashMap<GroupId, (LogId, Seq)>) -> Vec<Report> {
    let serving = directory.serving();
    let reports = serving.iter().map(|serving| Report {
        group: serving.identity.group,
        log: serving.identity.log,
        head: serving.feed.head(),
    });
    reports.filter(|report| told.get(&report.group) != Some(&(report.log, report.head))).collect()
}
