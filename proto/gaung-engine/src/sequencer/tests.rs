#![allow(clippy::unwrap_used)]
use super::*;
use crate::{ClaimHasher, RequestOrigin, StreamKey, windows::DEFAULT_WINDOW_BYTES};

const ANN: ClientId = ClientId([1; 16]);
const BOB: ClientId = ClientId([2; 16]);

fn sequencer() -> Sequencer {
    let identity = LogIdentity { group: GroupId([7; 16]), log: LogId(9), epoch: Epoch(1) };
    Sequencer::new(identity, Seq::ZERO, ClientWindows::new(DEFAULT_WINDOW_BYTES))
}

fn batch_of(client: ClientId, seqs: impl IntoIterator<Item = u64>, payload_len: usize) -> PublishBatch {
    let entry = |n| PublishEntry {
        client_seq: ClientSeq(n),
        content_type: ContentType::Text,
        payload: vec![n as u8; payload_len].into(),
    };
    PublishBatch::new(DeviceId::NONE, client, seqs.into_iter().map(entry).collect()).unwrap()
}

fn publish(sequencer: &mut Sequencer, request: u64, batch: &PublishBatch) {
    sequencer.handle_publish(SentAt(1_000_000), RequestId(request), batch);
}

fn acked(request: u64, first_client_seq: u64, first_seq: u64, count: u32) -> SequencerEvent {
    let ack = AckRange { first_client_seq: ClientSeq(first_client_seq), first_seq: Seq(first_seq), count };
    SequencerEvent::Acked { request: RequestId(request), acks: vec![ack] }
}

fn refused(request: u64, reason: RefuseReason) -> SequencerEvent {
    SequencerEvent::Refused { request: RequestId(request), reason }
}

fn events(sequencer: &mut Sequencer) -> Vec<SequencerEvent> {
    let all = std::iter::from_fn(|| sequencer.poll_event());
    all.filter(|event| !matches!(event, SequencerEvent::Durable(_))).collect()
}

#[test]
fn nothing_is_acknowledged_before_it_is_durable() {
    let mut s = sequencer();
    publish(&mut s, 1, &batch_of(ANN, [1, 2], 10));
    let first = s.poll_append().unwrap().run;
    assert_eq!((first.first_seq(), first.last_seq()), (Seq(1), Seq(2)));
    assert_eq!(s.poll_event(), None);
    publish(&mut s, 2, &batch_of(BOB, [1], 10));
    assert!(s.poll_append().is_none(), "gathers while the first is written");
    publish(&mut s, 3, &batch_of(ANN, [2, 3], 10));
    s.handle_appended(true);
    assert_eq!(s.poll_event(), Some(SequencerEvent::Durable(first)));
    assert_eq!(events(&mut s), [acked(1, 1, 1, 2)]);
    let second = s.poll_append().unwrap().run;
    assert_eq!((second.first_seq(), second.last_seq()), (Seq(3), Seq(4)));
    assert_eq!(events(&mut s), [], "a duplicate waits for what is new beside it");
    s.handle_appended(true);
    let both = [
        AckRange { first_client_seq: ClientSeq(2), first_seq: Seq(2), count: 1 },
        AckRange { first_client_seq: ClientSeq(3), first_seq: Seq(4), count: 1 },
    ];
    let second = SequencerEvent::Acked { request: RequestId(3), acks: both.into() };
    assert_eq!(events(&mut s), [acked(2, 1, 3, 1), second]);
    assert!(s.is_idle());
}

#[test]
fn a_duplicate_of_what_is_in_flight_waits_for_it() {
    let mut s = sequencer();
    publish(&mut s, 1, &batch_of(ANN, [1], 10));
    let _ = s.poll_append().unwrap();
    publish(&mut s, 2, &batch_of(ANN, [1], 10));
    assert_eq!(events(&mut s), []);
    s.handle_appended(true);
    assert_eq!(events(&mut s), [acked(1, 1, 1, 1), acked(2, 1, 1, 1)]);
    publish(&mut s, 3, &batch_of(ANN, [1], 10));
    assert_eq!(events(&mut s), [acked(3, 1, 1, 1)], "at once");
}

#[test]
fn a_failed_append_takes_everything_back_that_was_not_durable() {
    let mut s = sequencer();
    publish(&mut s, 1, &batch_of(ANN, [1], 10));
    let _ = s.poll_append().unwrap();
    s.handle_appended(true);
    publish(&mut s, 2, &batch_of(ANN, [2], 10));
    let _ = s.poll_append().unwrap();
    publish(&mut s, 3, &batch_of(BOB, [1], 10));
    s.handle_appended(false);
    publish(&mut s, 4, &batch_of(ANN, [3], 10));
    let unavailable = |n| refused(n, RefuseReason::Unavailable);
    assert_eq!(events(&mut s), [acked(1, 1, 1, 1), unavailable(2), unavailable(3), unavailable(4)]);
    assert!(s.has_failed() && s.poll_append().is_none());
    assert_eq!(s.head(), Seq(1));
}

