//! Following: one stream of runs from each relay, for all groups that sessions need.

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
        FollowEnded, FollowGroup, FollowRequest, FollowResponse, FollowStarted, FollowTicket, SessionReport,
        SessionReports, UnfollowGroup, follow_request::Change, follow_response::Event,
    },
    run::Run,
};
use tokio::{
    sync::mpsc,
    time::{Instant, interval, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};
use tracing::{debug, info, warn};

use crate::{
    failure::Failure,
    hub::{Hub, ToBroadcast},
    registry,
    relays::{self, RelayLink},
};

const REQUEST_QUEUE: usize = 256;
/// How often groups that the relay could not serve are asked for again.
const RETRY_ENDED: Duration = Duration::from_secs(1);
/// Between two reports of what sessions delivered.
const REPORT_INTERVAL: Duration = Duration::from_millis(250);
/// After a pause, the acknowledgements of one message are waited for so long.
const REPORT_GATHER: Duration = Duration::from_millis(20);
/// How often the relay is told that sessions without news are still there; it believes so for 5 s.
const RENEW_INTERVAL: Duration = Duration::from_secs(2);
/// Reports wait in the sessions' groups while more requests than this wait for the relay.
const MAX_WAITING_REQUESTS: usize = 1024;

/// Follows for as long as the hub's links live; comes back with back-off.
pub(crate) async fn run(hub: Arc<Hub>, link: Arc<RelayLink>) {
    let mut backoff = relays::backoff();
    let stop = hub.links_stop.clone();
    loop {
        let broken = tokio::select! {
            () = stop.cancelled() => return,
            broken = follow(&hub, &link, &mut backoff) => broken,
        };
        debug!(relay = %link.relay, why = broken, "not following");
        if !backoff.wait(&stop).await {
            return;
        }
    }
}

/// One stream from its opening to its end; returns why it ended.
async fn follow(hub: &Arc<Hub>, link: &Arc<RelayLink>, backoff: &mut Backoff) -> String {
    let mut client = match relays::connect(hub, link.relay).await {
        Ok(client) => client,
        Err(why) => return why,
    };
    link.take_changed();
    let mut stream = Following::new(hub, link);
    for group in hub.groups.all() {
        if group.info().relay == link.relay {
            group.audience.forget_reported();
            stream.wish(group.id);
        }
    }
    let (requests, queue) = mpsc::channel(REQUEST_QUEUE);
    while let Some(request) = stream.requests.pop_front() {
        if let Err(full) = requests.try_send(request) {
            stream.requests.push_front(full.into_inner());
            break;
        }
    }
    let responses = match client.follow(ReceiverStream::new(queue)).await {
        Ok(response) => response.into_inner(),
        Err(status) => return status.message().to_owned(),
    };
    info!(relay = %link.relay, "following");
    hub.figures.relay_connects.inc();
    backoff.reset();
    let why = stream.serve(requests, responses).await;
    warn!(relay = %link.relay, why, "the relay's stream broke; sessions wait");
    why
}

/// One open stream.
struct Following<'a> {
    hub: &'a Arc<Hub>,
    link: &'a Arc<RelayLink>,
    /// Asked for on this stream, not ended.
    asked: HashSet<GroupId>,
    /// Ended on this stream, to be asked for again.
    again: HashSet<GroupId>,
    requests: VecDeque<FollowRequest>,
}

