//! Which records are copied, in which order and into which file: pure, from what the files were found to hold.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use gaung_proto::{Epoch, GroupId, LogId, Seq, SeqRange};

use super::{
    collect::{Found, Runs, Survey},
    report::{Missing, SalvagedGroup},
};
use crate::{
    layout::GroupState,
    record::{Hash, NO_HASH},
};

/// What goes into one new file: for each group a stretch without a hole.
pub(super) type Batch = Vec<Vec<Found>>;

/// See the module.
#[derive(Debug)]
pub(super) struct Plan {
    groups: BTreeMap<GroupId, Growing>,
    /// Files that are not whole, seen so far.
    faulty: Vec<String>,
}

/// One group's log as far as it is copied.
#[derive(Debug)]
struct Growing {
    log: LogId,
    epoch: Epoch,
    config: Bytes,
    deleted_at_ms: Option<u64>,
    /// Where it ends by what the files say; 0 if none does.
    known_head: Seq,
    /// Whether that is the last word.
    is_last_word: bool,
    /// The first message that it should have.
    begin: Seq,
    /// By file: what lies above was never acknowledged.
    limits: HashMap<u64, Seq>,
    head: Seq,
    last_hash: Hash,
    first: Option<Seq>,
    runs: u64,
    messages: u64,
    missing: Vec<Missing>,
    of_earlier_logs: u64,
    bad: Vec<(Seq, String)>,
}

impl Plan {
    /// Decides for each group which log is the latest, from all files.
    pub(super) fn new(surveys: &[Survey]) -> Self {
        let newest = surveys.iter().rev().find_map(|s| Some((s.number, s.states.as_ref()?)));
        let mut latest: HashMap<GroupId, (Epoch, LogId)> = HashMap::new();
        // Groups that the newest account does not name were purged, unless a file after it has them.
        for (group, state) in newest.iter().flat_map(|(_, states)| *states) {
            latest.insert(*group, (state.epoch, state.log));
        }
        for survey in surveys.iter().filter(|s| newest.as_ref().is_none_or(|(number, _)| s.number > *number)) {
            for (group, heard) in &survey.heard {
                let known = latest.entry(*group).or_insert(*heard);
                *known = (*known).max(*heard);
            }
        }
        let growing = |(group, (epoch, log))| (group, Growing::new(group, log, epoch, surveys));
        Self { groups: latest.into_iter().map(growing).collect(), faulty: Vec::new() }
    }

    /// What is copied of a file, in one batch or more; files come in order.
    pub(super) fn take(&mut self, survey: &Survey, found: &Runs) -> Vec<Batch> {
        if let Some(fault) = &found.fault {
            self.faulty.push(format!("{}: {fault}", found.name));
        }
        for (group, log, first, why) in &found.bad {
            if let Some(growing) = self.groups.get_mut(group).filter(|growing| growing.log == *log) {
                growing.bad.push((*first, format!("{}: {why}", found.name)));
            }
        }
        let mut of_group: BTreeMap<GroupId, Vec<Found>> = BTreeMap::new();
        for one in &found.whole {
            let Some(growing) = self.groups.get_mut(&one.group) else { continue };
            if growing.log == one.log {
                of_group.entry(one.group).or_default().push(one.clone());
            } else {
                growing.of_earlier_logs += one.last.0 - one.first.0 + 1;
            }
        }
        let mut batches: Vec<Batch> = Vec::new();
        for (group, found) in of_group {
            let growing = self.groups.get_mut(&group).expect("only groups that are copied were kept");
            for (number, stretch) in growing.take(survey.number, found, &self.faulty).into_iter().enumerate() {
                if batches.len() <= number {
                    batches.push(Vec::new());
                }
                batches[number].push(stretch);
            }
        }
        batches
    }

    /// There are no more files.
    pub(super) fn end(&mut self) {
        for growing in self.groups.values_mut() {
            growing.miss_until(growing.known_head, &self.faulty);
        }
    }

    /// No group and no message.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Every group as it stands at the end.
    pub(super) fn states(&self) -> impl Iterator<Item = (GroupId, GroupState)> {
        self.groups.iter().map(|(group, growing)| (*group, growing.state()))
    }

    pub(super) fn configs(&self) -> impl Iterator<Item = (GroupId, &Bytes)> {
        self.groups.iter().map(|(group, growing)| (*group, &growing.config)).filter(|(_, config)| !config.is_empty())
    }

    pub(super) fn into_report(self) -> Vec<SalvagedGroup> {
        let report = |(group, growing): (GroupId, Growing)| SalvagedGroup {
            group,
            log: growing.log,
            whole_to_end: growing.is_whole_to_end(),
            config: growing.config,
            runs: growing.runs,
            messages: growing.messages,
            first: growing.first,
            head: growing.head,
            missing: growing.missing,
            of_earlier_logs: growing.of_earlier_logs,
        };
        self.groups.into_iter().map(report).collect()
    }
}

