//! Decides which groups are open, under which log, and which tags lead to them; touches neither clock, disk nor network.

mod log_choice;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    mem,
};

use gaung_log::{OpenError, Position};
use gaung_proto::{Epoch, GroupId, GroupRetention, GroupTag, LogId, Seq, watch_groups::GroupSnapshot};
use rand::rngs::StdRng;
use tracing::{debug, error, info, warn};

use super::action::{KeeperAction, KeeperInput, OpenOutcome, PhaseChange};
use crate::{
    group::GroupConfig,
    opening::{OpenGroupError, OpenedGroup},
};

/// Decides which groups are open, moved, trimmed and ended.
///
/// Hand it one input by [`Self::handle`], then perform every action of [`Self::poll_action`] in order. The outcome of an
/// action that has one goes back by `handle` before the next action is taken; no other input may come in between.
#[derive(Debug)]
pub(super) struct KeeperCore {
    is_durable: bool,
    groups: BTreeMap<GroupId, KnownGroup>,
    /// A whole snapshot was applied, so a public group that is told of from now on has just been made.
    is_synced: bool,
    /// Whether a snapshot with private groups was applied, which a registry that does not recognise this relay leaves
    /// out.
    is_synced_private: bool,
    /// Log ids that a memory log had, or did not take over; the registry may still name them.
    past_logs: HashMap<GroupId, VecDeque<LogId>>,
    upkeep: UpkeepState,
    rng: StdRng,
    actions: VecDeque<KeeperAction>,
}

/// Reads where a group's log stands; `None` if it is not stored.
pub(super) type PositionOf<'a> = &'a dyn Fn(GroupId) -> Option<Position>;

#[derive(Debug)]
struct KnownGroup {
    config: GroupConfig,
    state: GroupState,
}

#[derive(Debug)]
enum GroupState {
    Serving {
        epoch: Epoch,
        /// Tags whose datagrams reach its worker, the newest last.
        routes: Vec<GroupTag>,
    },
    /// Will be opened at the next retry.
    Waiting,
    /// Acknowledged messages were lost: with a damaged file, or this relay had reported another or a longer log.
    Refused { is_damaged: bool },
}

/// Whether a pass of retention runs beside the keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum UpkeepState {
    #[default]
    Idle,
    Running,
    /// Limits changed since the pass began, so another has to follow.
    RunningOutdated,
}

/// Past logs that are remembered for one group.
const PAST_LOGS: usize = 16;
/// Tags that lead to one opening: its own, and those of addresses that it left.
const MAX_ROUTES: usize = 9;

impl KeeperCore {
    /// Makes a core without groups. `is_durable`: whether the log survives the process; `rng` chooses the ids of memory
    /// logs.
    pub(super) fn new(is_durable: bool, rng: StdRng) -> Self {
        Self {
            is_durable,
            groups: BTreeMap::new(),
            is_synced: false,
            is_synced_private: false,
            past_logs: HashMap::new(),
            upkeep: UpkeepState::default(),
            rng,
            actions: VecDeque::new(),
        }
    }

    /// Takes an input or the outcome of the last action. `position_of`: the log as it is now.
    pub(super) fn handle(&mut self, input: KeeperInput, position_of: PositionOf<'_>) {
        // What follows from an outcome is done before what was decided earlier, so that groups of one snapshot do not mix.
        let later = mem::take(&mut self.actions);
        match input {
            KeeperInput::Stored(configs) => self.open(configs),
            KeeperInput::Snapshot(snapshot) => self.handle_snapshot(snapshot, position_of),
            KeeperInput::Upsert(config) => self.handle_upsert(*config, position_of),
            KeeperInput::Delete(group) => self.handle_delete(group),
            KeeperInput::Refuse(refusal) => self.handle_refusal(&refusal, position_of),
            KeeperInput::OpeningFailed { group, epoch } => self.handle_opening_failed(group, epoch),
            KeeperInput::RetryDue => self.handle_retry(),
            KeeperInput::UpkeepDue => self.begin_upkeep(),
            KeeperInput::UpkeepEnded => self.handle_upkeep_ended(),
            KeeperInput::Opened(outcomes) => {
                for (config, outcome) in outcomes {
                    self.handle_opened(config, outcome, position_of);
                }
            }
            KeeperInput::WasReset(outcome) => self.handle_reset(*outcome),
            KeeperInput::Answered { wanted, report, answer } => {
                self.handle_answer(wanted, report, answer, position_of);
            }
        }
        self.actions.extend(later);
    }

    /// Returns what to do next; `None` once everything is done.
    pub(super) fn poll_action(&mut self) -> Option<KeeperAction> {
        self.actions.pop_front()
    }

