//! Verifies at the registry that a group was deleted.

use std::sync::Arc;

use gaung_proto::{
    GroupId,
    pb::registry::{GetGroupRequest, get_group_request::By},
};
use tonic::Code;

use crate::{directory::Directory, followed_groups::FollowedGroups};

use super::{RegistryClient, ticket_viewer, within_limit};

/// Decides what becomes of groups that a relay does not know. Nobody's claim destroys: only the registry deletes a group.
#[derive(Debug, Clone)]
pub(crate) struct GroupVerifier {
    registry: RegistryClient,
    directory: Arc<Directory>,
    groups: Arc<FollowedGroups>,
}

impl GroupVerifier {
    pub(crate) const fn new(registry: RegistryClient, directory: Arc<Directory>, groups: Arc<FollowedGroups>) -> Self {
        Self { registry, directory, groups }
    }

    /// Handles a relay's answer that a group does not exist; returns true if the group has ended.
    ///
    /// A group that the directory still has is looked up at the registry: either the directory or the relay is late. Must be
    /// called within a runtime.
    pub(crate) fn handle_not_found(&self, id: GroupId) -> bool {
        if self.directory.by_id(id).is_none() {
            self.groups.delete(id);
            return true;
        }
        tokio::spawn(self.clone().verify(id));
        false
    }

    /// Deletes the group if the registry does not have it.
    async fn verify(mut self, id: GroupId) {
        let ticket = self.groups.get(id).map(|group| group.ticket()).unwrap_or_default();
        let request = GetGroupRequest { by: Some(By::Id(id.into())), viewer: ticket_viewer(ticket) };
        let answer = within_limit(self.registry.get_group(request)).await;
        if answer.is_err_and(|status| status.code() == Code::NotFound) {
            self.groups.delete(id);
        }
    }
}