impl Growing {
    fn new(group: GroupId, log: LogId, epoch: Epoch, surveys: &[Survey]) -> Self {
        let states: Vec<(u64, &GroupState)> = surveys
            .iter()
            .filter_map(|s| Some((s.number, s.states.as_ref()?.get(&group)?)))
            .filter(|(_, state)| state.log == log)
            .collect();
        let unread = surveys.iter().filter(|s| s.is_unread).map(|s| s.number);
        let last_unread = unread.clone().max().unwrap_or(0);
        let first_unread = unread.min().unwrap_or(u64::MAX);
        // A tail that was lost with one of these files may be found in it, so that only other accounts count.
        let sure = states.iter().filter(|(_, state)| !state.tail_lost);
        let last_word = sure.clone().max_by_key(|(number, state)| (state.head, *number));
        let known_head = states.iter().map(|(_, state)| state.head).max().unwrap_or(Seq::ZERO);
        let first_word = states.first().map(|(number, state)| (*number, state.base.next()));
        let mut limits = HashMap::new();
        for survey in surveys {
            let own = states.iter().find(|(number, _)| *number == survey.number).map(|(_, state)| state.head);
            let later = sure.clone().filter(|(number, _)| *number > survey.number).map(|(_, state)| state.base);
            if let Some(limit) = own.into_iter().chain(later).min() {
                limits.insert(survey.number, limit);
            }
        }
        let config = surveys.iter().rev().find_map(|survey| survey.configs.get(&group).cloned());
        Self {
            log,
            epoch,
            config: config.unwrap_or_default(),
            deleted_at_ms: states.last().and_then(|(_, state)| state.deleted_at_ms),
            known_head,
            is_last_word: last_word.is_some_and(|(number, state)| *number > last_unread && state.head == known_head),
            begin: first_word.filter(|(number, _)| *number < first_unread).map_or(Seq::FIRST, |(_, begin)| begin),
            limits,
            head: Seq::ZERO,
            last_hash: NO_HASH,
            first: None,
            runs: 0,
            messages: 0,
            missing: Vec::new(),
            of_earlier_logs: 0,
            bad: Vec::new(),
        }
    }

    /// Stretches without a hole, in order.
    fn take(&mut self, file: u64, mut found: Vec<Found>, faulty: &[String]) -> Vec<Vec<Found>> {
        let limit = self.limits.get(&file).copied().unwrap_or(Seq(u64::MAX));
        found.retain(|one| one.last <= limit);
        // Of two at one place the later epoch's counts: what an earlier one left there was never acknowledged.
        found.sort_by_key(|one| (one.first, std::cmp::Reverse(one.epoch), !one.place.is_regular()));
        let mut stretches: Vec<Vec<Found>> = Vec::new();
        let mut next = found.into_iter().peekable();
        while let Some(one) = next.next() {
            let mut options = vec![one];
            while let Some(other) = next.next_if(|other| other.first == options[0].first) {
                options.push(other);
            }
            let first = options[0].first;
            if first <= self.head {
                continue;
            }
            let follows = first == self.head.next();
            let chosen = options.into_iter().find(|one| !follows || one.previous == self.last_hash);
            let Some(chosen) = chosen else {
                self.bad.push((first, "a record does not follow the one before it".to_owned()));
                continue;
            };
            self.miss_until(Seq(first.0 - 1), faulty);
            if !follows || stretches.is_empty() {
                stretches.push(Vec::new());
            }
            self.add(&chosen);
            stretches.last_mut().expect("one was begun").push(chosen);
        }
        stretches
    }

    fn add(&mut self, found: &Found) {
        self.first.get_or_insert(found.first);
        self.head = found.last;
        self.last_hash = found.hash;
        self.epoch = self.epoch.max(found.epoch);
        self.runs += 1;
        self.messages += found.last.0 - found.first.0 + 1;
    }

    /// Nothing is there after what was copied, up to `last`.
    fn miss_until(&mut self, last: Seq, faulty: &[String]) {
        let from = if self.first.is_none() { self.begin } else { self.head.next() };
        let Some(range) = SeqRange::new(from, last).filter(|range| range.first >= from) else { return };
        let bad = self.bad.iter().find(|(seq, _)| range.contains(*seq)).map(|(_, why)| why.clone());
        let why = bad.or_else(|| faulty.last().cloned()).unwrap_or_else(|| "no file holds them".to_owned());
        self.missing.push(Missing { range, why });
        self.bad.retain(|(seq, _)| *seq > last);
    }

    fn is_whole_to_end(&self) -> bool {
        self.is_last_word && self.head >= self.known_head
    }

    fn state(&self) -> GroupState {
        GroupState {
            log: self.log,
            epoch: self.epoch,
            head: self.head,
            base: self.head,
            snapshot_at: Seq::ZERO,
            deleted_at_ms: self.deleted_at_ms,
            tail_lost: !self.is_whole_to_end(),
            last_hash: self.last_hash,
        }
    }
}
