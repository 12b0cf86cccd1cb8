//! A simulated log, workers, ingress and registry around one keeper's core, which judge every action of it.

mod events;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use gaung_engine::ClientWindows;
use gaung_log::{OpenError, Opened, Position, WriteError};
use gaung_proto::{Epoch, GroupId, GroupTag, LogId, Seq, pb::registry as pb};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IteratorRandom as _};

use super::KeeperCore;
use crate::{
    group::GroupConfig,
    keeper::action::{KeeperAction, KeeperInput, PhaseChange, ReportAnswer},
    opening::{OpenGroupError, OpenedGroup},
    reports::{LogReport, ReportClaim, ReportRefusal},
};

/// A part of the surroundings that is broken on purpose, so that a law must be seen to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sabotage {
    /// What is kept beside a log forgets which logs gave way to it.
    ForgetFormerLogs,
    /// Workers keep openings that are detached.
    KeepDetached,
    /// The ingress keeps the tags of openings that ended.
    KeepRoutes,
    /// A log that is marked as deleted can be opened again.
    ForgetDeletions,
    /// The relay takes a claim of others for its own word.
    BelieveClaims,
}

/// A law that was broken.
pub(super) type Violation = String;

pub(super) struct World {
    pub(super) core: KeeperCore,
    is_durable: bool,
    sabotage: Option<Sabotage>,
    rng: StdRng,
    /// Disk, registry and crashes fail while it is true.
    has_trouble: bool,
    stored: BTreeMap<GroupId, StoredLog>,
    attached: BTreeMap<GroupId, Attached>,
    routes: HashMap<GroupTag, GroupId>,
    pub(super) phases: BTreeMap<GroupId, PhaseChange>,
    upkeep_runs: bool,
    registry: BTreeMap<GroupId, Record>,
    deleted: BTreeSet<GroupId>,
    /// What this relay reported; it recognises it when it is shown it.
    reported: BTreeSet<(GroupId, LogId, Seq)>,
    /// Groups whose log has lost messages.
    lost: BTreeSet<GroupId>,
    /// Logs that an owner's reset began.
    owner_resets: BTreeSet<(GroupId, LogId)>,
    /// Logs that another one took the place of, and those that a memory log had before a crash.
    replaced: BTreeSet<(GroupId, LogId)>,
}

#[derive(Debug, Clone)]
struct StoredLog {
    config: Bytes,
    log: LogId,
    epoch: Epoch,
    head: Seq,
    is_deleted: bool,
    is_damaged: bool,
}

struct Attached {
    epoch: Epoch,
    tag: GroupTag,
}

/// What the registry has on record of a group.
#[derive(Clone)]
struct Record {
    group: pb::Group,
    head: Seq,
    reset: Option<pb::DeviceSignature>,
}

impl World {
    pub(super) fn new(seed: u64, is_durable: bool, sabotage: Option<Sabotage>) -> Self {
        Self {
            core: KeeperCore::new(is_durable, StdRng::seed_from_u64(seed)),
            is_durable,
            sabotage,
            rng: StdRng::seed_from_u64(!seed),
            has_trouble: true,
            stored: BTreeMap::new(),
            attached: BTreeMap::new(),
            routes: HashMap::new(),
            phases: BTreeMap::new(),
            upkeep_runs: false,
            registry: BTreeMap::new(),
            deleted: BTreeSet::new(),
            reported: BTreeSet::new(),
            lost: BTreeSet::new(),
            owner_resets: BTreeSet::new(),
            replaced: BTreeSet::new(),
        }
    }

