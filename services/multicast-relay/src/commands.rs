//! Commands to the keeper from the registry's watch, from reports and from calls.

use gaung_proto::{GroupId, watch_groups::GroupSnapshot};
use tokio::sync::oneshot;

use crate::{group::GroupConfig, reports::ReportRefusal};

/// A change that the keeper has to make; it takes them one at a time, in the order in which they were sent.
#[derive(Debug)]
pub(crate) enum KeeperCommand {
    /// These are all groups of this relay.
    Snapshot(GroupSnapshot<GroupConfig>),
    /// A group is new or has changed.
    Upsert(Box<GroupConfig>),
    /// The group was deleted and never comes back.
    Delete(GroupId),
    /// The registry expects another or a longer log of a group that was reported.
    Refuse(ReportRefusal),
    /// Answers once every command sent before it has been executed.
    Barrier(oneshot::Sender<()>),
}
