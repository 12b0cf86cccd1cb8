//! Opens a group's log and restores its client windows. Blocks on the disk, so run it off the runtime's threads.

use gaung_engine::{Claimant, ClientWindows};
use gaung_log::{Log, OpenError, Opened, ReadError, Runs, WriteError};
use gaung_proto::{GroupId, Seq, run::Run};
use tracing::warn;

use crate::{clock, group::GroupConfig};

/// A group whose log was opened, with the client windows as of its head.
#[derive(Debug)]
pub(crate) struct OpenedGroup {
    pub(crate) config: GroupConfig,
    pub(crate) opened: Opened,
    pub(crate) windows: ClientWindows,
}

/// Why a group's log could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenGroupError {
    /// The log refused to open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its log lost acknowledged messages.
    #[error("messages after {head} were lost with a damaged file")]
    TailLost { head: Seq },
    /// The log's messages cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The config or the reset could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Most bytes of runs in memory while a log is replayed.
const REPLAY_BYTES: usize = 1024 * 1024;

/// Opens the groups' logs with one sync for all, and creates those that are new. Returns outcomes in the order of `configs`.
pub(crate) fn open_all(
    log: &dyn Log,
    configs: Vec<GroupConfig>,
    window_bytes: usize,
) -> Vec<(GroupConfig, Result<OpenedGroup, OpenGroupError>)> {
    let asked: Vec<_> = configs.iter().map(|config| (config.id, config.log, true)).collect();
    let opened = log.open_groups(&asked);
    let finish = |(config, opened): (GroupConfig, Result<Opened, OpenError>)| {
        let ready = opened.map_err(OpenGroupError::from).and_then(|opened| prepare(log, &config, opened, window_bytes));
        (config, ready)
    };
    configs.into_iter().zip(opened).map(finish).collect()
}

/// Sets the stored log aside and begins the config's.
pub(crate) fn reset(log: &dyn Log, config: &GroupConfig, window_bytes: usize) -> Result<OpenedGroup, OpenGroupError> {
    let opened = log.reset(config.id, config.log)?;
    prepare(log, config, opened, window_bytes)
}

fn prepare(
    log: &dyn Log,
    config: &GroupConfig,
    opened: Opened,
    window_bytes: usize,
) -> Result<OpenedGroup, OpenGroupError> {
    if opened.tail_lost {
        return Err(OpenGroupError::TailLost { head: opened.head });
    }
    let windows = restore(log, config.id, &opened, window_bytes)?;
    log.put_config(config.id, config.to_stored())?;
    Ok(OpenedGroup { config: config.clone(), opened, windows })
}

/// Restores the client windows from the last snapshot and the runs since.
fn restore(log: &dyn Log, group: GroupId, opened: &Opened, window_bytes: usize) -> Result<ClientWindows, ReadError> {
    let mut windows = ClientWindows::new(window_bytes);
    let mut next = opened.oldest;
    if let Some(snapshot) = &opened.snapshot {
        match ClientWindows::restore(&snapshot.bytes, window_bytes) {
            Ok(restored) => {
                windows = restored;
                next = next.max(snapshot.at.next());
            }
            Err(error) => warn!(%group, %error, "replaying the whole log instead"),
        }
    }
    while next <= opened.head {
        match replay(log, group, opened, next, &mut windows) {
            Ok(()) => break,
            Err(ReadError::Damaged { missing }) => {
                warn!(%group, %missing, "duplicates of these messages will not be recognised");
                next = missing.last.next();
            }
            Err(ReadError::Trimmed { oldest }) if oldest > next => next = oldest,
            Err(error) => return Err(error),
        }
    }
    windows.resume(clock::unix_ms());
    Ok(windows)
}

fn replay(
    log: &dyn Log,
    group: GroupId,
    opened: &Opened,
    from: Seq,
    windows: &mut ClientWindows,
) -> Result<(), ReadError> {
    for run in Runs::new(log, group, opened.log, from, REPLAY_BYTES) {
        record(&run?, windows);
    }
    Ok(())
}

fn record(run: &Run, windows: &mut ClientWindows) {
    for (seq, message) in (run.first_seq().0..).map(Seq).zip(run.block().messages()) {
        let at_unix_ms = (message.sent_at.0 / 1000) as i64;
        windows.record(message.author, &Claimant::UNKNOWN, message.client_seq, seq, at_unix_ms);
    }
}
