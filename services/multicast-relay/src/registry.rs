//! The relay's client of the registry: it registers, watches groups and reports heads, and retries each for ever.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex as StdMutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_net::backoff::Backoff;
use gaung_proto::{
    GroupId, LogId, RelayId, Seq,
    pb::registry::{
        self as pb, GetGroupRequest, GroupReport, RegisterServiceRequest, ReportGroupsRequest, ServiceKind,
        get_group_request::By, registry_service_client::RegistryServiceClient,
    },
    watch_groups::{GroupChange, GroupWatch},
};
use service_kit::{readiness::Readiness, rpc::MAX_MESSAGE_BYTES};
use tokio::{
    sync::{Mutex, mpsc},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, transport::Channel};
use tracing::{debug, info, warn};

use crate::{
    access::GroupAccess,
    commands::KeeperCommand,
    directory::{Directory, OpenGroup},
    group::GroupConfig,
    identity::RelayIdentity,
    metrics::RelayFigures,
    reports::{LogReport, LogVerdict, ReportClaim, ReportKey, ReportRefusal},
};

/// How the relay is listed at the registry.
#[derive(Debug, Clone)]
pub(crate) struct RelayListing {
    pub(crate) relay: RelayId,
    pub(crate) advertise: String,
    pub(crate) grpc_port: u16,
    pub(crate) udp_port: u16,
    pub(crate) durable: bool,
    /// Authenticates the relay to the registry, which then shows it its private groups.
    pub(crate) secret: Bytes,
}

/// Calls the registry, which may be unreachable at any time.
#[derive(Debug)]
pub(crate) struct RegistryLink {
    client: RegistryServiceClient<Channel>,
    listing: RelayListing,
    /// One report at a time, so that an older head never overtakes a newer one.
    reporting: Mutex<()>,
    /// On once the registry has taken this relay's addresses.
    registered: Readiness,
    key: ReportKey,
    /// Groups of which the registry has another log or a longer head on record that this relay never reported.
    disputed: StdMutex<HashSet<GroupId>>,
    figures: RelayFigures,
}

/// Deadline of one call; without an answer by then the registry counts as unreachable.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// Backoff between attempts to reach the registry: at most this long at first, and in the end.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Time between reports of the heads that moved or are disputed.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Time between reports of all heads, so that a wrong record of a silent group is corrected too.
const REPORT_ALL_INTERVAL: Duration = Duration::from_secs(30);
/// Most groups of one ReportGroups call, as the schema limits it.
const MAX_REPORTS: usize = 1000;
/// Bounds on the time between registrations that the registry asks for.
const RENEW: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

impl RegistryLink {
    /// Makes a client of the registry behind `channel`. `registered` is turned on by the first registration.
    pub(crate) fn new(
        channel: Channel,
        listing: RelayListing,
        key: ReportKey,
        registered: Readiness,
        figures: RelayFigures,
    ) -> Self {
        let client = RegistryServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { client, listing, reporting: Mutex::new(()), registered, key, disputed: StdMutex::default(), figures }
    }