    fn handle_snapshot(&mut self, snapshot: GroupSnapshot<GroupConfig>, position_of: PositionOf<'_>) {
        let GroupSnapshot { groups: configs, with_private } = snapshot;
        // Whatever a registry repeats is opened once.
        let configs: BTreeMap<GroupId, GroupConfig> = configs.into_iter().map(|config| (config.id, config)).collect();
        // A registry that does not show private groups has not deleted them.
        let is_shown = |known: &KnownGroup| with_private || !known.config.private;
        let gone = self.groups.iter().filter(|(id, known)| !configs.contains_key(*id) && is_shown(known));
        let gone: Vec<GroupId> = gone.map(|(id, _)| *id).collect();
        for group in gone {
            self.handle_delete(group);
        }
        let (known, new): (Vec<_>, Vec<_>) =
            configs.into_values().partition(|config| self.groups.contains_key(&config.id));
        for config in known {
            self.handle_upsert(config, position_of);
        }
        let new = new.into_iter().map(|config| self.first_log(config)).collect();
        self.open(new);
        self.is_synced = true;
        self.is_synced_private |= with_private;
    }

    fn handle_upsert(&mut self, config: GroupConfig, position_of: PositionOf<'_>) {
        let id = config.id;
        let Some(known) = self.groups.get(&id) else {
            let config = self.first_log(config);
            return self.open(vec![config]);
        };
        let config = config.after(&known.config);
        if known.config.log == config.log && known.config.keep != config.keep {
            self.limit(id, config.keep);
        }
        let Some(known) = self.groups.get(&id) else { return };
        if known.config.log == config.log && known.config.policy != config.policy {
            self.set_policy(id, &config);
        }
        let Some(known) = self.groups.get(&id) else { return };
        if known.config.log != config.log {
            return self.change_log(config, position_of);
        }
        if known.config == config {
            return;
        }
        match known.state {
            GroupState::Serving { .. } if known.config.moves_to(&config) => self.move_to(config),
            GroupState::Refused { is_damaged } => {
                self.end(id, PhaseChange::Unavailable);
                self.set_refused(config, is_damaged, position_of);
            }
            GroupState::Serving { .. } | GroupState::Waiting => {
                self.end(id, PhaseChange::Unavailable);
                self.open(vec![config]);
            }
        }
    }

    fn handle_delete(&mut self, group: GroupId) {
        if !self.groups.contains_key(&group) {
            return;
        }
        self.end(group, PhaseChange::Unavailable);
        self.groups.remove(&group);
        self.act(KeeperAction::SetPhase(group, PhaseChange::Deleted));
        self.act(KeeperAction::DeleteLog(group));
        info!(%group, "group deleted");
    }

    fn handle_opening_failed(&mut self, group: GroupId, epoch: Epoch) {
        let Some(KnownGroup { state: GroupState::Serving { epoch: current, .. }, .. }) = self.groups.get(&group) else {
            return;
        };
        // A worker may report an opening that has been replaced meanwhile.
        if *current == epoch {
            warn!(%group, "group is not available and will be opened anew");
            self.end(group, PhaseChange::Suspended);
        }
    }

    fn handle_retry(&mut self) {
        let waiting = self.groups.values().filter(|known| matches!(known.state, GroupState::Waiting));
        let configs = waiting.map(|known| known.config.clone()).collect();
        self.open(configs);
    }

    fn handle_opened(
        &mut self,
        config: GroupConfig,
        outcome: Result<OpenedGroup, OpenGroupError>,
        position_of: PositionOf<'_>,
    ) {
        let group = config.id;
        match outcome {
            Ok(ready) => self.serve(ready),
            Err(OpenGroupError::Open(OpenError::OtherLog { stored })) => {
                let head = position_of(group).map_or(Seq::ZERO, |position| position.head);
                self.request_verdict(config, stored, head);
            }
            Err(OpenGroupError::TailLost { head }) => {
                error!(%group, %head, "acknowledged messages were lost with a damaged file; `gaung group reset` starts anew");
                self.set_refused(config, true, position_of);
            }
            Err(OpenGroupError::Open(OpenError::Deleted)) => {
                self.groups.remove(&group);
                self.act(KeeperAction::SetPhase(group, PhaseChange::Deleted));
            }
            Err(
                error @ (OpenGroupError::Open(OpenError::NoSuchLog | OpenError::Io(_))
                | OpenGroupError::Read(_)
                | OpenGroupError::Write(_)),
            ) => {
                debug!(%group, %error, "group cannot be opened; will be tried again");
                self.set_waiting(config);
            }
        }
    }

    fn handle_reset(&mut self, (config, outcome): OpenOutcome) {
        let group = config.id;
        match outcome {
            Ok(ready) => {
                info!(%group, "log begun anew");
                self.act(KeeperAction::ClearDispute(group));
                self.serve(ready);
            }
            Err(error) => {
                warn!(%group, %error, "reset failed; will be tried again");
                self.set_waiting(config);
            }
        }
    }

