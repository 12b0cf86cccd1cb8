//! What the page's requests use of the hub.

use std::{net::IpAddr, sync::Arc};

use gaung_proto::RelayId;
use service_kit::share::{Origin, SharePool};

use crate::{
    config::Config, directory::Directory, followed_groups::FollowedGroups, history::HistoryPlaces, metrics::Figures,
    page_sessions::PageSessions, registry::RegistryClient, relay_connector::RelayConnector,
};

use super::site::PageSite;

/// What the API answers from.
pub(crate) struct ApiContext {
    pub(crate) hub: RelayId,
    pub(crate) address: PageAddress,
    /// The site that HTTPS proves; `None` if the hub has no certificate.
    pub(crate) site: Option<PageSite>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) groups: Arc<FollowedGroups>,
    pub(crate) registry: RegistryClient,
    pub(crate) relays: Arc<RelayConnector>,
    pub(crate) history_places: Arc<HistoryPlaces>,
    pub(crate) page_sessions: Arc<PageSessions>,
    /// Limits the receipts that browsers watch at a time.
    pub(crate) receipt_watches: SharePool<Origin>,
    pub(crate) figures: Figures,
}

/// Where others find the page, as far as the settings tell.
#[derive(Debug, Clone)]
pub(crate) struct PageAddress {
    /// The host that others should use; empty if none was given.
    pub(crate) advertise: String,
    pub(crate) listens_on: Option<IpAddr>,
    /// The interface of the broadcast lane, if one was given.
    pub(crate) interface: Option<String>,
}

impl PageAddress {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            advertise: config.advertise.clone(),
            listens_on: config.page_listen.map(|addr| addr.ip()),
            interface: config.broadcast.as_ref().and_then(|broadcast| broadcast.iface.clone()),
        }
    }
}
