//! Reports of the relay's logs to the registry, and the verdict on a registry that has something else on record.
//!
//! No claim of others destroys messages: a log with messages is reset only if the group's owner signed the reset or the relay
//! itself found messages lost, and a group is refused only if the relay recognises the longer log as its own earlier report.

use bytes::Bytes;
use gaung_proto::{
    GroupId, LogId, Seq,
    pb::registry as pb,
    signing::{Method, verify_call},
};
use sha2::{Digest as _, Sha256};

use crate::group::GroupConfig;

/// How far one group's log goes, as reported to the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogReport {
    pub(crate) group: GroupId,
    pub(crate) log: LogId,
    pub(crate) head: Seq,
    pub(crate) claim: ReportClaim,
}

/// The claim of a report beside log and head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReportClaim {
    /// The report claims nothing else.
    Plain,
    /// The registry's record is wrong: this relay never reported it.
    Insists,
    /// Acknowledged messages of the log were lost.
    Lost,
}

/// The registry has another or a longer log of a group on record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReportRefusal {
    pub(crate) group: GroupId,
    pub(crate) expected_log: LogId,
    pub(crate) expected_head: Seq,
    /// This relay itself reported that log and head, as the proof shows.
    pub(crate) is_own_word: bool,
    /// The signed call that reset the group to the expected log, if there was one.
    pub(crate) reset: Option<pb::DeviceSignature>,
}

/// How to proceed after a [`ReportRefusal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogVerdict {
    /// Go on: the log is at least as long as what is on record.
    Keep,
    /// Go on with the stored log, and tell the registry that its record is wrong.
    Insist,
    /// Begin the expected log, and set the stored one aside.
    Begin,
    /// Acknowledged messages are missing: take no messages until a reset.
    Lost,
}

impl ReportRefusal {
    /// Checks a refusal against the relay's own key; `None` if it names no group.
    pub(crate) fn checked(refusal: &pb::GroupRefusal, key: &ReportKey) -> Option<Self> {
        let group = GroupId::try_from(&refusal.group_id[..]).ok()?;
        let (expected_log, expected_head) = (LogId(refusal.expected_log_id), Seq(refusal.expected_head_seq));
        let is_own_word = expected_head > Seq::ZERO && refusal.proof == key.proof(group, expected_log, expected_head);
        Some(Self { group, expected_log, expected_head, is_own_word, reset: refusal.reset.clone() })
    }

    /// Judges the refusal for a durable relay whose log is `log`, up to `head`. `config`: as stored beside the log.
    pub(crate) fn verdict(&self, config: &GroupConfig, log: LogId, head: Seq) -> LogVerdict {
        let same = self.expected_log == log;
        let missing = self.is_own_word;
        if same {
            return if self.expected_head <= head {
                LogVerdict::Keep
            } else if missing {
                LogVerdict::Lost
            } else {
                LogVerdict::Insist
            };
        }
        if config.former.contains(&self.expected_log) {
            // It was replaced by this one, so whoever names it again has an old record.
            return LogVerdict::Insist;
        }
        if self.is_reset_by_owner(config) {
            return LogVerdict::Begin;
        }
        match (missing, head == Seq::ZERO) {
            (true, _) => LogVerdict::Lost,
            (false, true) => LogVerdict::Begin,
            (false, false) => LogVerdict::Insist,
        }
    }

    /// Judges the refusal for a group that takes no messages because its log lost some (`is_damaged`) or is not the one that
    /// this relay reported. `None`: it stays so.
    pub(crate) fn verdict_when_lost(
        &self,
        config: &GroupConfig,
        log: LogId,
        head: Seq,
        is_damaged: bool,
    ) -> Option<LogVerdict> {
        // A reserved group has no owner who could sign, so anybody may reset it once it is refused.
        let is_new = self.expected_log != log && !config.former.contains(&self.expected_log);
        if is_new && config.is_reserved() && !self.is_own_word {
            return Some(LogVerdict::Begin);
        }
        match self.verdict(config, log, head) {
            LogVerdict::Begin => Some(LogVerdict::Begin),
            LogVerdict::Lost => None,
            LogVerdict::Keep | LogVerdict::Insist => (!is_damaged).then_some(LogVerdict::Keep),
        }
    }

    fn is_reset_by_owner(&self, config: &GroupConfig) -> bool {
        let signed = self.reset.as_ref().and_then(|reset| verify_call(reset, Method::Reset, self.group, "").ok());
        signed.is_some() && signed == config.owner()
    }
}

/// A secret by which the relay recognises its own earlier reports.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ReportKey([u8; 32]);

impl ReportKey {
    /// Returns the proof to send with a report. The input has a fixed length, so that hashing the secret before it is a sound
    /// keyed hash (no length extension).
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