    /// Begins a pass of retention, now or when the one that runs has ended.
    fn begin_upkeep(&mut self) {
        if self.upkeep != UpkeepState::Idle {
            self.upkeep = UpkeepState::RunningOutdated;
            return;
        }
        self.upkeep = UpkeepState::Running;
        let is_serving = |known: &&KnownGroup| matches!(known.state, GroupState::Serving { .. });
        let configs = self.groups.values().filter(is_serving).map(|known| &known.config);
        let limits = configs.filter(|config| config.keep.is_limited()).map(|config| (config.id, config.keep)).collect();
        self.act(KeeperAction::BeginUpkeep(limits));
    }

    fn handle_upkeep_ended(&mut self) {
        if mem::take(&mut self.upkeep) == UpkeepState::RunningOutdated {
            self.begin_upkeep();
        }
    }

    fn open(&mut self, configs: Vec<GroupConfig>) {
        if configs.is_empty() {
            return;
        }
        for config in &configs {
            self.act(KeeperAction::SetPhase(config.id, PhaseChange::Unavailable));
        }
        self.act(KeeperAction::Open(configs));
    }

    fn serve(&mut self, ready: OpenedGroup) {
        let (config, epoch, routes) = (ready.config.clone(), ready.opened.epoch, ready.config.tags());
        debug!(group = %config.id, %epoch, head = %ready.opened.head, "group opened");
        self.act(KeeperAction::Attach { ready: Box::new(ready), routes: routes.clone() });
        self.groups.insert(config.id, KnownGroup { config, state: GroupState::Serving { epoch, routes } });
    }

    /// Takes no more messages of the group; requests that wait are refused.
    fn end(&mut self, group: GroupId, phase: PhaseChange) {
        self.act(KeeperAction::SetPhase(group, phase));
        let Some(known) = self.groups.get_mut(&group) else { return };
        if let GroupState::Serving { routes, .. } = mem::replace(&mut known.state, GroupState::Waiting) {
            self.act(KeeperAction::Detach { group, routes });
        }
    }

    /// Moves the group to another address, or to none, in the same opening.
    fn move_to(&mut self, config: GroupConfig) {
        let (group, tag) = (config.id, config.tag());
        let Some(KnownGroup { config: known, state: GroupState::Serving { routes, .. } }) = self.groups.get_mut(&group)
        else {
            return;
        };
        let (mut added, mut removed) = (None, Vec::new());
        if !routes.contains(&tag) {
            routes.push(tag);
            added = Some(tag);
            removed.extend(routes.drain(..routes.len().saturating_sub(MAX_ROUTES)));
        }
        *known = config.clone();
        let to = (!config.lapsed).then_some((config.addr, config.ttl, config.generation));
        match to {
            Some((addr, ..)) => info!(%group, %addr, "the group is at this address now"),
            None => info!(%group, "the group has no address now"),
        }
        self.act(KeeperAction::Move { group, added, removed, to });
        self.act(KeeperAction::PutConfig(Box::new(config)));
    }

    /// Applies other limits of the group's owner at once and keeps them with the group; its opening continues.
    fn limit(&mut self, group: GroupId, keep: GroupRetention) {
        let Some(known) = self.groups.get_mut(&group) else { return };
        info!(%group, ?keep, "other limits of the log");
        known.config = known.config.with_keep(keep);
        let config = Box::new(known.config.clone());
        self.act(KeeperAction::PutConfig(config));
        self.begin_upkeep();
    }

    /// Applies another policy at once and keeps it with the group, for starts without the registry; its opening continues.
    fn set_policy(&mut self, group: GroupId, described: &GroupConfig) {
        let Some(known) = self.groups.get_mut(&group) else { return };
        known.config = known.config.with_policy_of(described);
        let config = Box::new(known.config.clone());
        self.act(KeeperAction::SetPolicy(group, config.policy.clone()));
        self.act(KeeperAction::PutConfig(config));
    }

    fn set_waiting(&mut self, config: GroupConfig) {
        self.act(KeeperAction::SetPhase(config.id, PhaseChange::Unavailable));
        self.groups.insert(config.id, KnownGroup { config, state: GroupState::Waiting });
    }

    /// Refuses messages for a group. `config` names the log that is stored.
    fn set_refused(&mut self, config: GroupConfig, is_damaged: bool, position_of: PositionOf<'_>) {
        let head = position_of(config.id).map_or(Seq::ZERO, |position| position.head);
        let phase = PhaseChange::Refused { name: config.name.clone(), log: config.log, head };
        self.act(KeeperAction::SetPhase(config.id, phase));
        self.groups.insert(config.id, KnownGroup { config, state: GroupState::Refused { is_damaged } });
    }

    fn act(&mut self, action: KeeperAction) {
        self.actions.push_back(action);
    }
}
