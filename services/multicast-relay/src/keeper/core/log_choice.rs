//! Which log is a group's, where the registry and this relay name different ones.

use gaung_proto::{GroupId, LogId, Seq};
use rand::Rng as _;
use tracing::{debug, error, info};

use super::{GroupState, KeeperCore, KnownGroup, PAST_LOGS, PositionOf};
use crate::{
    group::GroupConfig,
    keeper::action::{KeeperAction, PhaseChange, ReportAnswer},
    reports::{LogReport, LogVerdict, ReportClaim, ReportRefusal},
};

impl KeeperCore {
    /// Handles that the registry names another log than the relay's: the group was reset, or the registry does not know
    /// the relay's yet, or somebody misled it.
    pub(super) fn change_log(&mut self, config: GroupConfig, position_of: PositionOf<'_>) {
        let id = config.id;
        if !self.is_durable {
            return self.change_memory_log(config, position_of);
        }
        let Some(position) = position_of(id) else {
            self.end(id, PhaseChange::Unavailable);
            return self.open(vec![config]);
        };
        match self.groups.get_mut(&id) {
            // It is reported each second, and what the registry answers to that decides.
            Some(KnownGroup { config: known, state: GroupState::Refused { .. } }) => {
                *known = config.with_log(known.log);
            }
            Some(_) | None => self.request_verdict(config, position.log, position.head),
        }
    }

    /// Handles another log for a memory relay. A registry adopts whatever log a memory relay reports, so one that was
    /// never this relay's means a reset.
    fn change_memory_log(&mut self, config: GroupConfig, position_of: PositionOf<'_>) {
        let id = config.id;
        if self.is_past(id, config.log) {
            return;
        }
        if let Some(current) = self.groups.get(&id).map(|known| known.config.log) {
            self.forget_log(id, current);
        }
        self.begin_anew(config, position_of);
    }

    /// Asks the registry why it wants another log than the stored `log`, which goes up to `head`.
    pub(super) fn request_verdict(&mut self, wanted: GroupConfig, log: LogId, head: Seq) {
        let report = LogReport { group: wanted.id, log, head, claim: ReportClaim::Plain };
        if wanted.log == log {
            return;
        }
        self.act(KeeperAction::ReportLog { wanted: Box::new(wanted), report });
    }

    pub(super) fn handle_answer(
        &mut self,
        wanted: Box<GroupConfig>,
        report: LogReport,
        answer: ReportAnswer,
        position_of: PositionOf<'_>,
    ) {
        let (mut wanted, group) = (*wanted, report.group);
        let verdict = match answer {
            // Unknown: the stored log goes on, and is reported with the others.
            ReportAnswer::NoAnswer => LogVerdict::Insist,
            ReportAnswer::Accepted => LogVerdict::Keep,
            ReportAnswer::Refused(refusal) => {
                let verdict = refusal.verdict(&wanted, report.log, report.head);
                // The answer is newer than what it was asked for: the log that was judged is the one to begin.
                wanted = wanted.with_log(refusal.expected_log);
                if verdict == LogVerdict::Insist {
                    self.act(KeeperAction::Insist { report, refusal });
                }
                verdict
            }
        };
        match verdict {
            LogVerdict::Keep | LogVerdict::Insist if self.is_serving(group) => {
                debug!(%group, "this relay's log is served on")
            }
            LogVerdict::Keep | LogVerdict::Insist => self.open(vec![wanted.with_log(report.log)]),
            LogVerdict::Begin => self.begin_anew(wanted, position_of),
            LogVerdict::Lost => {
                self.end(group, PhaseChange::Unavailable);
                self.set_refused(wanted.with_log(report.log), false, position_of);
            }
        }
    }

    /// Handles a refused report: the registry has something else on record of the group.
    pub(super) fn handle_refusal(&mut self, refusal: &ReportRefusal, position_of: PositionOf<'_>) {
        let group = refusal.group;
        let (Some(known), Some(position)) = (self.groups.get(&group), position_of(group)) else { return };
        let config = known.config.clone();
        match known.state {
            GroupState::Waiting => {}
            GroupState::Serving { .. } if !self.is_durable => {
                if refusal.expected_log != position.log && refusal.expected_head == Seq::ZERO {
                    self.change_memory_log(config.with_log(refusal.expected_log), position_of);
                }
            }
            GroupState::Serving { .. } => match refusal.verdict(&config, position.log, position.head) {
                LogVerdict::Keep | LogVerdict::Insist => {}
                LogVerdict::Begin => self.begin_anew(config.with_log(refusal.expected_log), position_of),
                LogVerdict::Lost => {
                    error!(
                        %group,
                        expected_head = %refusal.expected_head,
                        "this relay had reported another or a longer log of this group; its messages were lost, and it is refused until `gaung group reset`"
                    );
                    self.end(group, PhaseChange::Unavailable);
                    self.set_refused(config, false, position_of);
                }
            },
            GroupState::Refused { is_damaged } => {
                match refusal.verdict_when_lost(&config, position.log, position.head, is_damaged) {
                    None => {}
                    Some(LogVerdict::Begin) => self.begin_anew(config.with_log(refusal.expected_log), position_of),
                    Some(LogVerdict::Keep | LogVerdict::Insist | LogVerdict::Lost) => {
                        info!(%group, "the group's log is the one that was reported; it is served again");
                        self.open(vec![config]);
                    }
                }
            }
        }
    }

    /// Chooses the log of a group that is told of for the first time. A memory log that finds a group at its start has lost
    /// what was in it, and must not go on under the old id: readers would take its messages for ones they have.
    pub(super) fn first_log(&mut self, config: GroupConfig) -> GroupConfig {
        let is_just_made = self.is_synced && (self.is_synced_private || !config.private);
        if self.is_durable || (is_just_made && !self.is_past(config.id, config.log)) {
            return config;
        }
        self.forget_log(config.id, config.log);
        config.with_log(LogId(self.rng.random()))
    }

    fn is_past(&self, group: GroupId, log: LogId) -> bool {
        self.past_logs.get(&group).is_some_and(|past| past.contains(&log))
    }

    fn forget_log(&mut self, group: GroupId, log: LogId) {
        let past = self.past_logs.entry(group).or_default();
        past.push_back(log);
        if past.len() > PAST_LOGS {
            past.pop_front();
        }
    }

    /// Begins the config's log; the stored one is set aside, and is former from then on.
    fn begin_anew(&mut self, config: GroupConfig, position_of: PositionOf<'_>) {
        self.end(config.id, PhaseChange::Unavailable);
        let stored = position_of(config.id);
        let config = stored.map_or_else(|| config.clone(), |stored| config.superseding(stored.log));
        self.act(KeeperAction::Reset(Box::new(config)));
    }

    fn is_serving(&self, group: GroupId) -> bool {
        matches!(self.groups.get(&group), Some(KnownGroup { state: GroupState::Serving { .. }, .. }))
    }
}
