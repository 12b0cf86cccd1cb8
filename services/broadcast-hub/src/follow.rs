//! Following groups: one stream of runs from each relay, for all groups that sessions need.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use gaung_net::backoff::Backoff;
use gaung_proto::{
    GroupId, LogId, Seq,
    pb::relay::{
        FollowEnded, FollowGroup, FollowPolicy, FollowRequest, FollowResponse, FollowStarted, FollowTicket,
        SessionReport, SessionReports, UnfollowGroup, follow_request::Change, follow_response::Event,
    },
    policy::SignedPolicy,
    run::Run,
};
use tokio::{
    sync::mpsc,
    time::{Instant, interval, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Streaming};
use tracing::{debug, info, warn};

use crate::{
    broadcast::BroadcastRun,
    failure::Failure,
    followed_groups::FollowedGroups,
    metrics::Figures,
    registry::GroupVerifier,
    relay_connector::{self, RelayConnector},
    relays::RelayLink,
};

const REQUEST_QUEUE: usize = 256;
/// How often groups that the relay could not serve are requested again.
const RETRY_ENDED: Duration = Duration::from_secs(1);
/// Least time between two reports of what sessions delivered.
const REPORT_INTERVAL: Duration = Duration::from_millis(250);
/// How long the first report after a pause waits, so that it gathers the acknowledgements of one message.
const REPORT_GATHER: Duration = Duration::from_millis(20);
/// How often sessions without news are reported as present; the relay considers them gone after 5 s.
const RENEW_INTERVAL: Duration = Duration::from_secs(2);
/// Most requests that wait for the relay; above, reports wait in their groups.
const MAX_WAITING_REQUESTS: usize = 1024;

/// What following any relay uses of the hub.
pub(crate) struct FollowContext {
    pub(crate) connector: Arc<RelayConnector>,
    pub(crate) groups: Arc<FollowedGroups>,
    pub(crate) verifier: GroupVerifier,
    pub(crate) to_broadcast: Option<mpsc::Sender<BroadcastRun>>,
    /// Proves to a relay that reports on a new stream are from the hub that made those on a broken one.
    pub(crate) report_key: [u8; 16],
    pub(crate) figures: Figures,
}

/// Follows one relay.
pub(crate) struct Follower {
    context: Arc<FollowContext>,
    link: Arc<RelayLink>,
}

impl Follower {
    pub(crate) const fn new(context: Arc<FollowContext>, link: Arc<RelayLink>) -> Self {
        Self { context, link }
    }

    /// Follows until `stop`. After a break it opens a new stream, with backoff.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut backoff = relay_connector::backoff();
        loop {
            let why = tokio::select! {
                () = stop.cancelled() => return,
                why = self.follow(&mut backoff) => why,
            };
            debug!(relay = %self.link.relay, why, "not following");
            if !backoff.wait(&stop).await {
                return;
            }
        }
    }

    /// Serves one stream from its opening to its end; returns why it ended.
    async fn follow(&self, backoff: &mut Backoff) -> String {
        let mut client = match self.context.connector.connect(self.link.relay).await {
            Ok(client) => client,
            Err(why) => return why,
        };
        // Every group is requested anew below.
        self.link.requests.take();
        let mut stream = FollowStream::new(&self.context, &self.link);
        for group in self.context.groups.all() {
            if group.info().relay == self.link.relay {
                group.audience.forget_reported();
                stream.update(group.id);
            }
        }
        let (requests, queue) = mpsc::channel(REQUEST_QUEUE);
        while let Some(request) = stream.waiting.pop_front() {
            if let Err(full) = requests.try_send(request) {
                stream.waiting.push_front(full.into_inner());
                break;
            }
        }
        let responses = match client.follow(ReceiverStream::new(queue)).await {
            Ok(response) => response.into_inner(),
            Err(status) => return status.message().to_owned(),
        };
        info!(relay = %self.link.relay, "following");
        self.context.figures.relay_connects.inc();
        backoff.reset();
        let why = stream.serve(requests, responses).await;
        warn!(relay = %self.link.relay, why, "the relay's stream broke; sessions wait");
        why
    }
}

