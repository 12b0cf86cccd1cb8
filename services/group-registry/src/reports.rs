//! What relays report of their groups' logs, and where that is not what was reported before.
//!
//! A report is a claim. It counts only from the address that the relay is registered at, it never makes a relay drop a
//! log, and what one of them says the next may take back: a relay that holds another or a shorter log than is
//! recorded is told so, decides by itself whether the record is its own word, and otherwise insists on what it has.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_proto::{GroupId, LogId, RelayId, Seq, id::IdError, pb::registry as pb};
use prost::Message as _;
use tracing::warn;

use crate::{
    clock::CommandTime,
    group::Group,
    records::{Record, StoredHead},
    store::StoreError,
    tables::{Change, Decide, Tables},
};

/// A relay repeats every 2 s that it lost a log; when it has not for so long, that no longer counts.
const LOST_FOR: Duration = Duration::from_secs(15);

/// One group's log as its relay has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogReport {
    /// The group.
    pub group: GroupId,
    /// The log that was opened.
    pub log: LogId,
    /// Highest durable seq.
    pub head: Seq,
    /// What the relay knows this report by again; kept with the head.
    pub proof: Bytes,
    /// The relay itself found that the log is lost.
    pub lost: bool,
    /// The relay was refused and goes on with this log.
    pub insists: bool,
}

impl LogReport {
    /// As the schema has it.
    pub(crate) fn to_pb(&self) -> pb::GroupReport {
        pb::GroupReport {
            group_id: self.group.into(),
            log_id: self.log.0,
            head_seq: self.head.0,
            proof: self.proof.clone(),
            lost: self.lost,
            insists: self.insists,
        }
    }

    /// The inverse of [`Self::to_pb`].
    pub(crate) fn from_pb(report: &pb::GroupReport) -> Result<Self, IdError> {
        Ok(Self {
            group: GroupId::try_from(&report.group_id[..])?,
            log: LogId(report.log_id),
            head: Seq(report.head_seq),
            proof: report.proof.clone(),
            lost: report.lost,
            insists: report.insists,
        })
    }
}

/// Why reports were not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The relay is unknown.
    #[error("relay {0} is not registered; call RegisterService first")]
    NotRegistered(RelayId),
    /// Somebody else's word.
    #[error("relay {0} is registered from another address; only reports from there count")]
    Elsewhere(RelayId),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes the reports of one relay.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportLogs {
    /// The relay.
    pub relay: RelayId,
    /// Its log survives it.
    pub durable: bool,
    /// One for each group.
    pub reports: Vec<LogReport>,
}

impl Decide for ReportLogs {
    /// The groups of which something else is recorded.
    type Outcome = Vec<pb::GroupRefusal>;
    type Refusal = ReportError;

    fn decide(
        &self,
        tables: &Tables,
        _now: CommandTime,
        changes: &mut Vec<Change>,
    ) -> Result<Vec<pb::GroupRefusal>, ReportError> {
        let mut refusals = Vec::new();
        for report in &self.reports {
            let Ok(group) = tables.live(report.group) else { continue };
            let recorded = tables.catalogue.head(group.id).filter(|head| head.log_id == group.log.0);
            let recorded = recorded.cloned().unwrap_or_default();
            match self.judge(group, &recorded, report) {
                ReportVerdict::Known => continue,
                ReportVerdict::Record => {}
                ReportVerdict::Adopt => {
                    let adopted = Group { log: report.log, reset: Bytes::new(), ..Group::clone(group) };
                    Tables::replace(adopted, changes);
                }
                ReportVerdict::Refuse => {
                    refusals.push(refusal(group, &recorded));
                    continue;
                }
            }
            let head = StoredHead { log_id: report.log.0, head_seq: report.head.0, proof: report.proof.clone() };
            changes.push(Change(Record::Head(group.id, Some(head))));
        }
        Ok(refusals)
    }
}

/// What a report means.
enum ReportVerdict {
    /// Nothing new.
    Known,
    /// The head is another, or the first one of this log.
    Record,
    /// The relay's log becomes the group's.
    Adopt,
    Refuse,
}

impl ReportLogs {
    fn judge(&self, group: &Group, recorded: &StoredHead, report: &LogReport) -> ReportVerdict {
        if group.relay != self.relay || report.lost {
            return ReportVerdict::Refuse;
        }
        if report.log != group.log {
            // What the owner reset stays reset. Nobody owns `everyone`: its relay is who knows.
            let stays = group.reset.is_empty() || group.reserved;
            return if !self.durable || (report.insists && stays) {
                ReportVerdict::Adopt
            } else {
                ReportVerdict::Refuse
            };
        }
        if report.head.0 < recorded.head_seq && self.durable && !report.insists {
            ReportVerdict::Refuse
        } else if report.head.0 == recorded.head_seq && report.proof == recorded.proof {
            ReportVerdict::Known
        } else {
            ReportVerdict::Record
        }
    }
}

fn refusal(group: &Group, recorded: &StoredHead) -> pb::GroupRefusal {
    pb::GroupRefusal {
        group_id: group.id.into(),
        expected_log_id: group.log.0,
        expected_head_seq: recorded.head_seq,
        proof: recorded.proof.clone(),
        reset: pb::DeviceSignature::decode(group.reset.clone()).ok().filter(|_| !group.reset.is_empty()),
    }
}

/// Groups whose relay says that it lost their log, and when it last said so.
#[derive(Debug, Default)]
pub(crate) struct LostLogs(Mutex<HashMap<GroupId, Instant>>);

impl LostLogs {
    /// Notes what the group's own relay reported.
    pub(crate) fn note(&self, report: &LogReport, now: Instant) {
        let mut lost = self.lock();
        if !report.lost {
            lost.remove(&report.group);
        } else if lost.insert(report.group, now).is_none() {
            warn!(
                group = %report.group, log = %report.log, head = %report.head,
                "the relay lost messages of this group; it refuses the group until `gaung group reset`"
            );
        }
    }

    /// Whether the group's relay says that its log is lost.
    pub(crate) fn has(&self, group: GroupId, now: Instant) -> bool {
        let said = self.lock().get(&group).copied();
        said.is_some_and(|said| now.saturating_duration_since(said) < LOST_FOR)
    }

    pub(crate) fn forget(&self, group: GroupId) {
        self.lock().remove(&group);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<GroupId, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