#[test]
fn runs_are_closed_at_their_target_or_hold_one_message() {
    let mut s = sequencer();
    publish(&mut s, 1, &batch_of(ANN, 1..=10, 20_000));
    publish(&mut s, 2, &batch_of(ANN, [11], MAX_PAYLOAD));
    publish(&mut s, 3, &batch_of(ANN, [12], 1));
    let mut runs = Vec::new();
    while let Some(NewRun { run, .. }) = s.poll_append() {
        assert!(run.as_bytes().len() <= TARGET_RUN || run.count() == 1);
        runs.push(run);
    }
    assert_eq!(runs.iter().map(Run::count).collect::<Vec<_>>(), [3, 3, 3, 1, 1], "the last one gathers");
    runs.iter().for_each(|_| s.handle_appended(true));
    let last = s.poll_append().unwrap().run;
    assert_eq!((last.first_seq(), last.count()), (Seq(12), 1));
    runs.push(last);
    assert!(runs.windows(2).all(|pair| pair[0].last_seq().next() == pair[1].first_seq()));
}

#[test]
fn what_waits_is_bounded() {
    let mut s = sequencer();
    for n in 1..=30 {
        publish(&mut s, n, &batch_of(ANN, [n * 4 - 3, n * 4 - 2, n * 4 - 1, n * 4], MAX_PAYLOAD));
    }
    let refusals = events(&mut s);
    assert!(
        !refusals.is_empty()
            && refusals.iter().all(|e| matches!(e, SequencerEvent::Refused { reason: RefuseReason::Busy, .. }))
    );
    assert!(s.queued_bytes <= MAX_QUEUED_BYTES + MAX_PUBLISH_BYTES + 1024);
}

#[test]
fn requests_are_checked_whole() {
    let new = |client, entries: Vec<(u64, usize)>| {
        let entry = |(n, len)| PublishEntry {
            client_seq: ClientSeq(n),
            content_type: ContentType::Text,
            payload: vec![0; len].into(),
        };
        PublishBatch::new(DeviceId::NONE, client, entries.into_iter().map(entry).collect()).unwrap_err()
    };
    assert_eq!(new(ANN, vec![]), BatchError::Count(0));
    assert_eq!(new(ANN, (1..=1025).map(|n| (n, 0)).collect()), BatchError::Count(1025));
    assert_eq!(new(ANN, vec![(1, MAX_PAYLOAD + 1)]), BatchError::TooLarge(MAX_PAYLOAD + 1));
    assert_eq!(new(ANN, (1..=5).map(|n| (n, MAX_PAYLOAD)).collect()), BatchError::TooMany(5 * MAX_PAYLOAD));
    assert_eq!(new(ANN, vec![(2, 0), (2, 0)]), BatchError::Order);
    assert_eq!(new(ANN, vec![(0, 0)]), BatchError::Order);
    assert_eq!(new(ClientId::NONE, vec![(1, 0)]), BatchError::NoClient);

    let mut s = sequencer();
    publish(&mut s, 1, &batch_of(ANN, [5000], 1));
    publish(&mut s, 2, &batch_of(ANN, [1, 5001], 1));
    assert_eq!(events(&mut s), [refused(2, RefuseReason::OutOfWindow(1))]);
    assert_eq!(s.poll_append().unwrap().run.count(), 1, "nothing of a refused request is logged");
}

#[test]
fn large_runs_have_a_snapshot_sooner() {
    let mut s = sequencer();
    let (mut bytes, mut n) = (0, 0);
    for _ in 0..2 {
        loop {
            n += 1;
            publish(&mut s, n, &batch_of(ANN, [n], 100_000));
            let NewRun { run, snapshot } = s.poll_append().unwrap();
            bytes += run.as_bytes().len();
            s.handle_appended(true);
            while s.poll_event().is_some() {}
            assert_eq!(snapshot.is_some(), bytes >= SNAPSHOT_BYTES);
            if snapshot.is_some() {
                bytes = 0;
                break;
            }
        }
    }
    assert!(n < u64::from(SNAPSHOT_RUNS), "{n}");
}

