//! What the relay reports of its logs, and what it makes of a registry that has something else on record.
//!
//! Nobody's claim destroys: a log with messages begins anew only where the group's owner signed a reset or the relay itself
//! found the log lost, and a group is refused only where the relay recognises the longer log as its own word.

use bytes::Bytes;
use gaung_proto::{
    GroupId, LogId, Seq,
    pb::registry as pb,
    signing::{Method, verify_call},
};
use sha2::{Digest as _, Sha256};

use crate::group::GroupConfig;

/// One group's state for the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) group: GroupId,
    pub(crate) log: LogId,
    pub(crate) head: Seq,
    pub(crate) claim: Claim,
}

/// What a report says beside the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nothing.
    Plain,
    /// The registry's record is not this relay's word.
    Insists,
    /// Messages were lost.
    Lost,
}

/// The registry has another or a longer log of a group on record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) group: GroupId,
    pub(crate) expected_log: LogId,
    pub(crate) expected_head: Seq,
    /// This relay itself reported that log and head.
    pub(crate) is_own_word: bool,
    /// The call that began the expected log.
    pub(crate) reset: Option<pb::DeviceSignature>,
}

/// What to do about a [`Refusal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing: the log is as far as what is on record.
    Keep,
    /// Go on with the log that there is, and say so.
    Insist,
    /// Begin the expected log; what there is is set aside.
    Begin,
    /// Acknowledged messages are missing: take no more until a reset.
    Lost,
}

impl Refusal {
    /// `None` if it does not name a group.
    pub(crate) fn checked(refusal: &pb::GroupRefusal, key: &ReportKey) -> Option<Self> {
        let group = GroupId::try_from(&refusal.group_id[..]).ok()?;
        let (expected_log, expected_head) = (LogId(refusal.expected_log_id), Seq(refusal.expected_head_seq));
        let is_own_word = expected_head > Seq::ZERO && refusal.proof == key.proof(group, expected_log, expected_head);
        Some(Self { group, expected_log, expected_head, is_own_word, reset: refusal.reset.clone() })
    }

    /// What a durable relay makes of it whose log is `log`, up to `head`. `config`: as kept beside the log.
    pub(crate) fn verdict(&self, config: &GroupConfig, log: LogId, head: Seq) -> Verdict {
        let same = self.expected_log == log;
        let missing = self.is_own_word;
        if same {
            return if self.expected_head <= head {
                Verdict::Keep
            } else if missing {
                Verdict::Lost
            } else {
                Verdict::Insist
            };
        }
        if config.former.contains(&self.expected_log) {
            // It gave way to this one: whoever brings it up again has an old record.
            return Verdict::Insist;
        }
        if self.is_reset_by_owner(config) {
            return Verdict::Begin;
        }
        match (missing, head == Seq::ZERO) {
            (true, _) => Verdict::Lost,
            (false, true) => Verdict::Begin,
            (false, false) => Verdict::Insist,
        }
    }

    /// The same for a group that is refused, because its log lost messages (`is_damaged`) or is not the one that this relay
    /// reported. `None`: it stays refused.
    pub(crate) fn verdict_when_lost(
        &self,
        config: &GroupConfig,
        log: LogId,
        head: Seq,
        is_damaged: bool,
    ) -> Option<Verdict> {
        // Nobody owns a reserved group: whoever finds it refused may reset it, and the relay knows that it is.
        let is_new = self.expected_log != log && !config.former.contains(&self.expected_log);
        if is_new && config.is_reserved() && !self.is_own_word {
            return Some(Verdict::Begin);
        }
        match self.verdict(config, log, head) {
            Verdict::Begin => Some(Verdict::Begin),
            Verdict::Lost => None,
            Verdict::Keep | Verdict::Insist => (!is_damaged).then_some(Verdict::Keep),
        }
    }

    fn is_reset_by_owner(&self, config: &GroupConfig) -> bool {
        let signed = self.reset.as_ref().and_then(|reset| verify_call(reset, Method::Reset, self.group, "").ok());
        signed.is_some() && signed == config.owner()
    }
}

/// A secret by which the relay recognises what it once reported.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ReportKey([u8; 32]);

impl ReportKey {
    /// The input has one length, so hashing the secret before it is a sound keyed hash.
    pub(crate) fn proof(&self, group: GroupId, log: LogId, head: Seq) -> Bytes {
        let hash = Sha256::new()
            .chain_update(self.0)
            .chain_update(group.as_bytes())
            .chain_update(log.0.to_be_bytes())
            .chain_update(head.0.to_be_bytes())
            .finalize();
        Bytes::copy_from_slice(&hash[..16])
    }
}

impl From<[u8; 32]> for ReportKey {
    fn from(key: [u8; 32]) -> Self {
        Self(key)
    }
}

impl std::fmt::Debug for ReportKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReportKey")
    }
}
