//! The WatchReceipts call: streams which members have delivered given messages, as that changes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gaung_engine::{MemberLane, MemberState, Receipt, Roster};
use gaung_proto::{
    SenderId, Seq, SeqRange,
    limits::MAX_RECEIPT_MESSAGES,
    pb::relay::{self as pb, WatchReceiptsRequest, WatchReceiptsResponse},
};
use prost::Message as _;
use service_kit::{
    rpc::{AnswerSender, AnswerStream, CallBytes, answer_queue},
    share::{Caller, Share},
};
use tokio::time::{Instant, sleep_until};
use tonic::Request;

use super::{CallError, RelayCalls, group_id, shared_right::SharedRight};
use crate::directory::{GroupPhase, OpenGroup};

/// Longest time that one call may watch.
const MAX_WAIT: Duration = Duration::from_secs(3600);
/// Most receipts of one answer; each takes about 1 KiB where many members are missing.
const ANSWER_RECEIPTS: usize = 64;
/// Most bytes of answers that wait for a slow reader; at this limit later changes are merged.
const WINDOW: usize = 64 * 1024;

type ReceiptSender = AnswerSender<WatchReceiptsResponse>;

pub(super) async fn watch(
    relay: RelayCalls,
    request: Request<WatchReceiptsRequest>,
) -> Result<AnswerStream<WatchReceiptsResponse>, CallError> {
    let (sender, answers) = answer_queue(CallBytes::of(&request), WINDOW);
    let peer = relay.0.service_calls.peer_device(&request);
    let request = request.into_inner();
    let group = group_id(&request.group_id)?;
    let serving = relay.serving(group).await?;
    let right = SharedRight::new();
    right.show(&relay.0.access, &serving.config, peer, &request.ticket)?;
    relay.0.policies.check_reader(&serving.config, &request.ticket)?;
    let log = serving.identity.log;
    if request.log_id != 0 && request.log_id != log.0 {
        return Err(CallError::OtherLog { current: log });
    }
    let seqs = seqs(&request.ranges)?;
    check_known(&serving, &seqs)?;
    let place = relay.0.watches.take(sender.caller(), 1).map_err(|_| CallError::TooManyWatches)?;
    let wait = Duration::from_millis(request.wait_ms.into()).min(MAX_WAIT);
    let open = seqs.into_iter().map(|seq| (seq, None)).collect();
    let tasks = relay.0.tasks.clone();
    let watch = ReceiptWatch { relay, serving, open, deadline: Instant::now() + wait };
    tasks.spawn(async move {
        let figures = watch.relay.0.figures.clone();
        figures.receipt_watches.inc();
        if let Err(error) = watch.run(&sender, &right, &place).await {
            // Nobody may read the answers any more.
            let _ = sender.send(Err(error.into()), 0).await;
        }
        figures.receipt_watches.dec();
    });
    Ok(answers)
}

/// Returns the requested messages in order, each once.
fn seqs(ranges: &[pb::SeqRange]) -> Result<Vec<Seq>, CallError> {
    let wrong = CallError::BadField("a range goes from a seq of 1 or more to one that is not less");
    let ranges = ranges.iter().map(|range| SeqRange::new(Seq(range.first_seq), Seq(range.last_seq)));
    let ranges: Option<Vec<SeqRange>> = ranges.collect();
    let ranges = ranges.filter(|ranges| ranges.iter().all(|range| range.first > Seq::ZERO)).ok_or(wrong)?;
    let count = ranges.iter().fold(0_u64, |sum, range| sum.saturating_add(range.len()));
    if count == 0 || count > MAX_RECEIPT_MESSAGES {
        return Err(CallError::BadField("receipts are watched of 1 to 1024 messages at a time"));
    }
    let mut seqs: Vec<Seq> = ranges.iter().flat_map(|range| (range.first.0..=range.last.0).map(Seq)).collect();
    seqs.sort_unstable();
    seqs.dedup();
    Ok(seqs)
}

fn check_known(serving: &OpenGroup, seqs: &[Seq]) -> Result<(), CallError> {
    let (first, head) = (serving.feed.first(), serving.feed.head());
    match (seqs.iter().find(|&&seq| seq < first), seqs.iter().find(|&&seq| seq > head)) {
        (Some(&seq), _) => Err(CallError::BeforeOpening(seq)),
        (None, Some(&seq)) => Err(CallError::NotLoggedYet(seq)),
        (None, None) => Ok(()),
    }
}

