//! The client: one server, one device, one process.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use gaung_proto::{ClientId, DeviceId, DisplayName, GroupId, GroupName};
use rand::Rng as _;
use tokio::sync::Mutex;

use crate::{
    broadcast::{self, BroadcastListener},
    device::Device,
    error::ClientError,
    history::{self, History, HistoryPage},
    listen::{self, ListenOptions, Listener, hub_choice::HubChoice},
    publish::{self, Publisher},
    server::Server,
    settings::Settings,
    tickets::Tickets,
};

/// A connection to one server; cloning shares it. Later losses are mended by whoever notices them.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) name: RwLock<String>,
    pub(crate) server: Server,
    pub(crate) device: Device,
    pub(crate) client_id: ClientId,
    /// Proves to relays that what is published under the client id comes from this process. Told to nobody else.
    pub(crate) stream_key: [u8; 16],
    /// Kept for as long as the client, so that no client_seq is given twice.
    pub(crate) publishers: Mutex<HashMap<GroupId, Publisher>>,
    pub(crate) tickets: Arc<Tickets>,
    pub(crate) hubs: HubChoice,
}

impl Client {
    /// Reads or makes the device key, finds the server and connects to its registry.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if it does not answer, [`ClientError::SeveralServers`] if discovery found more
    /// than one, [`ClientError::Failed`] if the data folder cannot be used.
    pub async fn connect(settings: Settings) -> Result<Self, ClientError> {
        let data_dir = settings.data_dir.clone();
        let device = tokio::task::spawn_blocking(move || Device::load_or_create(&data_dir))
            .await
            .map_err(|error| ClientError::Failed(error.to_string()))?
            .map_err(|error| ClientError::Failed(error.to_string()))?;
        Self::connect_as(device, settings).await
    }

    /// Connects to look at what is public, as a device that is not known: the data folder is not touched.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn look(settings: Settings) -> Result<Self, ClientError> {
        Self::connect_as(Device::passing(), settings).await
    }

    async fn connect_as(device: Device, settings: Settings) -> Result<Self, ClientError> {
        let server = Server::find(settings.server.as_deref(), settings.iface.as_deref()).await?;
        let (client_id, stream_key) = (ClientId(rand::rng().random()), rand::rng().random());
        let name = settings.name.as_ref().map_or("anonymous", DisplayName::as_str).to_owned().into();
        let publishers = Mutex::default();
        let (tickets, hubs) = (Arc::default(), HubChoice::default());
        let inner = Inner { settings, name, server, device, client_id, stream_key, publishers, tickets, hubs };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The registry in use as `HOST:PORT`; one that was discovered may get another address.
    #[must_use]
    pub fn server(&self) -> String {
        self.inner.server.to_string()
    }

    /// This device: the same for all processes of one data folder.
    #[must_use]
    pub fn device_id(&self) -> DeviceId {
        self.inner.device.id()
    }

    /// This process, random.
    #[must_use]
    pub fn client_id(&self) -> ClientId {
        self.inner.client_id
    }

    /// The display name.
    #[must_use]
    pub fn name(&self) -> String {
        self.inner.name()
    }

    /// Is called otherwise from now on: in groups within a lease, and by publishers that begin later.
    pub fn rename(&self, name: DisplayName) {
        name.as_str().clone_into(&mut self.inner.name.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Inner {
    pub(crate) fn name(&self) -> String {
        self.name.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Client {
    /// Joins the groups and begins to listen; returns once each is known to the registry and its place found.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], [`ClientError::NotAllowed`], [`ClientError::Unreachable`]; after a first success
    /// losses are events, and mended for ever.
    pub async fn listen(&self, options: ListenOptions) -> Result<Listener, ClientError> {
        listen::start(self, options).await
    }

    /// A publisher to one group; all of one client and group share one order.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], [`ClientError::NotAllowed`], [`ClientError::Unreachable`].
    pub async fn publisher(&self, group: &GroupName) -> Result<Publisher, ClientError> {
        publish::start(self, group).await
    }

    /// Reads a page of the log, oldest message first. `limit`: at most so many messages.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], [`ClientError::NotAllowed`], [`ClientError::Unreachable`].
    pub async fn history(
        &self,
        group: &GroupName,
        page: HistoryPage,
        limit: Option<u64>,
    ) -> Result<History, ClientError> {
        history::start(self, group, page, limit).await
    }

    /// Hears `everyone` by broadcast. `port`: `None` for the hub's, else 7405.
    ///
    /// # Errors
    /// [`ClientError::Failed`] if the port cannot be had.
    pub async fn broadcast_listener(&self, port: Option<u16>) -> Result<BroadcastListener, ClientError> {
        broadcast::of_client(self, port).await
    }
}
