//! The log as a disk keeps it: what a sync has ended for is there after a crash, what waits for one is not.

use std::collections::VecDeque;

use bytes::Bytes;
use gaung_engine::{Claimant, ClientWindows, DEFAULT_WINDOW_BYTES, NewRun};
use gaung_proto::{Epoch, Seq, block::Message, run::Run};
use rand::{Rng as _, rngs::SmallRng};

/// One group's log and what waits to be in it.
#[derive(Debug)]
pub(super) struct Disk {
    runs: Vec<Run>,
    /// Of the last opening.
    epoch: Epoch,
    /// As of its seq.
    snapshot: Option<(Seq, Bytes)>,
    /// First message that is kept.
    oldest: Seq,
    waiting: VecDeque<Batch>,
    in_sync: Vec<Batch>,
    /// The next batch fails.
    pub(super) fails_next: bool,
    /// Runs of an epoch that is over, or that do not follow the last one, are taken.
    is_unfenced: bool,
}

/// What one process handed over at once: all of it is appended, or nothing.
#[derive(Debug)]
struct Batch {
    process: u64,
    runs: Vec<NewRun>,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) process: u64,
    pub(super) runs: usize,
    pub(super) durable: bool,
}

/// As it was at an opening.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) epoch: Epoch,
    pub(super) head: Seq,
    pub(super) oldest: Seq,
    pub(super) windows: ClientWindows,
}

impl Disk {
    pub(super) fn new(is_unfenced: bool) -> Self {
        Self {
            runs: Vec::new(),
            epoch: Epoch(0),
            snapshot: None,
            oldest: Seq::FIRST,
            waiting: VecDeque::new(),
            in_sync: Vec::new(),
            fails_next: false,
            is_unfenced,
        }
    }

    /// Opens the log: a new epoch, and the client windows from the last snapshot and the runs since.
    pub(super) fn open(&mut self) -> Opened {
        self.epoch = Epoch(self.epoch.0 + 1);
        let (since, mut windows) = match &self.snapshot {
            Some((at, bytes)) => {
                (*at, ClientWindows::restore(bytes, DEFAULT_WINDOW_BYTES).expect("nothing damages it here"))
            }
            None => (Seq::ZERO, ClientWindows::new(DEFAULT_WINDOW_BYTES)),
        };
        for message in self.runs.iter().flat_map(Run::messages).filter(|message| message.seq > since) {
            let Message { author, client_seq, seq, sent_at, .. } = message;
            windows.record(author, &Claimant::UNKNOWN, client_seq, seq, (sent_at.0 / 1000) as i64);
        }
        Opened { epoch: self.epoch, head: self.head(), oldest: self.oldest, windows }
    }

    /// Takes a batch; true if a sync has to begin.
    pub(super) fn append(&mut self, process: u64, runs: Vec<NewRun>) -> bool {
        self.waiting.push_back(Batch { process, runs });
        self.begin_sync()
    }

    /// A sync begins for all that waits; true if there is anything and none is under way.
    pub(super) fn begin_sync(&mut self) -> bool {
        let begins = self.in_sync.is_empty() && !self.waiting.is_empty();
        if begins {
            self.in_sync.extend(self.waiting.drain(..));
        }
        begins
    }

    /// The sync has ended; gives what became of each batch, and the runs that are in the log now.
    pub(super) fn end_sync(&mut self, rng: &mut SmallRng) -> (Vec<Outcome>, Vec<Run>) {
        let mut added = Vec::new();
        let mut outcomes = Vec::new();
        for batch in std::mem::take(&mut self.in_sync) {
            let fails = std::mem::take(&mut self.fails_next);
            let is_kept = self.is_next(&batch) && (!fails || rng.random());
            let outcome = Outcome { process: batch.process, runs: batch.runs.len(), durable: is_kept && !fails };
            outcomes.push(outcome);
            for NewRun { run, snapshot } in if is_kept { batch.runs } else { Vec::new() } {
                self.snapshot = snapshot.map(|bytes| (run.last_seq(), bytes)).or(self.snapshot.take());
                added.push(run.clone());
                self.runs.push(run);
            }
        }
        (outcomes, added)
    }