    /// Returns the group if the registry has it and it is this relay's.
    pub(crate) async fn group(&self, id: GroupId) -> Result<Option<GroupConfig>, Status> {
        let request = GetGroupRequest { by: Some(By::Id(id.into())), viewer: self.viewer() };
        match within(self.client.clone().get_group(request)).await {
            Ok(response) => Ok(response.group.and_then(|group| self.checked(group))),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// Notes whether the registry disagrees about a group, in log and metrics. `dispute`: its last refusal, if any.
    pub(crate) fn note_disputed(&self, group: GroupId, dispute: Option<&ReportRefusal>) {
        let mut disputed = self.disputed.lock().unwrap_or_else(PoisonError::into_inner);
        match dispute {
            Some(refusal) if disputed.insert(group) => warn!(
                %group,
                expected_log = %refusal.expected_log,
                expected_head = %refusal.expected_head,
                "the registry has another or a longer log of this group on record, which this relay never reported; \
                 its own log is served on, and the registry is asked again"
            ),
            Some(_) => {}
            None if disputed.remove(&group) => info!(%group, "the registry agrees on the group's log again"),
            None => {}
        }
        self.figures.groups_disputed.set(i64::try_from(disputed.len()).unwrap_or(i64::MAX));
    }

    /// Reports heads; returns the refusals of those of which the registry has something else on record.
    pub(crate) async fn report(&self, reports: &[LogReport]) -> Result<Vec<ReportRefusal>, Status> {
        let _one_at_a_time = self.reporting.lock().await;
        self.report_now(reports).await
    }

    /// Reports that what the registry has on record (`refusal`) is not this relay's word, and notes whether it still
    /// disagrees.
    pub(crate) async fn insist(&self, report: LogReport, refusal: ReportRefusal) {
        let insisted = self.report(&[LogReport { claim: ReportClaim::Insists, ..report }]).await;
        let still = insisted.map_or(Some(refusal), |refusals| refusals.into_iter().next());
        self.note_disputed(report.group, still.as_ref());
    }

    async fn report_now(&self, reports: &[LogReport]) -> Result<Vec<ReportRefusal>, Status> {
        let mut refusals = Vec::new();
        for chunk in reports.chunks(MAX_REPORTS) {
            let to_pb = |report: &LogReport| GroupReport {
                group_id: report.group.into(),
                log_id: report.log.0,
                head_seq: report.head.0,
                proof: self.key.proof(report.group, report.log, report.head),
                lost: report.claim == ReportClaim::Lost,
                insists: report.claim == ReportClaim::Insists,
            };
            let reports = chunk.iter().map(to_pb).collect();
            let request = ReportGroupsRequest {
                relay_id: self.listing.relay.into(),
                reports,
                service_secret: self.listing.secret.clone(),
            };
            let answer = within(self.client.clone().report_groups(request)).await?;
            refusals.extend(answer.refusals.iter().filter_map(|refusal| ReportRefusal::checked(refusal, &self.key)));
        }
        Ok(refusals)
    }

    async fn register(&self) -> Result<pb::RegisterServiceResponse, Status> {
        let RelayListing { relay, advertise, grpc_port, udp_port, durable, secret } = self.listing.clone();
        let request = RegisterServiceRequest {
            kind: ServiceKind::Relay.into(),
            service_id: relay.into(),
            advertise,
            grpc_port: grpc_port.into(),
            udp_port: udp_port.into(),
            durable,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            service_secret: secret,
            ..RegisterServiceRequest::default()
        };
        within(self.client.clone().register_service(request)).await
    }

    fn viewer(&self) -> Option<pb::Viewer> {
        let (service_id, service_secret) = (self.listing.relay.into(), self.listing.secret.clone());
        Some(pb::Viewer { service_id, service_secret, ..pb::Viewer::default() })
    }

    /// Checks a group's description; `None`, with a log line, if it cannot be served.
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

async fn within<T>(call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, Status> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(Status::unavailable("the registry does not answer")),
    }
}

/// Registers the relay and renews that until `stop`; learns the key that tickets are signed with.
pub(crate) async fn keep_registered(
    link: Arc<RegistryLink>,
    identity: RelayIdentity,
    access: Arc<GroupAccess>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut backoff = Backoff::between(RETRY_MIN, RETRY_MAX);
    // The failure that was logged last: one that goes on is logged once, another one again.
    let mut logged = None;
    loop {
        let registered = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            registered = link.register() => registered,
        };
        let renew = match registered {
            Ok(answer) => {
                backoff.reset();
                welcome(&link, &identity, &access, &answer);
                logged = None;
                Some(Duration::from_millis(answer.renew_ms).clamp(*RENEW.start(), *RENEW.end()))
            }
            Err(status) => {
                if logged.replace(status.code()) != Some(status.code()) {
                    let reason = status.message();
                    if matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded) {
                        warn!(reason, "registry unreachable; known groups go on");
                    } else {
                        warn!(reason, "the registry refuses this relay; known groups go on");
                    }
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

fn welcome(link: &RegistryLink, identity: &RelayIdentity, access: &GroupAccess, answer: &pb::RegisterServiceResponse) {
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
    access.handle_registry(key, answer.unix_ms);
    if let Err(error) = identity.keep_registry_key(key) {
        warn!(%error, "the registry's key could not be kept");
    }
    if !link.registered.is_ready() {
        info!("registered");
        link.registered.ready();
    }
}

/// Watches the registry for this relay's groups until `stop`: a snapshot, then each change.
pub(crate) async fn watch(
    link: Arc<RegistryLink>,
    commands: mpsc::Sender<KeeperCommand>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut groups = GroupWatch::new();
    let mut backoff = Backoff::between(RETRY_MIN, RETRY_MAX);
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        () = link.registered.until_ready() => {}
    }
    loop {
        let why = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            why = watch_once(&link, &commands, &mut groups, &mut backoff) => why,
        };
        debug!(why, "not watching the registry");
        if !backoff.wait(&stop).await {
            return Ok(());
        }
    }
}

async fn watch_once(
    link: &RegistryLink,
    commands: &mpsc::Sender<KeeperCommand>,
    groups: &mut GroupWatch<GroupConfig>,
    backoff: &mut Backoff,
) -> String {
    let request = groups.request(link.listing.relay.into(), link.viewer());
    let mut stream = match link.client.clone().watch_groups(request).await {
        Ok(response) => response.into_inner(),
        Err(status) => return status.message().to_owned(),
    };
    loop {
        let response = match stream.message().await {
            Ok(Some(response)) => response,
            Ok(None) => return "the registry ended the stream".to_owned(),
            Err(status) => return status.message().to_owned(),
        };
        backoff.reset();
        let change = groups.handle(response, |group| link.checked(group));
        if let Some(change) = change
            && commands.send(to_command(change)).await.is_err()
        {
            return "the relay is stopping".to_owned();
        }
    }
}

fn to_command(change: GroupChange<GroupConfig>) -> KeeperCommand {
    match change {
        GroupChange::Snapshot(snapshot) => {
            if !snapshot.with_private {
                warn!("the registry does not know this relay by its secret: of private groups it tells nothing new");
            }
            KeeperCommand::Snapshot(snapshot)
        }
        GroupChange::Upsert(config) => KeeperCommand::Upsert(Box::new(config)),
        GroupChange::Deleted(group) => KeeperCommand::Delete(group),
    }
}

/// Reports heads until `stop`: those that moved or are disputed each second, and all of them every 30 s and after the
/// registry was unreachable.
pub(crate) async fn report_heads(
    link: Arc<RegistryLink>,
    directory: Arc<Directory>,
    commands: mpsc::Sender<KeeperCommand>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut told: HashMap<GroupId, (LogId, Seq)> = HashMap::new();
    let mut all_told = Instant::now();
    let mut ticks = tokio::time::interval(REPORT_INTERVAL);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        if !link.registered.is_ready() {
            continue;
        }
        if all_told.elapsed() >= REPORT_ALL_INTERVAL {
            all_told = Instant::now();
            told.clear();
        }
        let one_at_a_time = link.reporting.lock().await;
        let serving: HashMap<_, _> = directory.serving().into_iter().map(|s| (s.identity.group, s)).collect();
        let mut reports: Vec<_> = serving.values().map(|serving| serving.report()).collect();
        reports.retain(|report| told.get(&report.group) != Some(&(report.log, report.head)));
        reports.extend(directory.refused());
        let outcome = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            outcome = report_and_insist(&link, &serving, &reports) => outcome,
        };
        drop(one_at_a_time);
        match outcome {
            Ok(refusals) => {
                told.extend(reports.iter().map(|report| (report.group, (report.log, report.head))));
                for refusal in refusals {
                    told.remove(&refusal.group);
                    if commands.send(KeeperCommand::Refuse(refusal)).await.is_err() {
                        return Ok(());
                    }
                }
            }
            // The registry may come back with an older state.
            Err(_) => told.clear(),
        }
    }
}

/// Reports heads, insists where the registry is wrong, and returns the refusals that the keeper has to act on.
async fn report_and_insist(
    link: &RegistryLink,
    serving: &HashMap<GroupId, Arc<OpenGroup>>,
    reports: &[LogReport],
) -> Result<Vec<ReportRefusal>, Status> {
    let refusals = link.report_now(reports).await?;
    let mut insisted = Vec::new();
    for refusal in &refusals {
        if let Some(serving) = serving.get(&refusal.group)
            && link.listing.durable
            && refusal.verdict(&serving.config, serving.identity.log, serving.feed.head()) == LogVerdict::Insist
        {
            insisted.push(LogReport { claim: ReportClaim::Insists, ..serving.report() });
        }
    }
    for report in reports {
        if !refusals.iter().any(|refusal| refusal.group == report.group) {
            link.note_disputed(report.group, None);
        }
    }
    let still = if insisted.is_empty() { Vec::new() } else { link.report_now(&insisted).await? };
    for report in &insisted {
        link.note_disputed(report.group, still.iter().find(|refusal| refusal.group == report.group));
    }
    let settled = |refusal: &ReportRefusal| insisted.iter().any(|report| report.group == refusal.group);
    let (asked_again, mut for_the_keeper): (Vec<_>, Vec<_>) = refusals.into_iter().partition(settled);
    drop(asked_again);
    for_the_keeper.extend(still);
    Ok(for_the_keeper)
}
