//! WatchReceipts: who has delivered messages, as it changes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gaung_engine::{MemberLane, MemberState, Members, Receipt};
use gaung_proto::{
    SenderId, Seq, SeqRange,
    limits::{MAX_MISSING_MEMBERS, MAX_RECEIPT_MESSAGES},
    pb::relay::{self as pb, WatchReceiptsRequest, WatchReceiptsResponse},
};
use service_kit::share::{Caller, Share};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{CallError, Relay, group_id, reading_right::ReadingRight};
use crate::directory::{Phase, Serving};

/// Between two answers of one call.
const COALESCE: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_secs(3600);

type Sender = mpsc::Sender<Result<WatchReceiptsResponse, Status>>;

pub(super) async fn watch(
    relay: Relay,
    caller: Caller,
    request: WatchReceiptsRequest,
) -> Result<ReceiverStream<Result<WatchReceiptsResponse, Status>>, CallError> {
    let group = group_id(&request.group_id)?;
    let serving = relay.serving(group).await?;
    let right = ReadingRight::new();
    right.show(&relay.0.access, &serving.config, &request.ticket)?;
    let log = serving.identity.log;
    if request.log_id != 0 && request.log_id != log.0 {
        return Err(CallError::OtherLog { current: log });
    }
    let seqs = seqs(&request.ranges)?;
    check_known(&serving, &seqs)?;
    let place = relay.0.watches.take(caller, 1).map_err(|_| CallError::TooManyWatches)?;
    let wait = Duration::from_millis(request.wait_ms.into()).min(MAX_WAIT);
    let open = seqs.into_iter().map(|seq| (seq, None)).collect();
    let (sender, receiver) = mpsc::channel(1);
    let tasks = relay.0.tasks.clone();
    let watch = Watch { relay, serving, right, open, deadline: Instant::now() + wait, place };
    tasks.spawn(async move {
        watch.relay.0.figures.receipt_watches.inc();
        let figures = watch.relay.0.figures.clone();
        if let Err(error) = watch.run(&sender).await {
            let _ = sender.send(Err(error.into())).await;
        }
        figures.receipt_watches.dec();
    });
    Ok(ReceiverStream::new(receiver))
}

/// The messages asked for, each once.
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

fn check_known(serving: &Serving, seqs: &[Seq]) -> Result<(), CallError> {
    let (first, head) = (serving.feed.first(), serving.feed.head());
    match (seqs.iter().find(|&&seq| seq < first), seqs.iter().find(|&&seq| seq > head)) {
        (Some(&seq), _) => Err(CallError::BeforeOpening(seq)),
        (None, Some(&seq)) => Err(CallError::NotLoggedYet(seq)),
        (None, None) => Ok(()),
    }
}

/// One call.
struct Watch {
    relay: Relay,
    serving: Arc<Serving>,
    right: ReadingRight,
    /// Messages whose receipt can change, as they were told last.
    open: BTreeMap<Seq, Option<Receipt>>,
    deadline: Instant,
    place: Share<Caller>,
}

impl Watch {
    async fn run(mut self, sender: &Sender) -> Result<(), CallError> {
        let mut bell = self.serving.feed.audience();
        let group = self.serving.identity.group;
        let mut phases = self.relay.0.directory.watch(group).ok_or(CallError::NoSuchGroup)?;
        let (right, relay) = (self.right.clone(), self.relay.clone());
        let mut expired = std::pin::pin!(right.ended(&relay.0.access));
        loop {
            bell.borrow_and_update();
            let last = Instant::now() >= self.deadline;
            let (members, _) = self.relay.members(&self.serving).await?;
            let receipts = self.changed(&members);
            if !receipts.is_empty() && sender.send(Ok(WatchReceiptsResponse { receipts })).await.is_err() {
                return Ok(());
            }
            if last || self.open.is_empty() {
                return Ok(());
            }
            let soonest = Instant::now() + COALESCE;
            tokio::select! {
                _ = bell.changed() => sleep_until(soonest.min(self.deadline)).await,
                () = sleep_until(self.deadline) => {}
                () = self.over(&mut phases) => return Err(CallError::NotReady),
                () = self.place.evicted() => return Err(CallError::TooManyWatches),
                // Whoever is a member still asks again with a newer ticket.
                _ = &mut expired => return Err(CallError::NotReady),
                () = sender.closed() => return Ok(()),
            }
        }
    }

    /// Waits until the group is in another phase or opening.
    async fn over(&self, phases: &mut watch::Receiver<Phase>) {
        let same = |phase: &Phase| match phase {
            Phase::Serving(serving) => serving.identity.epoch == self.serving.identity.epoch,
            Phase::Unavailable | Phase::Refused { .. } | Phase::Deleted => false,
        };
        // An error means that the group is gone.
        drop(phases.wait_for(|phase| !same(phase)).await);
    }

    /// What is to be told; messages that everyone has are not looked at again.
    fn changed(&mut self, members: &Members) -> Vec<pb::Receipt> {
        let mut changed = Vec::new();
        let seqs: Vec<Seq> = self.open.keys().copied().collect();
        let mut receipts = members.receipts(&seqs).into_iter();
        self.open.retain(|&seq, told| {
            let receipt = receipts.next().expect("one for each message that is open");
            if told.replace(receipt) != Some(receipt) {
                changed.push(to_pb(seq, receipt, members));
            }
            !receipt.is_complete()
        });
        changed
    }
}

fn to_pb(seq: Seq, receipt: Receipt, members: &Members) -> pb::Receipt {
    let lacks = |text: bool| members.missing(seq).filter(move |(_, m)| (m.lane == MemberLane::Text) == text);
    let missing = lacks(false).chain(lacks(true)).take(MAX_MISSING_MEMBERS);
    pb::Receipt {
        seq: seq.0,
        heard: receipt.heard,
        present: receipt.present,
        silent: receipt.silent,
        absent: receipt.absent,
        missing: missing.map(|(id, member)| missing_member(id, member)).collect(),
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
