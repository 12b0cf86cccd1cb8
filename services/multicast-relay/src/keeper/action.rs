//! Inputs and actions of the keeper's core.

use std::sync::Arc;

use gaung_proto::{
    Epoch, Generation, GroupAddr, GroupId, GroupRetention, GroupTag, LogId, Seq, policy::SignedPolicy,
    watch_groups::GroupSnapshot,
};

use crate::{
    group::GroupConfig,
    opening::{OpenGroupError, OpenedGroup},
    reports::{LogReport, ReportRefusal},
};

/// Something that the keeper has to react to. The last three are outcomes of actions.
#[derive(Debug)]
pub(super) enum KeeperInput {
    /// The log held these groups when the relay started.
    Stored(Vec<GroupConfig>),
    /// The registry sent all groups of this relay.
    Snapshot(GroupSnapshot<GroupConfig>),
    /// A group is new or has changed.
    Upsert(Box<GroupConfig>),
    /// A group was deleted and never comes back.
    Delete(GroupId),
    /// The registry refused a report: it has another or a longer log on record.
    Refuse(ReportRefusal),
    /// A worker gave up an opening: an append failed, or its datagram numbers are used up.
    OpeningFailed { group: GroupId, epoch: Epoch },
    /// Groups that could not be opened may be tried again.
    RetryDue,
    /// It is time to apply retention.
    UpkeepDue,
    /// The pass of retention that ran has ended.
    UpkeepEnded,
    /// The outcome of [`KeeperAction::Open`], group by group.
    Opened(Vec<OpenOutcome>),
    /// The outcome of [`KeeperAction::Reset`].
    WasReset(Box<OpenOutcome>),
    /// The registry's answer to [`KeeperAction::ReportLog`].
    Answered { wanted: Box<GroupConfig>, report: LogReport, answer: ReportAnswer },
}

/// A group whose log should be opened, and whether it was.
pub(super) type OpenOutcome = (GroupConfig, Result<OpenedGroup, OpenGroupError>);

/// Something that the shell has to do for the keeper's core.
#[derive(Debug)]
pub(super) enum KeeperAction {
    /// Open these groups' logs; answered by [`KeeperInput::Opened`].
    Open(Vec<GroupConfig>),
    /// Set the stored log aside and begin the config's; answered by [`KeeperInput::WasReset`].
    Reset(Box<GroupConfig>),
    /// Hand an opening to the group's worker, let these tags lead to it, and serve the group.
    Attach { ready: Box<OpenedGroup>, routes: Vec<GroupTag> },
    /// Remove the tags and end the worker's opening of the group.
    Detach { group: GroupId, routes: Vec<GroupTag> },
    /// Let an opening go on at another address (address, TTL, generation), or without one.
    Move { group: GroupId, added: Option<GroupTag>, removed: Vec<GroupTag>, to: Option<(GroupAddr, u8, Generation)> },
    /// Keep the registry's description of a group beside its log.
    PutConfig(Box<GroupConfig>),
    /// Apply another policy of a group to calls from now on.
    SetPolicy(GroupId, Option<Arc<SignedPolicy>>),
    /// Mark a group's log as deleted.
    DeleteLog(GroupId),
    /// Report a stored log to the registry, which wants another one; answered by [`KeeperInput::Answered`].
    ReportLog { wanted: Box<GroupConfig>, report: LogReport },
    /// Tell the registry that its record is not this relay's word, and note whether it still disagrees.
    Insist { report: LogReport, refusal: ReportRefusal },
    /// The registry no longer disagrees about the group.
    ClearDispute(GroupId),
    /// Show callers another phase of the group.
    SetPhase(GroupId, PhaseChange),
    /// Begin a pass of retention with these limits of served groups; its end is [`KeeperInput::UpkeepEnded`].
    BeginUpkeep(Vec<(GroupId, GroupRetention)>),
}

/// A phase of a group in which no messages are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PhaseChange {
    /// The log is being opened, or cannot be for now.
    Unavailable,
    /// The same, and what is in the log may be read meanwhile.
    Suspended,
    /// Messages of the log were lost.
    Refused { name: String, log: LogId, head: Seq },
    /// The group is gone for ever.
    Deleted,
}

/// The registry's answer to one report.
#[derive(Debug)]
pub(super) enum ReportAnswer {
    /// The registry could not be reached.
    NoAnswer,
    /// Nothing else is on record.
    Accepted,
    /// Another or a longer log is on record.
    Refused(ReportRefusal),
}
