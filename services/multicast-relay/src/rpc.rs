//! The relay's gRPC service, and what its calls share.

mod error;
mod follow;
mod publish;
mod read;
mod receipts;
mod sessions;
mod shared_right;

use std::sync::Arc;

use gaung_engine::{ClaimHasher, Roster, SenderStats};
use gaung_log::Log;
use gaung_proto::{
    GroupId,
    pb::relay::{
        FollowRequest, FollowResponse, GetLogRequest, GetLogResponse, PublishRequest, PublishResponse,
        PublishStreamRequest, ReadRequest, ReadResponse, SentDatagrams, WatchReceiptsRequest, WatchReceiptsResponse,
        relay_service_server::RelayService,
    },
};
use gaung_site::Role;
use service_kit::{
    rpc::AnswerStream,
    secure::{PeerDevice, ServiceCalls},
    share::{Budget, Caller, SharePool},
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

pub(crate) use self::sessions::Reporters;
use self::{error::CallError, publish::Publisher, receipts::member_status};
use crate::{
    access::GroupAccess,
    commands::KeeperCommand,
    directory::{Directory, GroupPhase, OpenGroup},
    lookup::{GroupLookup, LookupError},
    metrics::RelayFigures,
    policies::GroupPolicies,
    worker::WorkerCommand,
};

/// Implements the gRPC service; clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct RelayCalls(Arc<RelayParts>);

/// The state and limits that all calls share.
#[derive(Debug)]
pub(crate) struct RelayParts {
    pub(crate) directory: Arc<Directory>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) access: Arc<GroupAccess>,
    pub(crate) policies: Arc<GroupPolicies>,
    pub(crate) keeper: mpsc::Sender<KeeperCommand>,
    pub(crate) lookup: GroupLookup,
    pub(crate) figures: RelayFigures,
    /// Tasks that calls leave running beside their answer, tracked so that a shutdown waits for them.
    pub(crate) tasks: TaskTracker,
    /// Bytes of publish requests that are not logged yet.
    pub(crate) publish_budget: Budget<Caller>,
    /// Reads of the log under way, each of which may block a thread on the disk.
    pub(crate) reads: Budget<Caller>,
    pub(crate) reporters: Reporters,
    /// Groups that streams follow, each a task of about 2 KiB; the caller with most is evicted for one with fewer.
    pub(crate) follows: SharePool<Caller>,
    /// Calls of WatchReceipts under way; the caller with most is evicted for one with fewer.
    pub(crate) watches: SharePool<Caller>,
    /// Hashes publishers' proofs, by which a client window knows its owner.
    pub(crate) claims: ClaimHasher,
    /// Decides who may follow groups and report sessions, and which device a caller has.
    pub(crate) service_calls: ServiceCalls,
}

/// Bytes of publish requests of all callers that are not logged yet; further requests wait.
pub(crate) const PUBLISH_BUDGET: u32 = 64 << 20;
/// The limit of one caller, such as the hub in this process: what the disk takes within some 100 ms.
pub(crate) const PUBLISH_BUDGET_EACH: u32 = 24 << 20;
/// Reads of the log at a time; further ones wait.
pub(crate) const MAX_READS: u32 = 64;
/// The limit of one caller.
pub(crate) const MAX_READS_EACH: u32 = 24;
/// Groups followed at a time, each stream counted.
pub(crate) const MAX_FOLLOWS: u64 = 64 * 1024;
/// The limit of one caller: twice what a hub follows.
pub(crate) const MAX_FOLLOWS_EACH: u64 = 20_000;
/// Calls of WatchReceipts at a time.
pub(crate) const MAX_WATCHES: u64 = 1024;
/// The limit of one caller; the hub in this process has the calls of all browsers.
pub(crate) const MAX_WATCHES_EACH: u64 = 512;

impl RelayCalls {
    pub(crate) fn new(parts: RelayParts) -> Self {
        Self(Arc::new(parts))
    }

    /// Returns the group's opening. Looks up an unknown group at the registry once, and waits for an opening under way.
    async fn serving(&self, group: GroupId) -> Result<Arc<OpenGroup>, CallError> {
        let phase = match self.0.directory.phase(group) {
            // The keeper passes the barrier once it has done what it does now, so that a new group is served by the first call.
            None | Some(GroupPhase::Unavailable) => self.phase_after_keeper(group).await?,
            Some(phase) => phase,
        };
        match phase {
            GroupPhase::Serving(serving) => Ok(serving),
            GroupPhase::Unavailable => Err(CallError::NotReady),
            GroupPhase::Refused { name, .. } => Err(CallError::Refused { name }),
            GroupPhase::Deleted => Err(CallError::NoSuchGroup),
        }
    }

