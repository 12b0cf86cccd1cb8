//! A double of the relay, with its logs in memory, that answers as relay.proto specifies.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use gaung_proto::{
    ClientId, ClientSeq, Content, ContentType, DeviceId, Epoch, GroupId, LogId, Seq,
    block::{Author, BlockBuilder, MessageRef, SentAt},
    pb::relay::{
        follow_request::Change,
        follow_response,
        relay_service_server::{RelayService, RelayServiceServer},
        streamed_outcome::Outcome,
        *,
    },
    policy::{Policy, PolicyChange, SignedPolicy},
    run::{Run, RunHeader},
};
use gaung_site::Role;
use tokio::sync::{mpsc, watch};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::{Code, Request, Response, Status, Streaming, service::Routes};

use crate::{registry::RELAY, server::KillableServer};

/// The author of the relay's own texts.
const OWN: Author = Author { device: DeviceId::NONE, client: ClientId([0xee; 16]) };

#[derive(Clone)]
pub struct Relay {
    logs: Arc<Mutex<HashMap<GroupId, Log>>>,
    changes: watch::Sender<u64>,
    reports: Arc<Mutex<Vec<SessionReports>>>,
    /// The tickets by which groups were followed.
    tickets: Arc<Mutex<Vec<Bytes>>>,
    policies: Arc<Mutex<HashMap<GroupId, Policy>>>,
}

struct Log {
    id: LogId,
    runs: Vec<Run>,
    head: Seq,
    oldest: Seq,
    known: HashMap<(ClientId, u64), Seq>,
    /// Stream key and origin of the first publisher under each client id.
    owners: HashMap<ClientId, (Bytes, Bytes)>,
}

impl Relay {
    pub fn new() -> Self {
        let (reports, tickets) = (Arc::default(), Arc::default());
        Self { logs: Arc::default(), changes: watch::Sender::new(0), reports, tickets, policies: Arc::default() }
    }

    pub fn serve(&self, addr: SocketAddr) -> KillableServer {
        KillableServer::start(addr, Role::Relay(RELAY), Routes::new(RelayServiceServer::new(self.clone())))
    }

    pub fn open(&self, group: GroupId) {
        self.reset(group, LogId(group.0[0].into()));
    }

    pub fn reset(&self, group: GroupId, id: LogId) {
        let log = Log {
            id,
            runs: Vec::new(),
            head: Seq::ZERO,
            oldest: Seq::FIRST,
            known: HashMap::new(),
            owners: HashMap::new(),
        };
        self.logs.lock().unwrap().insert(group, log);
        self.changes.send_modify(|n| *n += 1);
    }

    /// Changes the policy of a group as its owner would.
    pub fn moderate(&self, group: GroupId, change: PolicyChange) {
        let mut policies = self.policies.lock().unwrap();
        let current = policies.remove(&group).unwrap_or_else(|| Policy::unset(group));
        policies.insert(group, current.with(change));
        self.changes.send_modify(|n| *n += 1);
    }

    /// Returns the tickets that the hub showed.
    pub fn tickets(&self) -> Vec<Bytes> {
        self.tickets.lock().unwrap().iter().filter(|ticket| !ticket.is_empty()).cloned().collect()
    }

    /// Returns what the hub reported of the group so far.
    pub fn reports(&self, group: GroupId) -> Vec<SessionReports> {
        let reports = self.reports.lock().unwrap();
        reports.iter().filter(|report| report.group_id == group.as_bytes()[..]).cloned().collect()
    }

    pub fn drop_before(&self, group: GroupId, oldest: Seq) {
        let mut logs = self.logs.lock().unwrap();
        let log = logs.get_mut(&group).unwrap();
        log.runs.retain(|run| run.last_seq() >= oldest);
        log.oldest = oldest;
    }

    /// Appends one run of `count` texts of `payload_len` bytes by "relay".
    pub fn append(&self, group: GroupId, count: u64, payload_len: usize) {
        let (_, payload) = Content::text("relay", vec![b'x'; payload_len]).encode();
        let entries = (0..count).map(|_| (ContentType::Text, payload.clone())).collect();
        self.append_by(group, OWN, None, entries);
    }

