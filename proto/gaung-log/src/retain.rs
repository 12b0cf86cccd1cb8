//! Which message of a group is the first to be kept.

use gaung_proto::{GroupId, GroupRetention, Seq, run::Run};

use crate::log::{Log, Position, ReadError};

/// Bytes of runs in memory at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// What a group's limits leave of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) first: Seq,
    /// Bytes of the runs that go; `None` if they were not looked at.
    pub(crate) dropped_bytes: Option<u64>,
}

/// Reads what is to go, and the first run that stays. `bytes`: of all that is kept now, needed where they are limited.
pub(crate) fn first_kept(
    log: &dyn Log,
    group: GroupId,
    position: Position,
    keep: GroupRetention,
    bytes: u64,
    now_ms: u64,
) -> Result<Kept, ReadError> {
    let by_count = keep.max_messages.map_or(Seq::ZERO, |most| Seq((position.head.0 + 1).saturating_sub(most)));
    let by_count = by_count.max(position.oldest);
    if keep.max_age_ms.is_none() && keep.max_bytes.is_none() {
        return Ok(Kept { first: by_count, dropped_bytes: None });
    }
    let mut dropped_bytes = 0;
    let goes = |run: &Run, dropped_bytes: u64| {
        let aged = keep.max_age_ms.is_some_and(|age| last_sent_ms(run).saturating_add(age) < now_ms);
        let above = keep.max_bytes.is_some_and(|most| bytes.saturating_sub(dropped_bytes) > most);
        run.last_seq() < by_count || aged || (above && run.last_seq() < position.head)
    };
    let first = walk(log, group, position, |run| {
        let goes = goes(run, dropped_bytes);
        dropped_bytes += if goes { run.as_bytes().len() as u64 } else { 0 };
        goes
    })?;
    Ok(Kept { first: first.max(by_count), dropped_bytes: Some(dropped_bytes) })
}

/// Bytes of all runs that are kept.
pub(crate) fn kept_bytes(log: &dyn Log, group: GroupId, position: Position) -> Result<u64, ReadError> {
    let mut bytes = 0;
    walk(log, group, position, |run| {
        bytes += run.as_bytes().len() as u64;
        true
    })?;
    Ok(bytes)
}

/// Gives runs from the oldest to the head as it was, for as long as `on` says so; returns the first message not passed.
/// What lies in a damaged file is passed.
fn walk(log: &dyn Log, group: GroupId, position: Position, mut on: impl FnMut(&Run) -> bool) -> Result<Seq, ReadError> {
    let mut next = position.oldest;
    // Where nothing is to go, the oldest run tells.
    let mut piece_bytes = 1;
    while next <= position.head {
        let runs = match log.read(group, position.log, next, piece_bytes) {
            Ok(runs) => runs,
            Err(ReadError::Damaged { missing }) => {
                next = missing.last.next();
                continue;
            }
            Err(ReadError::Trimmed { oldest }) if oldest > next => {
                next = oldest;
                continue;
            }
            Err(error) => return Err(error),
        };
        if runs.is_empty() {
            return Ok(next);
        }
        piece_bytes = PIECE_BYTES;
        for run in runs {
            if next > position.head || !on(&run) {
                return Ok(next);
            }
            next = run.last_seq().next();
        }
    }
    Ok(next)
}

fn last_sent_ms(run: &Run) -> u64 {
    run.block().messages().last().map_or(u64::MAX, |message| message.sent_at.0 / 1000)
}
