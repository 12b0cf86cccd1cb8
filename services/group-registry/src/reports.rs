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

/// How long a report of a lost log counts. A relay repeats it every 2 s.
const LOST_FOR: Duration = Duration::from_secs(15);

/// One group's log as its relay has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogReport {
    /// The group.
    pub group: GroupId,
    /// The log that the relay has open.
    pub log: LogId,
    /// The highest durable seq.
    pub head: Seq,
    /// What the relay recognises its own report by; it is stored with the head.
    pub proof: Bytes,
    /// Whether the relay found that its log is lost.
    pub lost: bool,
    /// Whether the relay was refused and goes on with this log.
    pub insists: bool,
}

impl LogReport {
    /// Converts the report to the schema's message.
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

/// Why reports were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The relay is not registered.
    #[error("relay {0} is not registered; call RegisterService first")]
    NotRegistered(RelayId),
    /// The report came from another address than the relay's.
    #[error("relay {0} is registered from another address; only reports from there count")]
    Elsewhere(RelayId),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Command: takes the reports of one relay.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportLogs {
    /// The relay.
    pub relay: RelayId,
    /// Whether the relay's log survives a restart.
    pub durable: bool,
    /// One report for each group.
    pub reports: Vec<LogReport>,
}

impl Decide for ReportLogs {
    /// The groups whose record contradicts the report.
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

/// How a report is judged.
enum ReportVerdict {
    /// The report says what is recorded.
    Known,
    /// The report has a new head.
    Record,
    /// The relay's log replaces the group's.
    Adopt,
    Refuse,
}

impl ReportLogs {
    fn judge(&self, group: &Group, recorded: &StoredHead, report: &LogReport) -> ReportVerdict {
        if group.relay != self.relay || report.lost {
            return ReportVerdict::Refuse;
        }
        if report.log != group.log {
            // What the owner reset stays reset. Nobody owns `everyone`, so its relay decides.
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

/// Groups whose relay reports their log lost, and when it last did.
#[derive(Debug, Default)]
pub(crate) struct LostLogs(Mutex<HashMap<GroupId, Instant>>);

impl LostLogs {
    /// Takes a report of the group's own relay.
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

    /// Returns whether the group's relay reports its log lost.
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
