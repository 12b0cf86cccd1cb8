//! Writes the stored state in the background, so that a slow disk delays no key.

use std::{future::pending, io, path::PathBuf, time::Duration};

use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep_until},
};

use super::{model::Model, stored_state::StoredState};

/// Writes the state of one chat to its file whenever it has changed.
#[derive(Debug)]
pub(super) struct StateWriter {
    /// `None` if the environment names no folder for it.
    file: Option<PathBuf>,
    /// The state that was written last.
    written: StoredState,
    /// When the state is compared and written the next time.
    due: Option<Instant>,
    /// The write that is under way.
    writing: Option<JoinHandle<io::Result<()>>>,
}

impl StateWriter {
    /// Starts with a model that was just restored from the file.
    pub(super) fn of(model: &Model, file: Option<PathBuf>) -> Self {
        Self { file, written: StoredState::of(model), due: None, writing: None }
    }

    /// Makes sure that the state is written after so long at the latest.
    pub(super) fn write_within(&mut self, delay: Duration) {
        let at = Instant::now() + delay;
        self.due = Some(self.due.map_or(at, |before| before.min(at)));
    }

    /// Waits until a write is due and starts it, or until the write under way ends; returns an error text for people if
    /// that failed. Cancel safe.
    pub(super) async fn run(&mut self, model: &Model) -> Option<String> {
        if let Some(writing) = &mut self.writing {
            let outcome = writing.await;
            self.writing = None;
            return match (outcome, &self.file) {
                (Ok(Err(error)), Some(file)) => Some(format!("{}: {error}", file.display())),
                (Ok(_) | Err(_), _) => None,
            };
        }
        match self.due {
            Some(at) => sleep_until(at).await,
            None => pending().await,
        }
        self.due = None;
        self.begin(model);
        None
    }

    /// Writes the final state.
    pub(super) async fn close(mut self, model: &Model) {
        // The screen has gone, so an error has nowhere to be shown.
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
        if let Some(file) = self.file.clone().filter(|_| stored != self.written) {
            self.written = stored.clone();
            self.writing = Some(spawn_blocking(move || stored.save(&file)));
        }
    }
}
