//! What can happen to a relay, one event at a time: news and false claims from the registry, losses, failures, messages.

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use gaung_proto::{
    DeviceId, Epoch, GroupId, LogId, Seq,
    pb::registry as pb,
    signing::{self, Method},
    watch_groups::GroupSnapshot,
};
use rand::{Rng as _, seq::IteratorRandom as _};

use super::{Record, Sabotage, Violation, World};
use crate::{
    keeper::action::{KeeperInput, PhaseChange, ReportAnswer},
    reports::{LogReport, ReportClaim, ReportRefusal},
};

impl World {
    pub(super) fn create(&mut self) -> KeeperInput {
        let group = GroupId(self.rng.random());
        let described = pb::Group {
            id: group.into(),
            name: "class".to_owned(),
            format: if self.rng.random_ratio(1, 4) { pb::Format::Text } else { pb::Format::Proto }.into(),
            private: self.rng.random_ratio(1, 4),
            address: "239.255.0.1".to_owned(),
            port: 5000,
            generation: 1,
            log_id: self.rng.random(),
            owner_device_id: DeviceId::of_public_key(owner().verifying_key().as_bytes()).into(),
            relay_id: Bytes::from_static(&[7; 16]),
            ttl: 1,
            ..pb::Group::default()
        };
        self.registry.insert(group, Record { group: described, head: Seq::ZERO, reset: None });
        KeeperInput::Upsert(Box::new(self.described(group)))
    }

    /// The owner begins a new log.
    pub(super) fn reset(&mut self, group: GroupId) -> KeeperInput {
        let log = LogId(self.rng.random());
        self.owner_resets.insert((group, log));
        let nonce = Bytes::from_static(b"nonce");
        let record = self.registry.get_mut(&group).expect("it is on record");
        record.group.log_id = log.0;
        record.head = Seq::ZERO;
        record.reset = Some(signing::sign_call(&owner(), Method::Reset, group, &nonce, ""));
        KeeperInput::Upsert(Box::new(self.described(group)))
    }

    /// Somebody made the registry name a log that its owner did not begin, or name a former one again.
    pub(super) fn false_upsert(&mut self, group: GroupId) -> KeeperInput {
        let former = self.replaced.iter().filter(|(of, _)| *of == group).map(|(_, log)| *log).choose(&mut self.rng);
        let log = former.filter(|_| self.is_durable).unwrap_or(LogId(self.rng.random()));
        if self.is_durable {
            let record = self.registry.get_mut(&group).expect("it is on record");
            (record.group.log_id, record.head, record.reset) = (log.0, Seq::ZERO, None);
        }
        KeeperInput::Upsert(Box::new(self.described(group)))
    }

    pub(super) fn false_refusal(&mut self, group: GroupId) -> KeeperInput {
        KeeperInput::Refuse(self.claim(group))
    }

    /// What somebody who is not this relay said of a group; signed by somebody who does not own it.
    pub(super) fn claim(&mut self, group: GroupId) -> ReportRefusal {
        let stranger = SigningKey::from_bytes(&[2; 32]);
        let reset = signing::sign_call(&stranger, Method::Reset, group, &Bytes::from_static(b"nonce"), "");
        ReportRefusal {
            group,
            expected_log: LogId(self.rng.random()),
            expected_head: Seq(self.rng.random_range(1..1_000_000)),
            is_own_word: self.sabotage == Some(Sabotage::BelieveClaims),
            reset: self.rng.random_bool(0.5).then_some(reset),
        }
    }

    /// The group moves, loses its address, or has other limits.
    pub(super) fn change(&mut self, group: GroupId) -> KeeperInput {
        let what = self.rng.random_range(0..4);
        let record = self.registry.get_mut(&group).expect("it is on record");
        match what {
            0 => record.group.address_lapsed = true,
            1 => record.group.keep = Some(pb::Retention { max_age_ms: 1 << 30, ..pb::Retention::default() }),
            2 => record.group.name.push('x'),
            _ => {
                record.group.generation += 1;
                record.group.port += 1;
                record.group.address_lapsed = false;
            }
        }
        KeeperInput::Upsert(Box::new(self.described(group)))
    }

    pub(super) fn delete(&mut self, group: GroupId) -> KeeperInput {
        // Whoever looked it up just before may tell of it once more.
        if self.rng.random_bool(0.5) {
            self.registry.remove(&group);
        }
        KeeperInput::Delete(group)
    }

    pub(super) fn snapshot(&mut self) -> KeeperInput {
        let with_private = self.rng.random_bool(0.5);
        let shown = self.registry.values().filter(|record| with_private || !record.group.private);
        let groups = shown.map(Record::described).collect();
        KeeperInput::Snapshot(GroupSnapshot { groups, with_private })
    }

    /// A true and whole snapshot; what was deleted is on record no more.
    pub(super) fn snapshot_of_all(&mut self) -> KeeperInput {
        let deleted = &self.deleted;
        self.registry.retain(|group, _| !deleted.contains(group));
        let groups = self.registry.values().map(Record::described).collect();
        KeeperInput::Snapshot(GroupSnapshot { groups, with_private: true })
    }

    pub(super) fn opening_failed(&mut self, group: GroupId) -> KeeperInput {
        let is_stale = self.rng.random_bool(0.5);
        let current = self.attached.get(&group).map_or(Epoch(1), |attached| attached.epoch);
        let epoch = Epoch(current.0 - u32::from(is_stale));
        if !is_stale {
            self.attached.remove(&group);
        }
        KeeperInput::OpeningFailed { group, epoch }
    }

    /// Messages of a stored log are lost, as from an old copy of the disk or with a damaged file; found at the next start.
    pub(super) fn lose(&mut self, group: GroupId) -> KeeperInput {
        let is_damaged = self.rng.random_bool(0.5);
        if let Some(stored) = self.stored.get_mut(&group).filter(|_| self.is_durable) {
            stored.head = Seq(stored.head.0 / 2);
            stored.is_damaged |= is_damaged;
            self.lost.insert(group);
        }
        self.restart()
    }

    /// A group's members talk, and the relay reports how far the log goes.
    pub(super) fn append_and_report(&mut self, group: GroupId) -> Result<(), Violation> {
        let Some(stored) = self.stored.get_mut(&group) else { return Ok(()) };
        let is_refused = matches!(self.phases.get(&group), Some(PhaseChange::Refused { .. }));
        if self.attached.contains_key(&group) {
            stored.head.0 += 1;
        } else if !is_refused {
            return Ok(());
        }
        let claim = if is_refused { ReportClaim::Lost } else { ReportClaim::Plain };
        let report = LogReport { group, log: stored.log, head: stored.head, claim };
        match self.answer(report) {
            ReportAnswer::Refused(refusal) => self.handle(KeeperInput::Refuse(refusal)),
            ReportAnswer::NoAnswer | ReportAnswer::Accepted => Ok(()),
        }
    }
}

/// Who makes all groups.
fn owner() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}
