//! What relays report of their groups' logs, and where that is not what was reported before.
//!
//! A report is a claim. It counts only from the address that the relay is registered at, it never makes a relay drop a
//! log, and what one of them says the next may take back: a relay that holds another or a shorter log than is
//! recorded is told so, decides by itself whether the record is its own word, and otherwise insists on what it has.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_log::kv::{Version, Write};
use gaung_proto::{GroupId, LogId, RelayId, Seq, pb::registry as pb};
use prost::Message as _;
use tracing::{info, warn};

use crate::{
    now::Now,
    records::{self, Fate, Group, StoredHead},
    registry::Registry,
    store::StoreError,
};

/// A relay repeats every 2 s that it lost a log; when it has not for so long, that no longer counts.
const LOST_FOR: Duration = Duration::from_secs(15);

/// One group's log as its relay has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
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

/// What a report means.
enum Verdict {
    /// Nothing new.
    Known,
    /// The head is another, or the first one of this log.
    Record(Option<Version>),
    /// The relay's log becomes the group's.
    Adopt,
    Refuse(pb::GroupRefusal),
}

impl Registry {
    /// Takes the reports of a relay from the address it is registered at (`None`: this process); gives those groups of
    /// which something else is recorded.
    ///
    /// # Errors
    /// [`ReportError`], each case.
    pub fn report(
        &self,
        now: Now,
        relay: RelayId,
        reports: &[Report],
        from: Option<IpAddr>,
    ) -> Result<Vec<pb::GroupRefusal>, ReportError> {
        let durable = self.services.reporting_relay(relay, from)?;
        let mut refusals = Vec::new();
        let mut writes: HashMap<GroupId, Write> = HashMap::new();
        for report in reports {
            let Some((version, Fate::Live(group))) = self.fate(report.group)? else { continue };
            if group.relay == relay {
                self.note_lost(now, report);
            }
            match self.judge(&group, relay, durable, report)? {
                Verdict::Known => {}
                Verdict::Record(known) => {
                    writes.insert(report.group, head_write(report, known));
                }
                Verdict::Adopt => {
                    self.adopt(group, version, report.log)?;
                    let known = self.store.get(&records::head_key(report.group))?.map(|entry| entry.version);
                    writes.insert(report.group, head_write(report, known));
                }
                Verdict::Refuse(refusal) => refusals.push(refusal),
            }
        }
        // A head that is not written now comes again with the next report.
        let failed = self.store.write_loosely(writes.into_values().collect()).iter().filter(|w| w.is_err()).count();
        if failed > 0 {
            warn!(failed, "reported heads not stored; they come again");
        }
        Ok(refusals)
    }

    fn judge(&self, group: &Group, relay: RelayId, durable: bool, report: &Report) -> Result<Verdict, StoreError> {
        let key = records::head_key(group.id);
        let entry = self.store.get(&key)?;
        let stored = entry.as_ref().map(|e| records::decode::<StoredHead>(&key, &e.value)).transpose()?;
        let stored = stored.filter(|head| head.log_id == group.log.0).unwrap_or_default();
        let refusal = || {
            Verdict::Refuse(pb::GroupRefusal {
                group_id: group.id.into(),
                expected_log_id: group.log.0,
                expected_head_seq: stored.head_seq,
                proof: stored.proof.clone(),
                reset: pb::DeviceSignature::decode(group.reset.clone()).ok().filter(|_| !group.reset.is_empty()),
            })
        };
        if group.relay != relay || report.lost {
            return Ok(refusal());
        }
        if report.log != group.log {
            // What the owner reset stays reset. Nobody owns `everyone`: its relay is who knows.
            let stays = group.reset.is_empty() || group.reserved;
            return Ok(if !durable || (report.insists && stays) { Verdict::Adopt } else { refusal() });
        }
        Ok(if report.head.0 < stored.head_seq && durable && !report.insists {
            refusal()
        } else if report.head.0 == stored.head_seq && report.proof == stored.proof {
            Verdict::Known
        } else {
            Verdict::Record(entry.map(|e| e.version))
        })
    }

    /// The recorded head belongs to the old log and so no longer counts.
    fn adopt(&self, group: Group, version: Version, log: LogId) -> Result<(), StoreError> {
        let key = records::group_key(group.id);
        let adopted = Group { log, reset: Bytes::new(), ..group };
        // Changed meanwhile: the relay reports again.
        if let Ok(version) = self.store.set(&key, version, &Fate::Live(adopted.clone()).encode())? {
            info!(group = %adopted.id, %log, "the log that the group's relay has is the group's from now on");
            self.view.apply(adopted.id, version, Some(adopted));
        }
        Ok(())
    }

    fn note_lost(&self, now: Now, report: &Report) {
        let mut lost = self.lost_groups();
        if !report.lost {
            lost.remove(&report.group);
        } else if lost.insert(report.group, now.mono).is_none() {
            warn!(
                group = %report.group, log = %report.log, head = %report.head,
                "the relay lost messages of this group; it refuses the group until `gaung group reset`"
            );
        }
    }

    /// Whether the group's relay says that its log is lost.
    pub(crate) fn is_lost(&self, group: GroupId, now: Instant) -> bool {
        let said = self.lost_groups().get(&group).copied();
        said.is_some_and(|said| now.saturating_duration_since(said) < LOST_FOR)
    }

    pub(crate) fn lost_groups(&self) -> MutexGuard<'_, HashMap<GroupId, Instant>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn head_write(report: &Report, known: Option<Version>) -> Write {
    let key = records::head_key(report.group);
    let head = StoredHead { log_id: report.log.0, head_seq: report.head.0, proof: report.proof.clone() };
    match known {
        None => Write::create(key, head.encode_to_vec()),
        Some(version) => Write::set(key, version, head.encode_to_vec()),
    }
}