    /// Does one random thing that can happen to a relay, and all that follows from it.
    pub(super) fn step(&mut self) -> Result<(), Violation> {
        let known = self.registry.keys().copied().choose(&mut self.rng);
        let input = match (self.rng.random_range(0..16), known) {
            (0, _) | (_, None) => self.create(),
            (1, Some(group)) => self.reset(group),
            (2, Some(group)) => self.false_upsert(group),
            (3, Some(group)) => self.false_refusal(group),
            (4, Some(group)) => self.change(group),
            (5, Some(group)) => self.delete(group),
            (6, _) => self.snapshot(),
            (7, Some(group)) => self.opening_failed(group),
            (8, Some(group)) => self.lose(group),
            (9, Some(group)) => KeeperInput::Upsert(Box::new(self.described(group))),
            (10, _) if self.upkeep_runs => {
                self.upkeep_runs = false;
                KeeperInput::UpkeepEnded
            }
            (10 | 11, _) => KeeperInput::UpkeepDue,
            (12 | 13, Some(group)) => return self.append_and_report(group),
            (14, _) => self.restart(),
            _ => KeeperInput::RetryDue,
        };
        self.handle(input)
    }

    /// Lets the trouble end, and what is left of it pass.
    pub(super) fn recover(&mut self) -> Result<(), Violation> {
        self.has_trouble = false;
        for _ in 0..4 {
            let snapshot = self.snapshot_of_all();
            self.handle(snapshot)?;
            self.handle(KeeperInput::RetryDue)?;
            for group in self.registry.keys().copied().collect::<Vec<_>>() {
                self.append_and_report(group)?;
            }
        }
        for (group, record) in &self.registry {
            let log = LogId(record.group.log_id);
            match (self.attached.contains_key(group), self.stored.get(group), self.phases.get(group)) {
                (true, Some(stored), _) if stored.log == log => {}
                // A registry that names a former log is told so, and stays wrong until its owner resets the group.
                (true, _, _) if self.replaced.contains(&(*group, log)) => {}
                (false, _, Some(PhaseChange::Refused { .. })) => {}
                (attached, stored, phase) => {
                    return Err(format!("{group} is not served as on record ({log}): {attached} {stored:?} {phase:?}"));
                }
            }
        }
        Ok(())
    }

    pub(super) fn handle(&mut self, input: KeeperInput) -> Result<(), Violation> {
        let mut next = Some(input);
        loop {
            if let Some(input) = next.take() {
                let stored = &self.stored;
                self.core.handle(input, &|group| stored.get(&group).and_then(StoredLog::position));
            }
            let Some(action) = self.core.poll_action() else { return self.check_routes() };
            if self.has_trouble && self.rng.random_ratio(1, 200) {
                next = Some(self.restart());
                continue;
            }
            next = self.perform(action)?;
        }
    }

    fn perform(&mut self, action: KeeperAction) -> Result<Option<KeeperInput>, Violation> {
        match action {
            KeeperAction::Open(configs) => {
                let outcomes = configs.into_iter().map(|config| {
                    let outcome = self.open(&config);
                    (config, outcome)
                });
                return Ok(Some(KeeperInput::Opened(outcomes.collect())));
            }
            KeeperAction::Reset(config) => {
                let outcome = self.begin_log(&config)?;
                return Ok(Some(KeeperInput::WasReset(Box::new((*config, outcome)))));
            }
            KeeperAction::ReportLog { wanted, report } => {
                let answer = self.answer(report);
                return Ok(Some(KeeperInput::Answered { wanted, report, answer }));
            }
            KeeperAction::Insist { report, .. } => {
                drop(self.answer(LogReport { claim: ReportClaim::Insists, ..report }))
            }
            KeeperAction::Attach { ready, routes } => self.attach(*ready, routes)?,
            KeeperAction::Detach { group, routes } => {
                if self.sabotage != Some(Sabotage::KeepRoutes) {
                    self.routes.retain(|tag, known| *known != group || !routes.contains(tag));
                }
                if self.sabotage != Some(Sabotage::KeepDetached) {
                    self.attached.remove(&group);
                }
            }
            KeeperAction::Move { group, added, removed, to } => {
                self.routes.extend(added.map(|tag| (tag, group)));
                self.routes.retain(|tag, known| *known != group || !removed.contains(tag));
                let log = self.stored[&group].log;
                if let (Some(attached), Some((_, _, generation))) = (self.attached.get_mut(&group), to) {
                    attached.tag = GroupTag::of(group, generation, log);
                }
            }
            KeeperAction::PutConfig(config) => self.put_config(&config),
            // Nobody moderates these groups.
            KeeperAction::SetPolicy(..) => {}
            KeeperAction::DeleteLog(group) => {
                if let Some(stored) = self.stored.get_mut(&group) {
                    self.deleted.insert(group);
                    stored.is_deleted = self.sabotage != Some(Sabotage::ForgetDeletions);
                }
            }
            KeeperAction::ClearDispute(_) => {}
            KeeperAction::SetPhase(group, phase) => {
                let is_refused = matches!(phase, PhaseChange::Refused { .. });
                if self.is_durable && is_refused && !self.lost.contains(&group) {
                    return Err(format!("{group} is refused, though nothing was lost"));
                }
                self.phases.insert(group, phase);
            }
            KeeperAction::BeginUpkeep(_) if self.upkeep_runs => {
                return Err("two passes of retention at once".to_owned());
            }
            KeeperAction::BeginUpkeep(_) => self.upkeep_runs = true,
        }
        Ok(None)
    }