/// One open stream and what was requested on it.
struct FollowStream<'a> {
    context: &'a FollowContext,
    link: &'a RelayLink,
    /// Groups that were requested and have not ended.
    requested: HashSet<GroupId>,
    /// Groups that have ended and are to be requested again.
    to_retry: HashSet<GroupId>,
    /// Requests that wait for the relay.
    waiting: VecDeque<FollowRequest>,
}

impl<'a> FollowStream<'a> {
    fn new(context: &'a FollowContext, link: &'a RelayLink) -> Self {
        Self { context, link, requested: HashSet::new(), to_retry: HashSet::new(), waiting: VecDeque::new() }
    }

    async fn serve(
        &mut self,
        requests: mpsc::Sender<FollowRequest>,
        mut responses: Streaming<FollowResponse>,
    ) -> String {
        let mut retry = interval(RETRY_ENDED);
        let mut renew = interval(RENEW_INTERVAL);
        let mut reported = Instant::now();
        let mut report_due: Option<Instant> = None;
        loop {
            tokio::select! {
                message = responses.message() => match message {
                    Ok(Some(response)) => self.handle_response(response),
                    Ok(None) => return "the relay ended the stream".to_owned(),
                    Err(status) => return status.message().to_owned(),
                },
                () = self.link.requests.changed() => self.link.requests.take().into_iter().for_each(|id| self.update(id)),
                permit = requests.reserve(), if !self.waiting.is_empty() => match (permit, self.waiting.pop_front()) {
                    (Ok(permit), Some(request)) => permit.send(request),
                    (_, _) => return "the request stream ended".to_owned(),
                },
                () = self.link.audiences.changed(), if report_due.is_none() => {
                    report_due = Some((reported + REPORT_INTERVAL).max(Instant::now() + REPORT_GATHER));
                }
                () = sleep_until(report_due.unwrap_or(reported)), if report_due.is_some() => {
                    reported = Instant::now();
                    report_due = self.report().then_some(reported + REPORT_INTERVAL);
                }
                _ = renew.tick() => self.renew(),
                _ = retry.tick() => std::mem::take(&mut self.to_retry).into_iter().for_each(|id| self.update(id)),
            }
        }
    }

    /// Compares what is requested of a group with what is wanted, and queues the request that is missing: to follow it, to
    /// unfollow it, or to renew its ticket.
    fn update(&mut self, id: GroupId) {
        let wanted = self.context.groups.get(id).filter(|group| group.info().relay == self.link.relay);
        match wanted {
            Some(group) => {
                if self.requested.insert(id) {
                    let (log_id, from_seq) = group.resume_point();
                    let add = FollowGroup { group_id: id.into(), log_id, from_seq, ticket: group.show_ticket() };
                    self.request(Change::Add(add));
                } else if let Some(ticket) = group.newer_ticket() {
                    self.request(Change::Ticket(FollowTicket { group_id: id.into(), ticket }));
                }
            }
            None => {
                self.to_retry.remove(&id);
                if self.requested.remove(&id) {
                    self.request(Change::Remove(UnfollowGroup { group_id: id.into() }));
                }
            }
        }
    }

    /// Reports what sessions delivered since the last report; returns true if some of it has to wait for the next one.
    fn report(&mut self) -> bool {
        let mut is_left = false;
        for id in self.link.audiences.take() {
            let group = self.context.groups.get(id).filter(|group| self.requested.contains(&group.id));
            let Some(group) = group else { continue };
            // Reports name the log; `handle_started` notes the audience again once the log is known.
            let Some(log) = group.log() else { continue };
            let is_full = self.waiting.len() >= MAX_WAITING_REQUESTS;
            let (sessions, has_more) = if is_full { (Vec::new(), true) } else { group.audience.take_reports() };
            if !sessions.is_empty() {
                self.push_report(id, log, sessions);
            }
            if has_more {
                self.link.audiences.insert(id);
                is_left = true;
            }
        }
        is_left
    }