impl<'a> Following<'a> {
    fn new(hub: &'a Arc<Hub>, link: &'a Arc<RelayLink>) -> Self {
        Self { hub, link, asked: HashSet::new(), again: HashSet::new(), requests: VecDeque::new() }
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
                    Ok(Some(response)) => self.handle(response),
                    Ok(None) => return "the relay ended the stream".to_owned(),
                    Err(status) => return status.message().to_owned(),
                },
                () = self.link.changes() => {
                    for id in self.link.take_changed() {
                        self.wish(id);
                    }
                }
                permit = requests.reserve(), if !self.requests.is_empty() => match (permit, self.requests.pop_front()) {
                    (Ok(permit), Some(request)) => permit.send(request),
                    (_, _) => return "the request stream ended".to_owned(),
                },
                () = self.link.audience_changes(), if report_due.is_none() => {
                    report_due = Some((reported + REPORT_INTERVAL).max(Instant::now() + REPORT_GATHER));
                }
                () = sleep_until(report_due.unwrap_or(reported)), if report_due.is_some() => {
                    reported = Instant::now();
                    report_due = self.report().then_some(reported + REPORT_INTERVAL);
                }
                _ = renew.tick() => self.renew(),
                _ = retry.tick() => {
                    for id in std::mem::take(&mut self.again) {
                        self.wish(id);
                    }
                }
            }
        }
    }

    /// Asks for the group if it is wanted and not asked for, takes it back if it is asked for and not wanted; shows the
    /// relay a newer ticket, if there is one.
    fn wish(&mut self, id: GroupId) {
        let wanted = self.hub.groups.get(id).filter(|group| group.info().relay == self.link.relay);
        match wanted {
            Some(group) => {
                if self.asked.insert(id) {
                    let (log_id, from_seq) = group.resume_point();
                    let add = FollowGroup { group_id: id.into(), log_id, from_seq, ticket: group.show_ticket() };
                    self.requests.push_back(FollowRequest { change: Some(Change::Add(add)) });
                } else if let Some(ticket) = group.newer_ticket() {
                    let newer = FollowTicket { group_id: id.into(), ticket };
                    self.requests.push_back(FollowRequest { change: Some(Change::Ticket(newer)) });
                }
            }
            None => {
                self.again.remove(&id);
                if self.asked.remove(&id) {
                    let remove = UnfollowGroup { group_id: id.into() };
                    self.requests.push_back(FollowRequest { change: Some(Change::Remove(remove)) });
                }
            }
        }
    }

    /// Reports what sessions delivered since the last time; true if there is more.
    fn report(&mut self) -> bool {
        let mut left = false;
        for id in self.link.take_heard() {
            let Some(group) = self.hub.groups.get(id).filter(|group| self.asked.contains(&group.id)) else { continue };
            // What is not told now is told when the group begins.
            let Some(log) = group.log() else { continue };
            let full = self.requests.len() >= MAX_WAITING_REQUESTS;
            let (sessions, more) = if full { (Vec::new(), true) } else { group.audience.take_reports() };
            if !sessions.is_empty() {
                self.push_report(id, log, sessions);
            }
            if more {
                self.link.audience_changed(id);
                left = true;
            }
        }
        left
    }

    /// Says of every group with sessions that they are still there.
    fn renew(&mut self) {
        let groups: Vec<GroupId> = self.asked.iter().copied().collect();
        for group in groups.into_iter().filter_map(|id| self.hub.groups.get(id)) {
            if let Some(log) = group.log().filter(|_| !group.audience.is_empty()) {
                self.push_report(group.id, log, Vec::new());
            }
        }
    }

    fn push_report(&mut self, group: GroupId, log: LogId, sessions: Vec<SessionReport>) {
        let hub_key = self.hub.report_key.to_vec().into();
        let reports = SessionReports { group_id: group.into(), log_id: log.0, sessions, hub_key };
        self.requests.push_back(FollowRequest { change: Some(Change::Sessions(reports)) });
    }

    fn handle(&mut self, response: FollowResponse) {
        match response.event {
            // A copy: what came shares its buffer with runs of other groups, which would outlive their rings.
            Some(Event::Run(bytes)) => match Run::parse(Bytes::copy_from_slice(&bytes)) {
                Ok(run) => self.handle_run(run),
                Err(error) => {
                    self.hub.figures.runs_rejected.inc();
                    warn!(relay = %self.link.relay, %error, "a run from the relay cannot be read");
                }
            },
            Some(Event::Started(started)) => self.handle_started(&started),
            Some(Event::Ended(ended)) => self.handle_ended(&ended),
            None => {}
        }
    }

    fn handle_run(&mut self, run: Run) {
        let group = self.hub.groups.get(run.header().group).filter(|group| self.asked.contains(&group.id));
        let Some(group) = group else {
            self.hub.figures.runs_rejected.inc();
            return;
        };
        let Some(from) = group.push(run.clone()) else {
            self.hub.figures.runs_rejected.inc();
            return;
        };
        self.hub.figures.runs_received.inc();
        self.hub.wake(&group);
        if let Some(to_broadcast) = &self.hub.to_broadcast
            && group.info().is_everyone()
            && to_broadcast.try_send(ToBroadcast { run, from }).is_err()
        {
            self.hub.figures.broadcast_dropped.inc();
        }
    }

    fn handle_started(&self, started: &FollowStarted) {
        let Some(group) = group_id(&started.group_id).and_then(|id| self.hub.groups.get(id)) else { return };
        debug!(group = %group.id, log = started.log_id, next = started.next_seq, "group follows");
        group.start(LogId(started.log_id), Seq(started.next_seq.max(1)));
        group.audience.forget_reported();
        self.link.audience_changed(group.id);
        self.hub.wake(&group);
    }

    fn handle_ended(&mut self, ended: &FollowEnded) {
        let Some(id) = group_id(&ended.group_id) else { return };
        self.asked.remove(&id);
        let code = Code::from_i32(ended.code);
        debug!(group = %id, ?code, why = ended.message, "group does not follow");
        if code == Code::NotFound && self.hub.directory.by_id(id).is_none() {
            self.hub.end_group(id, code, "the group was deleted");
        } else {
            self.again.insert(id);
            if code == Code::NotFound {
                registry::verify(self.hub, id);
            }
            if let Some(group) = self.hub.groups.get(id) {
                group.pause(Failure::new(code, ended.message.clone()));
                self.hub.wake(&group);
            }
        }
    }
}

fn group_id(bytes: &[u8]) -> Option<GroupId> {
    GroupId::try_from(bytes).ok()
}