#[test]
fn a_snapshot_holds_what_the_log_holds_up_to_its_run() {
    let mut s = sequencer();
    let mut replayed = ClientWindows::new(DEFAULT_WINDOW_BYTES);
    for n in 1..=u64::from(SNAPSHOT_RUNS) {
        publish(&mut s, n, &batch_of(ANN, [n], 1));
        if n == u64::from(SNAPSHOT_RUNS) {
            break;
        }
        let NewRun { run, snapshot } = s.poll_append().unwrap();
        assert_eq!(snapshot, None);
        run.messages().for_each(|m| {
            replayed.record(m.author, &Claimant::UNKNOWN, m.client_seq, m.seq, (m.sent_at.0 / 1000) as i64)
        });
        s.handle_appended(true);
        while s.poll_event().is_some() {}
    }
    let NewRun { run, snapshot } = s.poll_append().unwrap();
    run.messages()
        .for_each(|m| replayed.record(m.author, &Claimant::UNKNOWN, m.client_seq, m.seq, (m.sent_at.0 / 1000) as i64));
    replayed.claim(Author { device: DeviceId::NONE, client: ANN }, &Claimant::LOCAL);
    assert_eq!(snapshot, Some(replayed.snapshot(run.last_seq())));
}

#[test]
fn another_claimant_of_a_client_is_refused_and_changes_nothing() {
    let hasher = ClaimHasher::new([3; 16]);
    let eve = hasher.claimant(None, RequestOrigin { peer: "10.0.0.9".parse().ok(), session: None });
    let mut s = sequencer();
    publish(&mut s, 1, &batch_of(ANN, [1, 2], 1));
    let _ = s.poll_append().unwrap();
    s.handle_appended(true);
    publish(&mut s, 2, &batch_of(ANN, [3], 1).claimed_by(eve));
    publish(&mut s, 3, &batch_of(ANN, [1], 1).claimed_by(eve));
    publish(&mut s, 4, &batch_of(ANN, [1 << 40], 1).claimed_by(eve));
    let refusals = [2, 3, 4].map(|n| refused(n, RefuseReason::OtherPublisher));
    assert_eq!(events(&mut s), [vec![acked(1, 1, 1, 2)], refusals.to_vec()].concat());
    publish(&mut s, 5, &batch_of(ANN, [3], 1));
    assert_eq!(s.poll_append().unwrap().run.count(), 1, "what Eve sent is not logged, and the owner goes on");
    s.handle_appended(true);
    assert_eq!(events(&mut s), [acked(5, 3, 3, 1)]);
}

#[test]
fn a_client_whose_windows_came_from_runs_belongs_to_the_first_who_comes() {
    let hasher = ClaimHasher::new([3; 16]);
    let claimant = |byte| hasher.claimant(Some(StreamKey([byte; 16])), RequestOrigin { peer: None, session: None });
    let author = Author { device: DeviceId::NONE, client: ANN };
    let mut windows = ClientWindows::new(DEFAULT_WINDOW_BYTES);
    windows.record_row(author, &Claimant::UNKNOWN, ClientSeq(1), Seq(1), 5, 0);
    let identity = LogIdentity { group: GroupId([7; 16]), log: LogId(9), epoch: Epoch(1) };
    let mut s = Sequencer::new(identity, Seq(5), windows);
    publish(&mut s, 1, &batch_of(ANN, [5], 1).claimed_by(claimant(1)));
    publish(&mut s, 2, &batch_of(ANN, [6], 1).claimed_by(claimant(2)));
    assert_eq!(events(&mut s), [acked(1, 5, 5, 1), refused(2, RefuseReason::OtherPublisher)]);
}

#[test]
fn snapshots_are_a_small_part_of_what_is_written() {
    const LIMIT: usize = 1024 * 1024;
    let mut s = sequencer();
    s.limit_windows(LIMIT);
    let (mut runs, mut snapshots) = (0, Vec::new());
    for n in 1..=40_000u64 {
        let mut client = [9; 16];
        client[..8].copy_from_slice(&n.to_be_bytes());
        publish(&mut s, n, &batch_of(ClientId(client), [1, 1024], 1));
        let NewRun { run, snapshot } = s.poll_append().unwrap();
        runs += run.as_bytes().len();
        snapshots.extend(snapshot.map(|bytes| bytes.len()));
        s.handle_appended(true);
        while s.poll_event().is_some() {}
        assert!(s.windows().bytes() <= LIMIT);
    }
    assert!(!snapshots.is_empty());
    assert!(snapshots.iter().sum::<usize>() <= runs / SNAPSHOT_SHARE * 5 / 4, "{snapshots:?} of {runs}");
}