/// One call of WatchReceipts.
struct ReceiptWatch {
    relay: RelayCalls,
    serving: Arc<OpenGroup>,
    /// Messages whose receipt can still change, with the receipt that was sent last.
    open: BTreeMap<Seq, Option<Receipt>>,
    deadline: Instant,
}

impl ReceiptWatch {
    async fn run(
        mut self,
        sender: &ReceiptSender,
        right: &SharedRight,
        place: &Share<Caller>,
    ) -> Result<(), CallError> {
        let (relay, serving) = (self.relay.clone(), Arc::clone(&self.serving));
        tokio::select! {
            sent = self.send_changes(sender) => sent,
            () = over(&relay, &serving) => Err(CallError::NotReady),
            () = place.evicted() => Err(CallError::TooManyWatches),
            // A member calls again with a newer ticket.
            _ = right.ended(&relay.0.access) => Err(CallError::NotReady),
            () = sender.closed() => Ok(()),
        }
    }

    /// Sends the receipts as they are now, their changes with each new copy of the members, and the rest at the deadline.
    async fn send_changes(&mut self, sender: &ReceiptSender) -> Result<(), CallError> {
        let serving = Arc::clone(&self.serving);
        let mut rosters = serving.feed.rosters();
        let (mut roster, _) = self.relay.roster(&serving).await?;
        loop {
            for receipts in self.changed(&roster).chunks(ANSWER_RECEIPTS) {
                let answer = WatchReceiptsResponse { receipts: receipts.to_vec() };
                let size = answer.encoded_len();
                if sender.send(Ok(answer), size).await.is_err() {
                    return Ok(());
                }
            }
            if Instant::now() >= self.deadline || self.open.is_empty() {
                return Ok(());
            }
            roster = tokio::select! {
                Ok(()) = rosters.changed() => Arc::clone(&rosters.borrow_and_update()),
                () = sleep_until(self.deadline) => self.relay.roster(&serving).await?.0,
            };
        }
    }

    /// Returns the receipts that changed; complete ones are not looked at again.
    fn changed(&mut self, roster: &Roster) -> Vec<pb::Receipt> {
        let mut changed = Vec::new();
        self.open.retain(|&seq, told| {
            let receipt = roster.receipt(seq);
            if told.replace(receipt) != Some(receipt) {
                changed.push(to_pb(seq, receipt, roster));
            }
            !receipt.is_complete()
        });
        changed
    }
}

/// Waits until the group has another phase or opening.
async fn over(relay: &RelayCalls, serving: &OpenGroup) {
    let Some(mut phases) = relay.0.directory.watch(serving.identity.group) else { return };
    let same = |phase: &GroupPhase| match phase {
        GroupPhase::Serving(now) => now.identity.epoch == serving.identity.epoch,
        GroupPhase::Unavailable | GroupPhase::Refused { .. } | GroupPhase::Deleted => false,
    };
    // An error means that the group is gone.
    drop(phases.wait_for(|phase| !same(phase)).await);
}

fn to_pb(seq: Seq, receipt: Receipt, roster: &Roster) -> pb::Receipt {
    pb::Receipt {
        seq: seq.0,
        heard: receipt.heard,
        present: receipt.present,
        silent: receipt.silent,
        absent: receipt.absent,
        missing: roster.missing(seq).map(|(id, member)| missing_member(id, member)).collect(),
        complete: receipt.is_complete(),
    }
}

fn missing_member(id: SenderId, member: &MemberState) -> pb::MissingMember {
    pb::MissingMember {
        device_id: member.device.into(),
        client_id: id.into(),
        lane: lane(member.lane).into(),
        name: member.name.clone(),
    }
}

pub(super) fn member_status(id: SenderId, member: &MemberState) -> pb::MemberStatus {
    pb::MemberStatus {
        device_id: member.device.into(),
        client_id: id.into(),
        delivered_seq: member.delivered.0,
        received_datagrams: member.received.into(),
        lost_datagrams: member.lost.into(),
        repaired_datagrams: member.repaired.into(),
        round_trip_us: member.round_trip.map_or(0, |round_trip| round_trip.as_micros() as u32),
        lane: lane(member.lane).into(),
        name: member.name.clone(),
    }
}

const fn lane(lane: MemberLane) -> pb::MemberLane {
    match lane {
        MemberLane::Multicast => pb::MemberLane::Multicast,
        MemberLane::Tcp => pb::MemberLane::Tcp,
        MemberLane::Text => pb::MemberLane::Text,
    }
}
