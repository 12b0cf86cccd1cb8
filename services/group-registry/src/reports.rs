//! What relays report of their groups' logs, and which of them they must not serve.

use std::{collections::HashMap, sync::PoisonError};

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

/// One group's log as its relay has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The group.
    pub group: GroupId,
    /// The log that was opened.
    pub log: LogId,
    /// Highest durable seq.
    pub head: Seq,
}

/// Why reports were not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The relay is unknown.
    #[error("relay {0} is not registered; call RegisterService first")]
    NotRegistered(RelayId),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a report means.
enum Verdict {
    /// Nothing new.
    Known,
    /// The head is further, or the first one of this log.
    Record(Option<Version>),
    /// A relay without a lasting log has started one: it becomes the group's.
    Adopt,
    Refuse(pb::GroupRefusal),
}

impl Registry {
    /// Takes a relay's reports; gives those groups that it must refuse until they are reset.
    ///
    /// # Errors
    /// [`ReportError`], each case.
    pub fn report(&self, now: Now, relay: RelayId, reports: &[Report]) -> Result<Vec<pb::GroupRefusal>, ReportError> {
        let durable = self.services.is_durable_relay(relay).ok_or(ReportError::NotRegistered(relay))?;
        let mut refusals = Vec::new();
        let mut writes: HashMap<GroupId, Write> = HashMap::new();
        for report in reports {
            let Some((version, Fate::Live(group))) = self.fate(report.group)? else { continue };
            match self.judge(&group, relay, durable, report)? {
                Verdict::Known => {}
                Verdict::Record(known) => {
                    writes.insert(report.group, head_write(report, known));
                }
                Verdict::Adopt => self.adopt(group, version, report.log)?,
                Verdict::Refuse(refusal) => {
                    self.note_refused(now, report, &refusal);
                    refusals.push(refusal);
                    continue;
                }
            }
            self.refused.lock().unwrap_or_else(PoisonError::into_inner).remove(&report.group);
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
        let known = stored.filter(|head| head.log_id == group.log.0).map_or(Seq::ZERO, |head| Seq(head.head_seq));
        let refusal =
            pb::GroupRefusal { group_id: group.id.into(), expected_log_id: group.log.0, expected_head_seq: known.0 };
        Ok(if group.relay != relay {
            Verdict::Refuse(refusal)
        } else if report.log != group.log {
            if durable { Verdict::Refuse(refusal) } else { Verdict::Adopt }
        } else if report.head < known && durable {
            Verdict::Refuse(refusal)
        } else if report.head == known {
            Verdict::Known
        } else {
            Verdict::Record(entry.map(|e| e.version))
        })
    }

    /// The recorded head belongs to the old log and so no longer counts.
    fn adopt(&self, group: Group, version: Version, log: LogId) -> Result<(), StoreError> {
        let key = records::group_key(group.id);
        let adopted = Group { log, ..group };
        // Changed meanwhile: the relay reports again.
        if let Ok(version) = self.store.set(&key, version, &Fate::Live(adopted.clone()).encode())? {
            info!(group = %adopted.id, %log, "log of a relay without a lasting store adopted");
            self.view.apply(adopted.id, version, Some(adopted));
        }
        Ok(())
    }

    fn note_refused(&self, now: Now, report: &Report, refusal: &pb::GroupRefusal) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.insert(report.group, now.mono).is_none() {
            warn!(
                group = %report.group, log = %report.log, head = %report.head,
                expected_log = %LogId(refusal.expected_log_id), expected_head = refusal.expected_head_seq,
                "the relay's log is not the one that was reported before; it refuses the group until `gaung group reset`"
            );
        }
    }
}

fn head_write(report: &Report, known: Option<Version>) -> Write {
    let key = records::head_key(report.group);
    let value = StoredHead { log_id: report.log.0, head_seq: report.head.0 }.encode_to_vec();
    match known {
        None => Write::create(key, value),
        Some(version) => Write::set(key, version, value),
    }
}