    fn open(&mut self, config: &GroupConfig) -> Result<OpenedGroup, OpenGroupError> {
        if self.fails() {
            return Err(OpenGroupError::Open(OpenError::NoSuchLog));
        }
        let stored = self.stored.entry(config.id).or_insert_with(|| StoredLog::new(config));
        if stored.is_deleted {
            return Err(OpenGroupError::Open(OpenError::Deleted));
        }
        if stored.log != config.log {
            return Err(OpenGroupError::Open(OpenError::OtherLog { stored: stored.log }));
        }
        stored.epoch.0 += 1;
        if stored.is_damaged {
            return Err(OpenGroupError::TailLost { head: stored.head });
        }
        Ok(self.ready(config))
    }

    fn begin_log(&mut self, config: &GroupConfig) -> Result<Result<OpenedGroup, OpenGroupError>, Violation> {
        let (group, log) = (config.id, config.log);
        let Some(stored) = self.stored.get(&group) else {
            return Ok(Err(OpenGroupError::Write(WriteError::NoSuchLog)));
        };
        let is_by_owner = self.owner_resets.contains(&(group, log));
        if self.is_durable && stored.head > Seq::ZERO && !is_by_owner {
            return Err(format!("the log of {group} with messages up to {} begins anew by nobody's word", stored.head));
        }
        let begun =
            StoredLog { log, epoch: Epoch(stored.epoch.0 + 1), head: Seq::ZERO, is_damaged: false, ..stored.clone() };
        let before = stored.log;
        if begun.is_deleted || self.fails() {
            return Ok(Err(OpenGroupError::Write(WriteError::NoSuchLog)));
        }
        if before != log {
            self.replaced.insert((group, before));
        }
        self.stored.insert(group, begun);
        Ok(Ok(self.ready(config)))
    }

    fn ready(&mut self, config: &GroupConfig) -> OpenedGroup {
        self.put_config(config);
        let stored = &self.stored[&config.id];
        let opened = Opened {
            log: stored.log,
            epoch: stored.epoch,
            head: stored.head,
            oldest: Seq::FIRST,
            snapshot: None,
            tail_lost: false,
        };
        OpenedGroup { config: config.clone(), opened, windows: ClientWindows::new(1 << 10) }
    }

    fn put_config(&mut self, config: &GroupConfig) {
        let mut kept = config.clone();
        if self.sabotage == Some(Sabotage::ForgetFormerLogs) {
            kept.former.clear();
        }
        if let Some(stored) = self.stored.get_mut(&config.id) {
            stored.config = kept.to_stored();
        }
    }

