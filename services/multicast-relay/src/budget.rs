//! The log's disk budget (`--log-bytes`): how large it is, and the task that keeps the log within it.

use std::{
    io,
    path::Path,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use gaung_log::{DiskSpace, Log};
use service_kit::config::parse_bytes;
use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{directory::Directory, metrics::RelayFigures, worker::WorkerCommand};

/// Bytes that the log may take on its disk. Above it the groups with most bytes lose their oldest messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogBudget {
    /// All that is free at the start, and what the log has already, but for a fifth of it or 10 GiB, whichever is less.
    #[default]
    Share,
    /// This many bytes; at least 8 MiB.
    Bytes(u64),
    /// No limit but the disk's own.
    Unlimited,
}

/// Least budget, bytes: the log's files would be so small that their headers take much of them.
const MIN_BYTES: u64 = 8 << 20;
/// Bytes of a large disk that are left to other programs.
const RESERVE_BYTES: u64 = 10 << 30;
/// The part (one n-th) of a small disk that is left to other programs.
const RESERVE_PART: u64 = 5;

impl FromStr for LogBudget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" | "0" => Ok(Self::Unlimited),
            _ => match parse_bytes(text)? {
                bytes if bytes < MIN_BYTES => Err("must be at least 8MiB, or none for no limit".to_owned()),
                bytes => Ok(Self::Bytes(bytes)),
            },
        }
    }
}

impl LogBudget {
    /// Returns the bytes that the log in `folder` may take; `None` for no limit.
    ///
    /// # Errors
    /// If the file system does not report its free space.
    pub(crate) fn bytes(self, folder: &Path) -> io::Result<Option<u64>> {
        match self {
            Self::Unlimited => Ok(None),
            Self::Bytes(bytes) => Ok(Some(bytes)),
            Self::Share => {
                let DiskSpace { used, free } = DiskSpace::of(folder)?;
                let all = used.saturating_add(free);
                Ok(Some((all - (all / RESERVE_PART).min(RESERVE_BYTES)).max(MIN_BYTES)))
            }
        }
    }
}

/// Time between two measurements of the log. At 1 Gbit/s it grows by 125 MB in between.
const CHECK: Duration = Duration::from_secs(1);
/// Least time before shrinking is retried after a failure.
const RETRY: Duration = Duration::from_secs(5);
/// Least time between two log lines that say that the log was shrunk.
const SAY: Duration = Duration::from_secs(60);

/// Measures the log and shrinks it to `limit` bytes until `stop`.
pub(crate) async fn keep(
    log: Arc<dyn Log>,
    directory: Arc<Directory>,
    limit: Option<u64>,
    figures: RelayFigures,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut check = interval(CHECK);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    figures.log_limit_bytes.set(limit.map_or(0, |limit| i64::try_from(limit).unwrap_or(i64::MAX)));
    let (mut not_before, mut told) = (Instant::now(), None::<Instant>);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = check.tick() => {}
        }
        let (measured, most) = (Arc::clone(&log), limit.unwrap_or(u64::MAX));
        let shrinks = Instant::now() >= not_before;
        let (outcome, before) = spawn_blocking(move || {
            let before = measured.stored_bytes();
            (if before > most && shrinks { measured.shrink(most).map(|()| true) } else { Ok(false) }, before)
        })
        .await?;
        let used = log.stored_bytes();
        figures.log_bytes.set(i64::try_from(used).unwrap_or(i64::MAX));
        match outcome {
            Ok(false) => {}
            Ok(true) => {
                figures.log_shrunk.inc();
                tell_oldest(&*log, &directory);
                if told.is_none_or(|at| at.elapsed() >= SAY) {
                    told = Some(Instant::now());
                    info!(
                        before,
                        used,
                        limit = most,
                        "the log is at its budget: the largest groups' oldest messages are dropped"
                    );
                }
            }
            Err(error) => {
                not_before = Instant::now() + RETRY;
                warn!(%error, before, limit = most, "the log is over its budget and cannot be made smaller yet");
            }
        }
    }
}

/// Tells the workers the oldest message of each group, so that heartbeats tell members what can still be read.
pub(crate) fn tell_oldest(log: &dyn Log, directory: &Directory) {
    for serving in directory.serving() {
        let group = serving.identity.group;
        if let Some(position) = log.position(group) {
            let _ = serving.worker.send(WorkerCommand::Oldest { group, oldest: position.oldest });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_budget_is_a_size_or_none() {
        assert_eq!("none".parse(), Ok(LogBudget::Unlimited));
        assert_eq!("0".parse(), Ok(LogBudget::Unlimited));
        assert_eq!("1GiB".parse(), Ok(LogBudget::Bytes(1 << 30)));
        assert!("1MiB".parse::<LogBudget>().unwrap_err().contains("8MiB"));
        assert!("much".parse::<LogBudget>().is_err());
    }

    #[test]
    fn by_default_a_part_of_the_disk_is_left_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let space = DiskSpace::of(folder.path()).unwrap();
        let share = LogBudget::Share.bytes(folder.path()).unwrap().unwrap();
        assert!(share >= space.free / 10 * 7 && share < space.used + space.free);
        assert_eq!(LogBudget::Unlimited.bytes(folder.path()).unwrap(), None);
    }
}