    /// A process is gone. What it wrote last may have reached the disk, though nobody hears of it.
    pub(super) fn kill(&mut self, process: u64, rng: &mut SmallRng) {
        self.waiting.retain(|batch| batch.process != process);
        let mut survives = true;
        self.in_sync.retain(|batch| {
            survives &= batch.process != process || rng.random();
            survives || batch.process != process
        });
    }

    /// Drops the older half.
    pub(super) fn trim(&mut self) {
        let kept = self.runs.partition_point(|run| run.last_seq() < self.oldest);
        let half = kept + (self.runs.len() - kept) / 2;
        self.oldest = self.runs.get(half).map_or(self.oldest, Run::first_seq);
    }

    pub(super) fn head(&self) -> Seq {
        self.runs.last().map_or(Seq::ZERO, Run::last_seq)
    }

    pub(super) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) const fn oldest(&self) -> Seq {
        self.oldest
    }

    /// The run that holds `seq`.
    pub(super) fn run_at(&self, seq: Seq) -> Option<&Run> {
        self.runs.get(self.runs.partition_point(|run| run.last_seq() < seq)).filter(|run| run.first_seq() <= seq)
    }

    /// Whether a batch is of the epoch that is open, and follows the last run.
    fn is_next(&self, batch: &Batch) -> bool {
        let mut next = self.head().next();
        self.is_unfenced
            || batch.runs.iter().all(|NewRun { run, .. }| {
                let fits = run.header().epoch == self.epoch && run.first_seq() == next;
                next = run.last_seq().next();
                fits
            })
    }
}

#[cfg(test)]
mod tests {
    use gaung_engine::{LogIdentity, PublishBatch, PublishEntry, RequestId, Sequencer};
    use gaung_proto::{ClientId, ClientSeq, ContentType, DeviceId, GroupId, LogId, block::SentAt};
    use rand::SeedableRng as _;

    use super::*;

    /// A run of one message, as a process that opened the disk hands it over.
    fn run(opened: Opened, client: u8) -> Vec<NewRun> {
        let identity = LogIdentity { group: GroupId([1; 16]), log: LogId(1), epoch: opened.epoch };
        let mut sequencer = Sequencer::new(identity, opened.head, opened.windows);
        let entry = PublishEntry {
            client_seq: ClientSeq(1),
            content_type: ContentType::Text,
            payload: Bytes::from_static(b"x"),
        };
        let batch = PublishBatch::new(DeviceId::NONE, ClientId([client; 16]), vec![entry]).expect("within limits");
        sequencer.handle_publish(SentAt(1), RequestId(1), &batch);
        std::iter::from_fn(|| sequencer.poll_append()).collect()
    }

    #[test]
    fn what_waits_for_a_sync_is_lost_with_its_process_and_what_was_synced_is_not() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut disk = Disk::new(false);
        let first = run(disk.open(), 1);
        assert!(disk.append(1, first));
        let (outcomes, added) = disk.end_sync(&mut rng);
        assert_eq!((outcomes[0].durable, added.len()), (true, 1));
        let second = run(disk.open(), 2);
        assert!(disk.append(1, second));
        let third = run(disk.open(), 3);
        assert!(!disk.append(1, third), "the second one is being synced");
        disk.kill(1, &mut rng);
        disk.end_sync(&mut rng);
        assert!(!disk.begin_sync());
        let epoch = disk.epoch();
        let opened = disk.open();
        assert!(opened.head <= Seq(2) && opened.epoch > epoch);
        assert_eq!(opened.windows.clients() as u64, opened.head.0);
    }

    #[test]
    fn an_epoch_that_is_over_appends_nothing() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut disk = Disk::new(false);
        let old = run(disk.open(), 1);
        disk.open();
        disk.append(1, old);
        let (outcomes, added) = disk.end_sync(&mut rng);
        assert_eq!((outcomes[0].durable, added.len()), (false, 0));
    }
}