    /// Renews the presence of all sessions that were reported, by an empty report for each of their groups.
    fn renew(&mut self) {
        let groups: Vec<GroupId> = self.requested.iter().copied().collect();
        for group in groups.into_iter().filter_map(|id| self.context.groups.get(id)) {
            if let Some(log) = group.log().filter(|_| !group.audience.is_empty()) {
                self.push_report(group.id, log, Vec::new());
            }
        }
    }

    fn push_report(&mut self, group: GroupId, log: LogId, sessions: Vec<SessionReport>) {
        let hub_key = self.context.report_key.to_vec().into();
        self.request(Change::Sessions(SessionReports { group_id: group.into(), log_id: log.0, sessions, hub_key }));
    }

    fn request(&mut self, change: Change) {
        self.waiting.push_back(FollowRequest { change: Some(change) });
    }

    fn handle_response(&mut self, response: FollowResponse) {
        match response.event {
            // Copied, because the received bytes share a buffer with runs of other groups, which would stay in memory as
            // long as this one does.
            Some(Event::Run(bytes)) => match Run::parse(Bytes::copy_from_slice(&bytes)) {
                Ok(run) => self.handle_run(run),
                Err(error) => {
                    self.context.figures.runs_rejected.inc();
                    warn!(relay = %self.link.relay, %error, "a run from the relay cannot be read");
                }
            },
            Some(Event::Started(started)) => self.handle_started(&started),
            Some(Event::Ended(ended)) => self.handle_ended(&ended),
            Some(Event::Policy(policy)) => self.handle_policy(&policy),
            None => {}
        }
    }

    /// Appends a run to its group's hot ring, wakes the sessions in it, and has messages of `everyone` broadcast.
    fn handle_run(&mut self, run: Run) {
        let FollowContext { groups, figures, to_broadcast, .. } = self.context;
        let group = groups.get(run.header().group).filter(|group| self.requested.contains(&group.id));
        let appended = group.and_then(|group| Some((group.push(run.clone())?, group)));
        let Some((from, group)) = appended else {
            figures.runs_rejected.inc();
            return;
        };
        figures.runs_received.inc();
        groups.wake(&group);
        if let Some(to_broadcast) = to_broadcast
            && group.info().is_everyone()
            && to_broadcast.try_send(BroadcastRun { run, from }).is_err()
        {
            figures.broadcast_dropped.inc();
        }
    }

    fn handle_started(&self, started: &FollowStarted) {
        let Some(group) = group_id(&started.group_id).and_then(|id| self.context.groups.get(id)) else { return };
        debug!(group = %group.id, log = started.log_id, next = started.next_seq, "group follows");
        group.start(LogId(started.log_id), Seq(started.next_seq.max(1)));
        group.audience.forget_reported();
        self.link.audiences.insert(group.id);
        self.context.groups.wake(&group);
    }

    /// Sets a group's policy, by which its sessions end those of banned and kicked devices as they are woken.
    fn handle_policy(&self, policy: &FollowPolicy) {
        // Copied, as runs are, because a policy stays for long.
        let signed = SignedPolicy::decode(&Bytes::copy_from_slice(&policy.policy));
        let Ok(signed) = signed.inspect_err(|error| warn!(relay = %self.link.relay, %error, "a policy cannot be read"))
        else {
            return;
        };
        if let Some(group) = self.context.groups.get(signed.policy().group) {
            debug!(group = %group.id, version = signed.policy().version, "the group has another policy");
            group.set_policy(signed);
            self.context.groups.wake(&group);
        }
    }

    fn handle_ended(&mut self, ended: &FollowEnded) {
        let Some(id) = group_id(&ended.group_id) else { return };
        self.requested.remove(&id);
        let code = Code::from_i32(ended.code);
        debug!(group = %id, ?code, why = ended.message, "group does not follow");
        if code == Code::NotFound && self.context.verifier.handle_not_found(id) {
            return;
        }
        self.to_retry.insert(id);
        if let Some(group) = self.context.groups.get(id) {
            group.pause(Failure::new(code, ended.message.clone()));
            self.context.groups.wake(&group);
        }
    }
}

fn group_id(bytes: &[u8]) -> Option<GroupId> {
    GroupId::try_from(bytes).ok()
}
