//! The tasks of a service: run until told to stop or until one ends early, then drain under a limit.

use std::{collections::HashMap, future::Future, io, time::Duration};

use anyhow::Context as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::{Id, JoinError, JoinSet},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A set of named tasks; dropping it aborts them all.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<anyhow::Result<()>>,
    names: HashMap<Id, String>,
}

impl Tasks {
    /// Makes an empty set of tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task. It should end when the token given to [`Self::run`] is cancelled, and not before.
    pub fn spawn<F>(&mut self, name: impl Into<String>, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let id = self.set.spawn(task).id();
        self.names.insert(id, name.into());
    }

    /// Runs until `stop` is cancelled or a task ends, then cancels `stop`, waits at most `drain` for the others, and
    /// aborts and logs what is left.
    ///
    /// # Errors
    /// Names the task that ended, failed or panicked before `stop` was cancelled; else the first that failed while
    /// draining. Tasks that had to be aborted are logged, not an error.
    pub async fn run(mut self, stop: CancellationToken, drain: Duration) -> anyhow::Result<()> {
        let early = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            Some(end) = self.set.join_next_with_id() => self.early_end(end),
        };
        if let Err(error) = &early {
            warn!(error = format!("{error:#}"), "stopping because a task ended early");
        }
        stop.cancel();
        let drained = self.drain(drain).await;
        early.and(drained)
    }

    fn early_end(&mut self, end: Ended) -> anyhow::Result<()> {
        let (name, result) = self.named(end);
        match result {
            Ok(()) => Err(anyhow::anyhow!("{name} ended although nobody asked it to")),
            Err(error) => Err(error.context(format!("{name} failed"))),
        }
    }

    async fn drain(&mut self, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        let mut outcome = Ok(());
        while let Ok(next) = timeout_at(deadline, self.set.join_next_with_id()).await {
            let Some(end) = next else { return outcome };
            let (name, result) = self.named(end);
            if let Err(error) = result {
                warn!(task = name, error = format!("{error:#}"), "task failed while draining");
                outcome = outcome.and(Err(error).with_context(|| format!("{name} failed while draining")));
            }
        }
        for name in self.names.values() {
            warn!(task = name, limit_ms = limit.as_millis(), "task did not end in time and is aborted");
        }
        self.set.shutdown().await;
        outcome
    }

    fn named(&mut self, end: Ended) -> (String, anyhow::Result<()>) {
        let (id, result) = match end {
            Ok((id, result)) => (id, result),
            Err(error) => (error.id(), Err(anyhow::Error::new(error))),
        };
        (self.names.remove(&id).unwrap_or_else(|| "a task".to_owned()), result)
    }
}

type Ended = Result<(Id, anyhow::Result<()>), JoinError>;

/// Cancels `stop` at the first SIGINT or SIGTERM; the second one ends the process at once with 128 + its number.
///
/// Must be called within a tokio runtime; a task of its own listens from then on.
///
/// # Errors
/// If the handlers cannot be installed.
pub fn stop_on_signals(stop: CancellationToken) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => ("SIGINT", 130),
                _ = terminate.recv() => ("SIGTERM", 143),
            }
        };
        let (name, _) = next().await;
        info!(signal = name, "stopping; a second signal ends at once");
        stop.cancel();
        let (_, code) = next().await;
        std::process::exit(code);
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::future::pending;

    use nix::sys::signal::{Signal, raise};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    async fn until(stop: CancellationToken) -> anyhow::Result<()> {
        stop.cancelled().await;
        Ok(())
    }

    #[tokio::test]
    async fn ends_well_when_told_to() {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new();
        tasks.spawn("a", until(stop.clone()));
        tasks.spawn("b", until(stop.clone()));
        let run = tokio::spawn(tasks.run(stop.clone(), LONG));
        stop.cancel();
        tokio::time::timeout(LONG, run).await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn an_early_end_is_an_error_that_names_the_task_and_stops_the_rest() {
        for (end, word) in [(0, "nobody asked"), (1, "disk on fire"), (2, "panicked")] {
            let stop = CancellationToken::new();
            let mut tasks = Tasks::new();
            tasks.spawn("watcher", until(stop.clone()));
            tasks.spawn("committer", async move {
                assert!(end != 2, "on purpose");
                if end == 1 { Err(anyhow::anyhow!("disk on fire")) } else { Ok(()) }
            });
            let error = tokio::time::timeout(LONG, tasks.run(stop.clone(), LONG)).await.unwrap().unwrap_err();
            let text = format!("{error:#}");
            assert!(text.contains("committer") && text.contains(word), "{text}");
            assert!(stop.is_cancelled());
        }
    }

    #[tokio::test]
    async fn the_first_signal_stops() {
        let stop = CancellationToken::new();
        stop_on_signals(stop.clone()).unwrap();
        raise(Signal::SIGTERM).unwrap();
        tokio::time::timeout(LONG, stop.cancelled()).await.unwrap();
    }

    #[tokio::test]
    async fn what_does_not_drain_is_aborted() {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new();
        tasks.spawn("stuck", pending());
        stop.cancel();
        tokio::time::timeout(LONG, tasks.run(stop, Duration::from_millis(20))).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_failure_while_draining_is_reported() {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new();
        let watched = stop.clone();
        tasks.spawn("flusher", async move {
            watched.cancelled().await;
            anyhow::bail!("could not flush")
        });
        stop.cancel();
        let error = tasks.run(stop, LONG).await.unwrap_err();
        assert!(format!("{error:#}").contains("flusher"), "{error:#}");
    }
}