    /// Returns the group's phase once the keeper has executed all commands, after a lookup if the group is unknown.
    async fn phase_after_keeper(&self, group: GroupId) -> Result<GroupPhase, CallError> {
        if self.0.directory.phase(group).is_none()
            && let Some(config) = self.0.lookup.group(&self.0.directory, group).await?
        {
            self.0.keeper.send(KeeperCommand::Upsert(Box::new(config))).await.map_err(|_| CallError::Stopping)?;
        }
        let (done, passed) = oneshot::channel();
        self.0.keeper.send(KeeperCommand::Barrier(done)).await.map_err(|_| CallError::Stopping)?;
        passed.await.map_err(|_| CallError::Stopping)?;
        self.0.directory.phase(group).ok_or(CallError::NoSuchGroup)
    }

    async fn get_log_of(&self, peer: PeerDevice, request: GetLogRequest) -> Result<GetLogResponse, CallError> {
        let group = group_id(&request.group_id)?;
        let serving = self.serving(group).await?;
        self.0.access.check_reader(&serving.config, peer, &request.ticket)?;
        self.0.policies.check_reader(&serving.config, &request.ticket)?;
        let position = self.0.log.position(group).ok_or(CallError::NotReady)?;
        let (roster, sent) = self.roster(&serving).await?;
        Ok(GetLogResponse {
            log_id: position.log.0,
            epoch: position.epoch.0,
            oldest_seq: position.oldest.0,
            head_seq: position.head.0,
            durable: self.0.log.durable(),
            members: roster.present().map(|(id, member)| member_status(id, member)).collect(),
            sent: Some(SentDatagrams {
                data: sent.data,
                data_bytes: sent.data_bytes,
                repairs: sent.repairs_multicast + sent.repairs_unicast,
                parity: sent.parity,
            }),
        })
    }

    /// Returns the members present in this opening and the counters of what was sent to them.
    async fn roster(&self, serving: &OpenGroup) -> Result<(Arc<Roster>, SenderStats), CallError> {
        let (reply, answer) = oneshot::channel();
        let asked = serving.worker.send_wait(WorkerCommand::Members { group: serving.identity.group, reply }).await;
        asked.map_err(|_| CallError::Stopping)?;
        answer.await.map_err(|_| CallError::NotReady)
    }
}

impl From<LookupError> for CallError {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::NoSuchGroup => Self::NoSuchGroup,
            LookupError::Busy => Self::NotReady,
            LookupError::Unreachable => Self::RegistryAway,
        }
    }
}

fn group_id(bytes: &[u8]) -> Result<GroupId, CallError> {
    Ok(GroupId::try_from(bytes)?)
}

#[tonic::async_trait]
impl RelayService for RelayCalls {
    type PublishStreamStream = publish::PublishAnswers;
    type ReadStream = AnswerStream<ReadResponse>;
    type FollowStream = AnswerStream<FollowResponse>;
    type WatchReceiptsStream = AnswerStream<WatchReceiptsResponse>;

    async fn publish(&self, request: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        let publisher = Publisher::of(self, &request);
        Ok(Response::new(publish::publish(self, publisher, request.into_inner()).await?))
    }

    async fn publish_stream(
        &self,
        request: Request<Streaming<PublishStreamRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        Ok(Response::new(publish::publish_stream(self.clone(), request)))
    }

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        Ok(Response::new(read::read(self.clone(), request).await?))
    }

    async fn follow(&self, request: Request<Streaming<FollowRequest>>) -> Result<Response<Self::FollowStream>, Status> {
        self.0.service_calls.check(&request, |role| matches!(role, Role::Hub(_)))?;
        Ok(Response::new(follow::follow(self.clone(), request)))
    }

    async fn get_log(&self, request: Request<GetLogRequest>) -> Result<Response<GetLogResponse>, Status> {
        let peer = self.0.service_calls.peer_device(&request);
        Ok(Response::new(self.get_log_of(peer, request.into_inner()).await?))
    }

    async fn watch_receipts(
        &self,
        request: Request<WatchReceiptsRequest>,
    ) -> Result<Response<Self::WatchReceiptsStream>, Status> {
        Ok(Response::new(receipts::watch(self.clone(), request).await?))
    }
}
