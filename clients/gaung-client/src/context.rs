//! The state that all calls, listeners and publishers of one client share.

use std::sync::{Arc, PoisonError, RwLock};

use gaung_proto::{ClientId, DisplayName};
use gaung_site::ServerAddress;
use rand::Rng as _;

use crate::{
    device::Device,
    error::ClientError,
    hub_choice::HubChoice,
    server::Server,
    settings::Settings,
    site_trust::{SiteRecording, SiteTrust},
    tickets::Tickets,
};

/// The server, identity, tickets and hub experience of one [`crate::Client`].
///
/// The calls in [`crate::calls`] are methods of it. It knows none of its users, so that listeners and publishers can
/// hold it without holding each other.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) server: Server,
    pub(crate) trust: Arc<SiteTrust>,
    pub(crate) device: Device,
    /// Identifies this process; random.
    pub(crate) client_id: ClientId,
    /// Proves to relays that what is published under the client id comes from this process. Sent to nobody else.
    pub(crate) stream_key: [u8; 16],
    pub(crate) tickets: Tickets,
    pub(crate) hubs: HubChoice,
    name: RwLock<String>,
}

impl Context {
    /// Finds the server and connects to its registry.
    ///
    /// # Errors
    /// As [`Server::find`].
    pub(crate) async fn connect(
        device: Device,
        settings: Settings,
        recording: SiteRecording,
    ) -> Result<Self, ClientError> {
        let named = ServerAddress::parse(settings.server.as_deref().unwrap_or_default());
        let ServerAddress { host, code } = named.map_err(|error| ClientError::Usage(error.to_string()))?;
        if host.is_empty() && code.is_none() && settings.server.is_some() {
            return Err(ClientError::Usage("the server has no name; write HOST or HOST:PORT".to_owned()));
        }
        let trust = Arc::new(SiteTrust::new(&settings, code, &device, recording)?);
        let named = Some(host).filter(|host| !host.is_empty());
        let server = Server::find(named, settings.iface.as_deref(), Arc::clone(&trust)).await?;
        Ok(Self::with(server, trust, device, settings))
    }

    /// Makes the state of a new client process of a known server.
    pub(crate) fn with(server: Server, trust: Arc<SiteTrust>, device: Device, settings: Settings) -> Self {
        let mut rng = rand::rng();
        Self {
            server,
            trust,
            device,
            client_id: ClientId(rng.random()),
            stream_key: rng.random(),
            tickets: Tickets::default(),
            hubs: HubChoice::default(),
            name: RwLock::new(settings.name.as_ref().map_or("anonymous", DisplayName::as_str).to_owned()),
            settings,
        }
    }

    /// The display name in use.
    pub(crate) fn name(&self) -> String {
        self.name.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the display name.
    pub(crate) fn rename(&self, name: &DisplayName) {
        name.as_str().clone_into(&mut self.name.write().unwrap_or_else(PoisonError::into_inner));
    }
}
