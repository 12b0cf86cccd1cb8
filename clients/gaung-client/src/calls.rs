//! The calls to the registry, to relays and to hubs, with requests built and answers checked.

pub(crate) mod hub;
mod registry;
pub(crate) mod relay;

use std::time::Duration;

use bytes::Bytes;
use gaung_proto::{GroupId, GroupName};

use crate::group::{GroupInfo, ServiceInfo};

/// A group by its name or by its id.
#[derive(Debug, Clone)]
pub(crate) enum GroupKey {
    Name(GroupName),
    Id(GroupId),
}

/// What reading a group and publishing to it needs.
#[derive(Debug, Clone)]
pub(crate) struct GroupAccess {
    pub(crate) group: GroupInfo,
    /// Shown to relays and hubs; empty for a public group.
    pub(crate) ticket: Bytes,
    /// The relays and hubs of the server.
    pub(crate) services: Vec<ServiceInfo>,
    /// For how long presence and ticket are valid, from 1 s to 1 h.
    pub(crate) lease: Duration,
}
