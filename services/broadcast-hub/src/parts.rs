//! The hub's parts, which are made once at the start; each task is given those that it uses.

use std::{num::NonZero, sync::Arc, thread::available_parallelism};

use anyhow::Context as _;
use gaung_proto::RelayId;
use gaung_site::Role;
use service_kit::{
    rpc::{LocalChannel, ServiceEndpoint},
    secure::ServiceCredentials,
    share::SharePool,
    supervise::Tasks,
};
use tokio::{runtime::Handle, sync::mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    admission::Admission,
    broadcast::BroadcastRun,
    config::Config,
    directory::Directory,
    follow::FollowContext,
    followed_groups::FollowedGroups,
    group_table::GroupTable,
    history::{HistoryPlaces, HistoryReader},
    inbox::Inboxes,
    metrics::Figures,
    page::{ApiContext, PageAddress, PageSite},
    page_sessions::PageSessions,
    publishing::PublishContext,
    registry::{self, GroupLookups, GroupVerifier, RegistryClient},
    relay_connector::RelayConnector,
    relays::{NewLinks, Relays},
    session::{SessionNumbers, SessionServices},
    session_entry::SessionEntry,
    shard::{self, ShardParts},
};

/// Most receipts that browsers watch at a time, below the relay's limit of 512 for one hub. One address has at most a fourth.
const RECEIPT_WATCHES: u64 = 480;

/// The parts that several tasks share. Only the start of the hub holds all of them.
pub(crate) struct Parts {
    pub(crate) figures: Figures,
    pub(crate) directory: Arc<Directory>,
    pub(crate) registry: RegistryClient,
    pub(crate) groups: Arc<FollowedGroups>,
    pub(crate) inboxes: Inboxes,
    admission: Arc<Admission>,
    connector: Arc<RelayConnector>,
    relays: Arc<Relays>,
    history_places: Arc<HistoryPlaces>,
    page_sessions: Arc<PageSessions>,
}

impl Parts {
    /// Makes the parts, and the receiver of links that have to be started. `credentials` prove the hub to registry and relays;
    /// `local_relay` is reached within the process.
    pub(crate) fn new(
        config: &Config,
        credentials: Option<&ServiceCredentials>,
        local_relay: Option<(RelayId, LocalChannel)>,
    ) -> anyhow::Result<(Self, NewLinks)> {
        let limits = &config.limits;
        let shards = match config.shards {
            0 => available_parallelism().map_or(1, NonZero::get),
            shards => shards,
        };
        let inboxes = Inboxes::new(shards);
        let directory = Arc::new(Directory::new());
        let (relays, new_links) = Relays::new(limits.publish_bytes);
        let relays = Arc::new(relays);
        let table = GroupTable::new(limits, shards);
        let groups = FollowedGroups::new(table, directory.clone(), relays.clone(), inboxes.clone());
        let figures = Figures::default();
        let registry = ServiceEndpoint::new(&config.registry, Role::Registry, credentials)?;
        let connector = RelayConnector::new(directory.clone(), local_relay, credentials.cloned(), config.plaintext);
        let parts = Self {
            registry: registry::client(registry.connect_lazy()),
            groups: Arc::new(groups),
            inboxes,
            admission: Arc::new(Admission::new(limits, figures.sessions_delayed.clone())),
            figures,
            connector: Arc::new(connector),
            directory,
            relays,
            history_places: Arc::new(HistoryPlaces::new(limits.history_reads)),
            page_sessions: Arc::default(),
        };
        Ok((parts, new_links))
    }

    /// Starts the shards' threads. `links_stop` is cancelled when the last of them has ended.
    pub(crate) fn spawn_shards(
        &self,
        config: &Config,
        page_port: Option<u16>,
        links_stop: &CancellationToken,
        tasks: &mut Tasks,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let parts = ShardParts {
            services: Arc::new(self.session_services(config, page_port, links_stop)),
            inboxes: self.inboxes.clone(),
            admission: self.admission.clone(),
            drain: config.drain,
        };
        let last_shard = Arc::new(links_stop.clone().drop_guard());
        for index in 0..self.inboxes.iter().len() {
            let end = shard::spawn(parts.clone(), index, stop.clone())?;
            let last_shard = last_shard.clone();
            tasks.spawn(format!("shard {index}"), async move {
                let ended = end.await;
                drop(last_shard);
                ended.context("the thread panicked")
            });
        }
        Ok(())
    }

    pub(crate) fn follow_context(&self, to_broadcast: Option<mpsc::Sender<BroadcastRun>>) -> FollowContext {
        let verifier = GroupVerifier::new(self.registry.clone(), self.directory.clone(), self.groups.clone());
        FollowContext {
            connector: self.connector.clone(),
            groups: self.groups.clone(),
            verifier,
            to_broadcast,
            report_key: rand::random(),
            figures: self.figures.clone(),
        }
    }

    pub(crate) fn publish_context(&self) -> PublishContext {
        let (connector, inboxes, figures) = (self.connector.clone(), self.inboxes.clone(), self.figures.clone());
        PublishContext { connector, inboxes, figures }
    }

    pub(crate) fn session_entry(&self) -> SessionEntry {
        SessionEntry::new(self.admission.clone(), self.inboxes.clone(), self.figures.clone())
    }

    pub(crate) fn api_context(
        &self,
        hub: RelayId,
        config: &Config,
        credentials: Option<&ServiceCredentials>,
    ) -> ApiContext {
        ApiContext {
            hub,
            address: PageAddress::of(config),
            site: credentials.map(PageSite::of),
            directory: self.directory.clone(),
            groups: self.groups.clone(),
            registry: self.registry.clone(),
            relays: self.connector.clone(),
            history_places: self.history_places.clone(),
            page_sessions: self.page_sessions.clone(),
            receipt_watches: SharePool::new(RECEIPT_WATCHES, RECEIPT_WATCHES / 4),
            figures: self.figures.clone(),
        }
    }

    fn session_services(
        &self,
        config: &Config,
        page_port: Option<u16>,
        links_stop: &CancellationToken,
    ) -> SessionServices {
        let (registry, directory, inboxes) = (self.registry.clone(), self.directory.clone(), self.inboxes.clone());
        let history = HistoryReader {
            places: self.history_places.clone(),
            connector: self.connector.clone(),
            figures: self.figures.clone(),
            runtime: Handle::current(),
            stop: links_stop.clone(),
        };
        SessionServices {
            limits: Arc::new(config.limits.clone()),
            lookups: GroupLookups::new(registry, directory, inboxes, &config.limits),
            directory: self.directory.clone(),
            groups: self.groups.clone(),
            relays: self.relays.clone(),
            history: Arc::new(history),
            numbers: SessionNumbers::default(),
            plaintext: config.plaintext,
            page_port,
            page_sessions: self.page_sessions.clone(),
            figures: self.figures.clone(),
        }
    }
}