    fn attach(&mut self, ready: OpenedGroup, routes: Vec<GroupTag>) -> Result<(), Violation> {
        let (group, log) = (ready.config.id, ready.opened.log);
        if self.deleted.contains(&group) {
            return Err(format!("{group} was deleted and is served again"));
        }
        if self.replaced.contains(&(group, log)) {
            return Err(format!("{group} is served under {log}, which was replaced"));
        }
        let attached = Attached { epoch: ready.opened.epoch, tag: ready.config.tag() };
        if self.attached.insert(group, attached).is_some() {
            return Err(format!("{group} has two openings"));
        }
        self.routes.extend(routes.into_iter().map(|tag| (tag, group)));
        self.phases.remove(&group);
        Ok(())
    }

    fn check_routes(&self) -> Result<(), Violation> {
        if let Some((tag, group)) = self.routes.iter().find(|(_, group)| !self.attached.contains_key(group)) {
            return Err(format!("{tag:?} leads to {group}, which is not open"));
        }
        for (group, attached) in &self.attached {
            if self.routes.get(&attached.tag) != Some(group) {
                return Err(format!("the tag of {group} does not lead to it"));
            }
        }
        Ok(())
    }

    /// The process ends and another one starts from what the log holds.
    fn restart(&mut self) -> KeeperInput {
        self.core = KeeperCore::new(self.is_durable, StdRng::seed_from_u64(self.rng.random()));
        self.attached.clear();
        self.routes.clear();
        self.phases.clear();
        self.upkeep_runs = false;
        if !self.is_durable {
            let lost = std::mem::take(&mut self.stored);
            self.replaced.extend(lost.into_iter().map(|(group, stored)| (group, stored.log)));
            self.deleted.clear();
        }
        let live = self.stored.values().filter(|stored| !stored.is_deleted);
        let configs = live.map(|stored| {
            let config = GroupConfig::from_stored(&stored.config).expect("what was kept is a config");
            config.with_log(stored.log)
        });
        KeeperInput::Stored(configs.collect())
    }

    fn answer(&mut self, report: LogReport) -> ReportAnswer {
        let LogReport { group, log, head, claim } = report;
        if self.fails() {
            return ReportAnswer::NoAnswer;
        }
        if self.has_trouble && claim == ReportClaim::Plain && self.rng.random_ratio(1, 4) {
            return ReportAnswer::Refused(self.claim(group));
        }
        let Some(record) = self.registry.get_mut(&group) else { return ReportAnswer::Accepted };
        let (expected_log, expected_head) = (LogId(record.group.log_id), record.head);
        let takes_over = !self.is_durable || (claim == ReportClaim::Insists && record.reset.is_none());
        let is_behind = expected_log != log || expected_head > head;
        if claim == ReportClaim::Lost || (is_behind && !takes_over) {
            let is_own_word = self.reported.contains(&(group, expected_log, expected_head));
            let reset = record.reset.clone();
            return ReportAnswer::Refused(ReportRefusal { group, expected_log, expected_head, is_own_word, reset });
        }
        record.group.log_id = log.0;
        record.head = head;
        if head > Seq::ZERO {
            self.reported.insert((group, log, head));
        }
        ReportAnswer::Accepted
    }

    fn described(&self, group: GroupId) -> GroupConfig {
        self.registry[&group].described()
    }

    fn fails(&mut self) -> bool {
        self.has_trouble && self.rng.random_ratio(1, 6)
    }
}

impl Record {
    fn described(&self) -> GroupConfig {
        GroupConfig::try_from(self.group.clone()).expect("the registry describes groups well")
    }
}

impl StoredLog {
    fn new(config: &GroupConfig) -> Self {
        let (epoch, head) = (Epoch(0), Seq::ZERO);
        Self { config: config.to_stored(), log: config.log, epoch, head, is_deleted: false, is_damaged: false }
    }

    fn position(&self) -> Option<Position> {
        let Self { log, epoch, head, .. } = *self;
        (!self.is_deleted).then_some(Position { log, epoch, head, oldest: Seq::FIRST })
    }
}