    pub fn append_text(&self, group: GroupId, name: &str, text: &[u8]) {
        let entry = Content::text(name, Bytes::copy_from_slice(text)).encode();
        self.append_by(group, OWN, None, vec![entry]);
    }

    pub fn head(&self, group: GroupId) -> Seq {
        self.logs.lock().unwrap()[&group].head
    }

    /// Assigns all client ids that were published under to other publishers.
    pub fn give_clients_away(&self, group: GroupId) {
        let mut logs = self.logs.lock().unwrap();
        logs.get_mut(&group).unwrap().owners.values_mut().for_each(|owner| *owner = Default::default());
    }

    /// Returns stream key and origin by client id.
    pub fn owners(&self, group: GroupId) -> HashMap<ClientId, (Bytes, Bytes)> {
        self.logs.lock().unwrap()[&group].owners.clone()
    }

    /// Returns the device of every logged message.
    pub fn devices(&self, group: GroupId) -> Vec<DeviceId> {
        let logs = self.logs.lock().unwrap();
        logs[&group].runs.iter().flat_map(|run| run.messages().map(|message| message.author.device)).collect()
    }

    /// Returns every logged message as name and text.
    pub fn texts(&self, group: GroupId) -> Vec<(String, Vec<u8>)> {
        let logs = self.logs.lock().unwrap();
        let messages = logs[&group].runs.iter().flat_map(|run| run.messages().collect::<Vec<_>>());
        messages
            .map(|message| match Content::decode(message.content_type, &message.payload) {
                Content { author_name, kind: gaung_proto::Kind::Text(body) } => (author_name, body.to_vec()),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn append_by(&self, group: GroupId, author: Author, first: Option<u64>, entries: Vec<(ContentType, Bytes)>) -> Seq {
        let mut logs = self.logs.lock().unwrap();
        let log = logs.get_mut(&group).unwrap();
        let base = log.head.next();
        let mut block = BlockBuilder::new();
        for (i, (content_type, payload)) in entries.iter().enumerate() {
            let client_seq = first.unwrap_or(base.0) + i as u64;
            log.known.insert((author.client, client_seq), base.plus(i as u64));
            block.push(&MessageRef {
                author,
                client_seq: ClientSeq(client_seq),
                content_type: *content_type,
                sent_at: SentAt(1),
                payload,
            });
        }
        log.head = Seq(log.head.0 + entries.len() as u64);
        let header = RunHeader { group, log: log.id, epoch: Epoch(1), base_seq: base };
        log.runs.push(Run::encode(header, &block));
        drop(logs);
        self.changes.send_modify(|n| *n += 1);
        base
    }

    fn publish_one(&self, request: &PublishRequest) -> Result<PublishResponse, Status> {
        let group = GroupId::try_from(&request.group_id[..]).unwrap();
        let client = ClientId::try_from(&request.client_id[..]).unwrap();
        let author = Author { device: DeviceId::try_from(&request.device_id[..]).unwrap(), client };
        let mut acks = Vec::new();
        let log_id = {
            let mut logs = self.logs.lock().unwrap();
            let log = logs.get_mut(&group).ok_or(Status::not_found("no such group"))?;
            let claimant = (request.stream_key.clone(), request.origin.clone());
            if *log.owners.entry(client).or_insert_with(|| claimant.clone()) != claimant {
                return Err(Status::already_exists("this client id belongs to another publisher; take a new one"));
            }
            log.id.0
        };
        for entry in &request.entries {
            let known = self.logs.lock().unwrap()[&group].known.get(&(client, entry.client_seq)).copied();
            let seq = known.unwrap_or_else(|| {
                let content_type = ContentType::from_byte(entry.content_type as u8);
                self.append_by(group, author, Some(entry.client_seq), vec![(content_type, entry.payload.clone())])
            });
            acks.push(AckRange { first_client_seq: entry.client_seq, first_seq: seq.0, count: 1 });
        }
        Ok(PublishResponse { log_id, acks })
    }

    fn runs_from(&self, group: GroupId, from: Seq) -> Option<(LogId, Seq, Seq, Vec<Run>)> {
        let logs = self.logs.lock().unwrap();
        let log = logs.get(&group)?;
        let first = log.runs.partition_point(|run| run.last_seq() < from);
        Some((log.id, log.head, log.oldest, log.runs[first..].iter().take(64).cloned().collect()))
    }
}

/// The log and the next seq of a group on one Follow stream.
struct Followed {
    log: Option<LogId>,
    next: Seq,
    /// The version of the policy that was sent.
    policy: u64,
}

impl Relay {
    async fn follow_loop(
        self,
        mut requests: Streaming<FollowRequest>,
        to: mpsc::Sender<Result<FollowResponse, Status>>,
    ) -> Option<()> {
        let mut changes = self.changes.subscribe();
        let mut groups: HashMap<GroupId, Followed> = HashMap::new();
        loop {
            tokio::select! {
                request = requests.next() => match request?.ok()?.change? {
                    Change::Add(add) => {
                        let id = GroupId::try_from(&add.group_id[..]).unwrap();
                        let log = (add.log_id != 0).then_some(LogId(add.log_id));
                        groups.insert(id, Followed { log, next: Seq(add.from_seq), policy: 0 });
                        self.tickets.lock().unwrap().push(add.ticket);
                        self.send_policy(&mut groups, id, &to).await?;
                        self.start(&mut groups, id, &to).await?;
                    }
                    Change::Sessions(report) => self.reports.lock().unwrap().push(report),
                    Change::Ticket(newer) => self.tickets.lock().unwrap().push(newer.ticket),
                    Change::Remove(remove) => {
                        groups.remove(&GroupId::try_from(&remove.group_id[..]).unwrap());
                    }
                },
                changed = changes.changed() => changed.ok()?,
            }
            let ids: Vec<GroupId> = groups.keys().copied().collect();
            for id in ids {
                self.send_policy(&mut groups, id, &to).await?;
                self.send_new(&mut groups, id, &to).await?;
            }
        }
    }

    async fn start(
        &self,
        groups: &mut HashMap<GroupId, Followed>,
        id: GroupId,
        to: &mpsc::Sender<Result<FollowResponse, Status>>,
    ) -> Option<()> {
        let Some((log, head, oldest, _)) = self.runs_from(id, Seq(u64::MAX)) else {
            groups.remove(&id);
            let ended = FollowEnded { group_id: id.into(), code: Code::NotFound as i32, message: "none".into() };
            return send(to, follow_response::Event::Ended(ended)).await;
        };
        let followed = groups.get_mut(&id)?;
        followed.next = match followed.log {
            Some(old) if old != log => Seq::FIRST,
            _ if followed.next == Seq::ZERO => head.next(),
            _ => followed.next,
        };
        followed.log = Some(log);
        let started = FollowStarted {
            group_id: id.into(),
            log_id: log.0,
            epoch: 1,
            next_seq: followed.next.0,
            head_seq: head.0,
            oldest_seq: oldest.0,
        };
        send(to, follow_response::Event::Started(started)).await
    }

    async fn send_policy(
        &self,
        groups: &mut HashMap<GroupId, Followed>,
        id: GroupId,
        to: &mpsc::Sender<Result<FollowResponse, Status>>,
    ) -> Option<()> {
        let current = self.policies.lock().unwrap().get(&id).cloned();
        let followed = groups.get_mut(&id)?;
        let Some(current) = current.filter(|current| current.version != followed.policy) else { return Some(()) };
        followed.policy = current.version;
        let signed = SignedPolicy::sign(&SigningKey::from_bytes(&[1; 32]), current);
        send(to, follow_response::Event::Policy(FollowPolicy { policy: signed.encoded().clone() })).await
    }

    async fn send_new(
        &self,
        groups: &mut HashMap<GroupId, Followed>,
        id: GroupId,
        to: &mpsc::Sender<Result<FollowResponse, Status>>,
    ) -> Option<()> {
        loop {
            let Some(followed) = groups.get(&id) else { return Some(()) };
            let (log, _, _, runs) = self.runs_from(id, followed.next)?;
            if followed.log != Some(log) {
                self.start(groups, id, to).await?;
                continue;
            }
            if runs.is_empty() {
                return Some(());
            }
            for run in runs {
                groups.get_mut(&id)?.next = run.last_seq().next();
                send(to, follow_response::Event::Run(run.as_bytes().clone())).await?;
            }
        }
    }
}

async fn send(to: &mpsc::Sender<Result<FollowResponse, Status>>, event: follow_response::Event) -> Option<()> {
    to.send(Ok(FollowResponse { event: Some(event) })).await.ok()
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl RelayService for Relay {
    type PublishStreamStream = ReceiverStream<Result<PublishStreamResponse, Status>>;
    type ReadStream = ReceiverStream<Result<ReadResponse, Status>>;
    type WatchReceiptsStream = ReceiverStream<Result<WatchReceiptsResponse, Status>>;
    type FollowStream = ReceiverStream<Result<FollowResponse, Status>>;

    async fn publish(&self, request: Request<PublishRequest>) -> Answer<PublishResponse> {
        self.publish_one(request.get_ref()).map(Response::new)
    }

    async fn publish_stream(
        &self,
        request: Request<Streaming<PublishStreamRequest>>,
    ) -> Answer<Self::PublishStreamStream> {
        let (sender, receiver) = mpsc::channel(64);
        let relay = self.clone();
        let mut requests = request.into_inner();
        tokio::spawn(async move {
            while let Some(Ok(request)) = requests.next().await {
                let outcome = |publish: StreamedPublish| {
                    let outcome = match relay.publish_one(&publish.publish.unwrap()) {
                        Ok(response) => Outcome::Published(response),
                        Err(status) => Outcome::Refused(PublishRefused {
                            code: status.code() as i32,
                            message: status.message().to_owned(),
                            ..PublishRefused::default()
                        }),
                    };
                    StreamedOutcome { tag: publish.tag, outcome: Some(outcome) }
                };
                let response = PublishStreamResponse { outcomes: request.publishes.into_iter().map(outcome).collect() };
                if sender.send(Ok(response)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn read(&self, request: Request<ReadRequest>) -> Answer<Self::ReadStream> {
        let request = request.into_inner();
        let group = GroupId::try_from(&request.group_id[..]).unwrap();
        let (log, head, oldest, _) = self.runs_from(group, Seq(u64::MAX)).ok_or(Status::not_found("no such group"))?;
        if request.log_id != 0 && request.log_id != log.0 {
            return Err(Status::failed_precondition("another log"));
        }
        if request.from_seq < oldest.0 {
            return Err(Status::out_of_range("below the oldest"));
        }
        let (sender, receiver) = mpsc::channel(4);
        let relay = self.clone();
        tokio::spawn(async move {
            let mut next = Seq(request.from_seq);
            while next <= head {
                let Some((_, _, _, runs)) = relay.runs_from(group, next) else { return };
                for run in runs {
                    next = run.last_seq().next();
                    if sender.send(Ok(ReadResponse { run: run.as_bytes().clone(), first_seq: 0 })).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn follow(&self, request: Request<Streaming<FollowRequest>>) -> Answer<Self::FollowStream> {
        let (sender, receiver) = mpsc::channel(64);
        tokio::spawn(self.clone().follow_loop(request.into_inner(), sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn watch_receipts(&self, _: Request<WatchReceiptsRequest>) -> Answer<Self::WatchReceiptsStream> {
        Err(Status::unimplemented("a hub requests no receipts"))
    }

    async fn get_log(&self, request: Request<GetLogRequest>) -> Answer<GetLogResponse> {
        let group = GroupId::try_from(&request.get_ref().group_id[..]).unwrap();
        let (log, head, oldest, _) = self.runs_from(group, Seq(u64::MAX)).ok_or(Status::not_found("no such group"))?;
        Ok(Response::new(GetLogResponse {
            log_id: log.0,
            epoch: 1,
            oldest_seq: oldest.0,
            head_seq: head.0,
            ..GetLogResponse::default()
        }))
    }
}
