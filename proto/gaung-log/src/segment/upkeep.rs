//! Changes of the row of segments: retention, setting aside, replacing.

use std::{io, sync::Arc};

use super::{
    committer::{Failure, Health, SegmentCommitter},
    file::{Preamble, SegmentFile, damaged_name, file_name, unfinished_name},
};
use crate::{
    change::Upkeep,
    fault::Fault,
    log::{Retention, StoreError, WriteError},
    shared::Damage,
};

/// A segment with dropped messages is written for so long: shorter, and many small files would pile up that other groups
/// share.
const ACTIVE_KEPT_MS: u64 = 24 * 60 * 60 * 1000;

impl SegmentCommitter {
    pub(super) fn upkeep(&mut self, upkeep: Upkeep) {
        match upkeep {
            Upkeep::Retain { keep, now_ms, answer } => answer.settle_with(self.retain(keep, now_ms)),
            Upkeep::EndOutdated { answer } => answer.settle_with(self.end_now().map_err(WriteError::from)),
            Upkeep::Replace { file, answer } => answer.settle_with(self.replace(file)),
            Upkeep::SetAside { file, why } => self.set_aside(file, why),
        }
    }

    fn len_of(&self, number: u64) -> u64 {
        self.shared.env.volume.len(&file_name(number)).unwrap_or(0)
    }

    fn retain(&mut self, keep: Retention, now_ms: u64) -> Result<(), WriteError> {
        if let Some(max_age_ms) = keep.max_age_ms {
            // One that was begun when the clock was ahead tells no time, and is ended.
            let clock_ms = (self.shared.env.options.clock)();
            let aged = clock_ms.abs_diff(self.active.started_at_ms) > max_age_ms / 8;
            if aged && self.shared.known().index.needs_file(self.active.number) {
                self.end_active()?;
            }
        }
        let files: Vec<_> = self.shared.files().values().cloned().collect();
        let lens: Vec<_> = files.iter().map(|file| self.len_of(file.number)).collect();
        let mut total: u64 = lens.iter().sum();
        for (index, (pair, len)) in files.windows(2).zip(lens).enumerate() {
            // All that it has was logged before the next file was begun; one begun in the future says nothing.
            let ended = files[index + 1..].iter().map(|file| file.started_at_ms).find(|&at| at <= now_ms);
            let old = keep.max_age_ms.zip(ended).is_some_and(|(age, ended)| now_ms - ended > age);
            if !old && keep.max_bytes.is_none_or(|most| total <= most) {
                break;
            }
            self.remove(&pair[0]).map_err(StoreError::from)?;
            total -= len;
        }
        Ok(())
    }

    fn end_active(&mut self) -> Result<(), StoreError> {
        self.recover()?;
        self.roll(true).map_err(|failure| self.failed(failure))
    }

    /// Ends the active segment if it is a day old and holds what is no longer kept, so that this leaves the disk some day.
    pub(super) fn end_outdated(&mut self) {
        let age_ms = (self.shared.env.options.clock)().abs_diff(self.active.started_at_ms);
        let drops = self.dropped || self.shared.known().index.drops_within_active();
        if age_ms >= ACTIVE_KEPT_MS
            && drops
            && let Err(error) = self.end_active()
        {
            tracing::debug!(%error, "the newest log file is ended later");
        }
    }

    /// Ends the active segment if it holds what is no longer kept.
    fn end_now(&mut self) -> Result<(), StoreError> {
        let outdated = {
            let known = self.shared.known();
            self.dropped || (known.index.drops_within_active() && known.index.needs_file(self.active.number))
        };
        if outdated { self.end_active() } else { Ok(()) }
    }

    /// Puts a closed segment that was made again in its place. Who reads the former one looks again.
    fn replace(&self, number: u64) -> Result<(), WriteError> {
        let volume = &self.shared.env.volume;
        let before = self.shared.files().get(&number).filter(|_| number != self.active.number).cloned();
        // It was removed, or set aside, meanwhile.
        let Some(before) = before else { return Err(WriteError::NoSuchLog) };
        let (preamble, ended) = {
            let file = volume.open(&unfinished_name(number)).map_err(StoreError::from)?;
            let read = Preamble::read(&*file, number).and_then(|preamble| {
                let ended = super::file::read_end(&*file, &preamble)?;
                Ok((preamble, ended.ok_or_else(|| Fault::damaged("it was not ended"))?))
            });
            read.map_err(|fault| StoreError::from(fault.into_io()))?
        };
        volume.rename(&unfinished_name(number), &file_name(number)).map_err(StoreError::from)?;
        volume.sync_names().map_err(StoreError::from)?;
        let places = ended.groups.iter().filter(|sealed| sealed.runs > 0).map(|sealed| (sealed.group, sealed.place()));
        {
            // Readers find a file and its places together.
            let mut known = self.shared.known_mut();
            known.earlier.insert(number, places.collect());
            self.shared.files_mut().insert(number, Arc::new(SegmentFile::new(&preamble, None)));
        }
        before.set_gone();
        before.close();
        Ok(())
    }

    /// Removes every closed segment in which no group has a message any more.
    pub(super) fn drop_unused(&self) {
        let unused: Vec<_> = {
            let known = self.shared.known();
            let files = self.shared.files();
            let is_unused = |number| number != self.active.number && !known.index.needs_file(number);
            files.values().filter(|file| is_unused(file.number)).cloned().collect()
        };
        for file in unused {
            if let Err(error) = self.remove(&file) {
                tracing::warn!(file = file.number, %error, "a log file that nobody needs cannot be removed");
            }
        }
    }

    fn remove(&self, file: &SegmentFile) -> io::Result<()> {
        self.forget(file);
        self.shared.env.volume.remove(&file_name(file.number))?;
        self.shared.env.volume.sync_names()
    }

    fn forget(&self, file: &SegmentFile) {
        file.set_gone();
        self.shared.known_mut().remove_file(file.number);
        self.shared.files_mut().remove(&file.number);
        file.close();
    }

    fn set_aside(&mut self, number: u64, why: String) {
        let Some(file) = self.shared.files().get(&number).cloned() else { return };
        if number != self.active.number {
            self.rename_damaged(&file, why);
            return;
        }
        self.failed(Failure::Fault(Fault::Damaged(why)));
        // The groups go on at once; if that cannot be, the next commit tries again.
        if matches!(self.health, Health::Failed { .. })
            && let Err(error) = self.recover()
        {
            tracing::warn!(%error, "the log cannot go on yet");
        }
    }

    pub(super) fn rename_damaged(&self, file: &SegmentFile, why: String) {
        self.forget(file);
        let volume = &self.shared.env.volume;
        let renamed =
            volume.rename(&file_name(file.number), &damaged_name(file.number)).and_then(|()| volume.sync_names());
        if let Err(error) = renamed {
            tracing::warn!(file = file.number, %error, "a damaged log file cannot be renamed");
        }
        self.shared.damages.add(Damage { file: damaged_name(file.number), why });
    }
}
