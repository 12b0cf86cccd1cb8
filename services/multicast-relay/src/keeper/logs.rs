//! Which log is a group's, where registry and relay have different ones.

use std::sync::Arc;

use gaung_engine::DEFAULT_WINDOW_BYTES;
use gaung_proto::{GroupId, LogId, Seq};
use rand::Rng as _;
use tokio::task::spawn_blocking;
use tracing::{debug, error, info, warn};

use super::{Keeper, Known, PAST_LOGS, State};
use crate::{
    directory::Phase,
    group::GroupConfig,
    opening,
    reports::{Claim, Refusal, Report, Verdict},
};

impl Keeper {
    /// The registry names another log than ours: it was reset, or it does not know ours yet, or somebody misled it.
    pub(super) async fn change_log(&mut self, config: GroupConfig) {
        let id = config.id;
        if !self.parts.log.durable() {
            return self.change_memory_log(config).await;
        }
        let Some(position) = self.parts.log.position(id) else {
            self.end(id).await;
            self.open(vec![config]).await;
            return;
        };
        if let Some(Known { config: known, state: State::Refused { .. }, .. }) = self.known.get_mut(&id) {
            // It is reported each second, and what the registry answers to that decides.
            *known = config.with_log(known.log);
            return;
        }
        match self.verdict(&config, position.log, position.head).await {
            Verdict::Keep | Verdict::Insist => debug!(group = %id, "this relay's log is served on"),
            Verdict::Begin => {
                self.end(id).await;
                self.begin_anew(config).await;
            }
            Verdict::Lost => {
                self.end(id).await;
                self.set_refused(config.with_log(position.log), false);
            }
        }
    }

    /// The registry takes over whatever log a memory relay reports; one that was never ours means a reset.
    async fn change_memory_log(&mut self, config: GroupConfig) {
        let id = config.id;
        if self.past.get(&id).is_some_and(|past| past.contains(&config.log)) {
            return;
        }
        if let Some(current) = self.known.get(&id).map(|known| known.config.log) {
            self.forget_log(id, current);
        }
        self.end(id).await;
        self.begin_anew(config).await;
    }

    /// What to do where the registry wants another log of the group than `log`, which there is up to `head`. Insists
    /// where the registry is wrong.
    pub(super) async fn verdict(&self, wanted: &GroupConfig, log: LogId, head: Seq) -> Verdict {
        if wanted.log == log {
            return Verdict::Keep;
        }
        let registry = &self.parts.registry;
        let report = Report { group: wanted.id, log, head, claim: Claim::Plain };
        let refusal = match registry.report(&[report]).await {
            // Unknown: what there is goes on, and is reported with the others.
            Err(status) => {
                debug!(group = %wanted.id, reason = status.message(), "cannot ask about a group's log");
                return Verdict::Insist;
            }
            Ok(refusals) => refusals.into_iter().next(),
        };
        let Some(refusal) = refusal else { return Verdict::Keep };
        let verdict = refusal.verdict(wanted, log, head);
        if verdict == Verdict::Insist {
            let insisted = registry.report(&[Report { claim: Claim::Insists, ..report }]).await;
            let still = insisted.map_or(Some(refusal), |refusals| refusals.into_iter().next());
            registry.note_disputed(wanted.id, still.as_ref());
        }
        verdict
    }

    /// The registry has something else on record of a group that was reported.
    pub(super) async fn refuse(&mut self, refusal: Refusal) {
        let Some(known) = self.known.get(&refusal.group) else { return };
        match &known.state {
            State::Waiting => {}
            State::Serving(serving) => {
                let (log, head) = (serving.identity.log, serving.feed.head());
                if !self.parts.log.durable() {
                    if refusal.expected_log != log && refusal.expected_head == Seq::ZERO {
                        let config = known.config.with_log(refusal.expected_log);
                        self.change_memory_log(config).await;
                    }
                    return;
                }
                match refusal.verdict(&known.config, log, head) {
                    Verdict::Keep | Verdict::Insist => {}
                    Verdict::Begin => {
                        let config = known.config.with_log(refusal.expected_log);
                        self.end(refusal.group).await;
                        self.begin_anew(config).await;
                    }
                    Verdict::Lost => {
                        let config = known.config.clone();
                        error!(
                            group = %refusal.group,
                            expected_head = %refusal.expected_head,
                            "this relay had reported another or a longer log of this group; its messages were lost, and it is refused until `gaung group reset`"
                        );
                        self.end(refusal.group).await;
                        self.set_refused(config, false);
                    }
                }
            }
            State::Refused { is_damaged } => {
                let is_damaged = *is_damaged;
                let config = known.config.clone();
                let Some(position) = self.parts.log.position(refusal.group) else { return };
                match refusal.verdict_when_lost(&config, position.log, position.head, is_damaged) {
                    None => {}
                    Some(Verdict::Begin) => self.begin_anew(config.with_log(refusal.expected_log)).await,
                    Some(Verdict::Keep | Verdict::Insist | Verdict::Lost) => {
                        info!(group = %refusal.group, "the group's log is the one that was reported; it is served again");
                        self.open(vec![config]).await;
                    }
                }
            }
        }
    }

    /// A memory log that finds a group at its start has lost what was in it, and must not go on under the old log id.
    pub(super) fn first_log(&mut self, config: GroupConfig) -> GroupConfig {
        if self.parts.log.durable() || self.synced {
            return config;
        }
        self.forget_log(config.id, config.log);
        config.with_log(LogId(rand::rng().random()))
    }

    fn forget_log(&mut self, group: GroupId, log: LogId) {
        let past = self.past.entry(group).or_default();
        past.push(log);
        if past.len() > PAST_LOGS {
            past.remove(0);
        }
    }

    /// Begins the config's log; the one that there is is set aside.
    pub(super) async fn begin_anew(&mut self, config: GroupConfig) {
        let position = self.parts.log.position(config.id);
        let config = position.map_or_else(|| config.clone(), |position| config.superseding(position.log));
        let log = Arc::clone(&self.parts.log);
        let wanted = config.clone();
        let outcome = spawn_blocking(move || opening::reset(&*log, &wanted, DEFAULT_WINDOW_BYTES)).await;
        match outcome.expect("a reset does not panic") {
            Ok(ready) => {
                info!(group = %config.id, "log begun anew");
                self.parts.registry.note_disputed(config.id, None);
                self.serve(ready).await;
            }
            Err(error) => {
                warn!(group = %config.id, %error, "reset failed; will be tried again");
                self.set_waiting(config);
            }
        }
    }

    /// `config` has the log that there is.
    pub(super) fn set_refused(&mut self, config: GroupConfig, is_damaged: bool) {
        let head = self.parts.log.position(config.id).map_or(Seq::ZERO, |position| position.head);
        let phase = Phase::Refused { name: config.name.clone(), log: config.log, head };
        self.parts.directory.set(config.id, phase);
        self.known.insert(config.id, Known { config, state: State::Refused { is_damaged }, routes: Vec::new() });
    }
}
