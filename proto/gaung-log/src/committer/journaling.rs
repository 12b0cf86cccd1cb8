//! The committer's journal: what goes there, and when it goes from there into the active file.

use std::time::Instant;

use super::{Committer, Health};
use crate::{
    change::Change,
    journal::{JOURNAL, Journal},
    layout::{FileMeta, Round, damaged_journal_name},
    log::StoreError,
    pending::Staged,
    shared::{Shared, Stats},
};

impl Committer {
    /// Whether all of it is durable in the journal now. What was refused is refused again by the store, if not.
    pub(super) fn append_to_journal(&mut self, changes: &mut [Change]) -> bool {
        let Some(journal) = self.journal.as_mut().filter(|_| matches!(self.health, Health::Good)) else { return false };
        let bytes: Option<usize> = changes.iter().map(Change::journal_bytes).sum();
        if !bytes.is_some_and(|bytes| journal.takes(bytes)) {
            return false;
        }
        let started = Instant::now();
        let mut staged = Staged::default();
        {
            let (index, pending) = (self.shared.index(), self.shared.pending());
            changes.iter_mut().for_each(|change| change.stage(&mut staged, &index, &pending));
        }
        if !staged.items.is_empty()
            && let Err(error) = journal.append(&staged.items)
        {
            // Its pages may be shown as written and never reach the disk; what it has is in memory, too.
            tracing::warn!(%error, "the journal cannot be written; the log file takes its place");
            Stats::add(&self.shared.stats.failures, 1);
            self.journal = None;
            return false;
        }
        let runs = staged.items.len();
        self.shared.pending_mut().add(staged);
        self.shared.stats.committed(changes.len(), runs, started.elapsed());
        true
    }

    /// Puts what the journal has into the active file.
    pub(super) fn checkpoint(&mut self) -> Result<(), StoreError> {
        let nothing = self.shared.pending().is_empty();
        if nothing { Ok(()) } else { self.store(&mut []) }
    }

    /// At the end the files alone have everything, and say so, so that they can be taken elsewhere without the journal.
    pub(super) fn leave_journal(&mut self) {
        self.journal = None;
        let left = self.next_round() != self.meta.round;
        if left && let Err(error) = self.store(&mut []) {
            tracing::warn!(%error, "the end of the log lies in the journal until the next opening");
        }
    }

    /// Makes a journal for the appends to come, unless what the one before has is still needed.
    pub(super) fn make_journal(&mut self, changes: &[Change]) {
        let bytes = self.shared.env.options.journal_bytes;
        let wanted = bytes > 0 && changes.iter().any(|change| change.journal_bytes().is_some());
        let needed = !self.shared.pending().is_empty();
        if self.journal.is_some() || !wanted || needed || Instant::now() < self.journal_at {
            return;
        }
        // Never shorter than before, or it would be taken for one that was cut.
        match Journal::create(&self.shared.env, bytes.max(self.meta.round.journal_bytes as usize)) {
            Ok(journal) => self.journal = Some(journal),
            Err(error) => {
                self.journal_at = Instant::now() + self.shared.env.options.retry_at_most;
                tracing::warn!(%error, "no journal can be made; the log file takes its place");
            }
        }
    }

    /// The round that counts after the next transaction.
    pub(super) fn next_round(&self) -> Round {
        let journal = self.journal.as_ref();
        let journal_bytes = journal.map_or(0, |journal| journal.bytes() as u64);
        let goes_on = self.shared.pending().is_empty()
            && journal.is_none_or(|journal| journal.round() == self.meta.round.number)
            && journal_bytes == self.meta.round.journal_bytes;
        if goes_on { self.meta.round } else { Round { number: self.meta.round.number + 1, journal_bytes } }
    }

    /// Goes on with what the active file says now. `lost`: entries of the journal are damaged; it is left to be looked at.
    pub(super) fn begin(&mut self, meta: FileMeta, lost: bool) {
        if lost {
            self.journal = None;
            set_aside_journal(&self.shared, self.meta.round.number);
        }
        self.meta = meta;
        if let Some(journal) = &mut self.journal {
            journal.begin(meta.round.number);
        }
    }
}

/// Gives a journal of which entries are lost the name of its last round, so that it can be salvaged.
pub(crate) fn set_aside_journal(shared: &Shared, round: u64) {
    let volume = &shared.env.volume;
    if let Err(error) = volume.rename(JOURNAL, &damaged_journal_name(round)).and_then(|()| volume.sync_names()) {
        tracing::warn!(%error, "a damaged journal cannot be renamed");
    }
}
