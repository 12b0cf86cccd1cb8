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
///
/// A stamp from the future says nothing of a run's age: the clock was ahead when it was logged. Such a run goes with the
/// first one after it that tells a time.
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
    let is_old = |run: &Run| keep.max_age_ms.is_some_and(|age| last_sent_ms(run).saturating_add(age) < now_ms);
    let mut dropped_bytes = Some(0);
    let mut from = position;
    let first = loop {
        let mut undated = None;
        let first = walk(log, group, from, |run| {
            let dropped = dropped_bytes.unwrap_or(bytes);
            let above = keep.max_bytes.is_some_and(|most| bytes.saturating_sub(dropped) > most);
            let goes = run.last_seq() < by_count || is_old(run) || (above && run.last_seq() < position.head);
            if goes {
                dropped_bytes = dropped_bytes.map(|dropped| dropped + run.as_bytes().len() as u64);
            } else if keep.max_age_ms.is_some() && last_sent_ms(run) > now_ms {
                undated = Some(run.last_seq());
            }
            goes
        })?;
        let dated = match undated {
            Some(last) => first_dated(log, group, position, last, now_ms)?.filter(is_old),
            None => None,
        };
        let Some(dated) = dated else { break first };
        // What lies before it goes too, unseen: how many bytes that is has to be counted again.
        dropped_bytes = None;
        from.oldest = dated.first_seq();
    };
    Ok(Kept { first: first.max(by_count), dropped_bytes })
}

/// The first run behind message `undated`, the end of a run from the future, that is not from the future itself. Found by
/// steps that double, for a clock may have been ahead for long.
fn first_dated(
    log: &dyn Log,
    group: GroupId,
    position: Position,
    undated: Seq,
    now_ms: u64,
) -> Result<Option<Run>, ReadError> {
    let mut low = undated;
    let mut step = 1;
    let mut found = loop {
        let at = Seq(low.0.saturating_add(step).min(position.head.0));
        let Some(run) = run_at(log, group, position, at)?.filter(|_| at > low) else { return Ok(None) };
        if last_sent_ms(&run) <= now_ms {
            break run;
        }
        low = run.last_seq();
        step *= 2;
    };
    while low.next() < found.first_seq() {
        let middle = Seq(low.0 + (found.first_seq().0 - low.0) / 2);
        match run_at(log, group, position, middle)? {
            Some(run) if run.first_seq() >= found.first_seq() => break,
            Some(run) if last_sent_ms(&run) <= now_ms => found = run,
            Some(run) => low = run.last_seq(),
            None => break,
        }
    }
    Ok(Some(found))
}

/// The run that holds `at`, or the first one behind it if it lies in a damaged file.
fn run_at(log: &dyn Log, group: GroupId, position: Position, at: Seq) -> Result<Option<Run>, ReadError> {
    let mut found = None;
    walk(log, group, Position { oldest: at, ..position }, |run| {
        found.get_or_insert_with(|| run.clone());
        false
    })?;
    Ok(found)
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
