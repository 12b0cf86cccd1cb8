//! Writes what is kept across restarts, beside the loop, so that a slow disk holds no key up.

use std::{future::pending, io, path::PathBuf, time::Duration};

use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep_until},
};

use super::{model::Model, stored_state::StoredState};

/// The file and what of this chat stands in it.
#[derive(Debug)]
pub(super) struct StateWriter {
    /// None where there is no place for it.
    file: Option<PathBuf>,
    /// What stands there.
    kept: StoredState,
    /// When it is looked at again.
    at: Option<Instant>,
    /// A writing that is under way.
    writing: Option<JoinHandle<io::Result<()>>>,
}

impl StateWriter {
    /// For a model as it was read from the file.
    pub(super) fn of(model: &Model, file: Option<PathBuf>) -> Self {
        Self { file, kept: StoredState::of(model), at: None, writing: None }
    }

    /// Is written after so long at the latest.
    pub(super) fn by(&mut self, delay: Duration) {
        let at = Instant::now() + delay;
        self.at = Some(self.at.map_or(at, |before| before.min(at)));
    }

    /// Waits until something is to be written and begins to, or until it is written; what failed, for people. Cancel
    /// safe.
    pub(super) async fn turn(&mut self, model: &Model) -> Option<String> {
        if let Some(writing) = &mut self.writing {
            let written = writing.await;
            self.writing = None;
            return match (written, &self.file) {
                (Ok(Err(error)), Some(file)) => Some(format!("{}: {error}", file.display())),
                (Ok(_) | Err(_), _) => None,
            };
        }
        match self.at {
            Some(at) => sleep_until(at).await,
            None => pending().await,
        }
        self.at = None;
        self.begin(model);
        None
    }

    /// Writes for the last time.
    pub(super) async fn close(mut self, model: &Model) {
        // The screen has gone, and nobody is told any more.
        if let Some(writing) = self.writing.take() {
            let _ = writing.await;
        }
        self.begin(model);
        if let Some(writing) = self.writing.take() {
            let _ = writing.await;
        }
    }

    fn begin(&mut self, model: &Model) {
        let stored = StoredState::of(model);
        if let Some(file) = self.file.clone().filter(|_| stored != self.kept) {
            self.kept = stored.clone();
            self.writing = Some(spawn_blocking(move || stored.keep(&file)));
        }
    }
}
