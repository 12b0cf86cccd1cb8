//! Which site this client speaks with, whether it does so by TLS, and how it proves its device there.

use std::{
    fmt, io,
    sync::{Arc, OnceLock},
};

use gaung_net::tls;
use gaung_site::{
    Contact, Endpoint, ExpectedSite, KnownSites, KnownSitesError, KnownSitesFile, RecordError, Role, SiteChain,
    SiteCode, SiteId, TrustBasis, TrustError, device_proof, tls::client_config,
};
use rustls::{
    client::ResolvesClientCert,
    time_provider::{DefaultTimeProvider, TimeProvider},
};
use tokio::{net::TcpStream, task::spawn_blocking, time::timeout};

use crate::{
    device::Device,
    endpoint::{CONNECT, HostPort},
    error::{ClientError, CodeList},
    service_stream::ServiceStream,
    settings::Settings,
};

/// The site that a client speaks with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetSite {
    /// The site that the server has proven to belong to.
    pub id: SiteId,
    /// Whether this device had met it before.
    pub contact: Contact,
    /// Why it is trusted.
    pub basis: TrustBasis,
}

impl MetSite {
    /// Returns whether people should be shown the site's code, because nobody has given or seen it yet.
    #[must_use]
    pub fn is_first_contact(&self) -> bool {
        self.contact == Contact::First && self.basis == TrustBasis::FirstContact
    }
}

/// Whether a client adds the sites that it meets to those that its device knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SiteRecording {
    On,
    /// The client is to leave no trace.
    Off,
}

/// The trust of one client: the sites that its device knows, the code that was given for the server, and the site in use.
///
/// The first connection to the registry decides which site is in use. Every later one, to relays and hubs too, must be to the
/// same site.
pub(crate) struct SiteTrust {
    known: KnownSitesFile,
    recording: SiteRecording,
    pinned: Option<SiteCode>,
    insecure: bool,
    proof: Arc<dyn ResolvesClientCert>,
    clock: Arc<dyn TimeProvider>,
    /// The site that discovery named. It must be met then, but only its certificates prove it.
    claimed: OnceLock<SiteId>,
    met: OnceLock<MetSite>,
    /// When the registry's certificate was issued, in Unix seconds by its site's clock.
    certificate_issued: OnceLock<u64>,
}

/// How a connection is to be made.
enum Carriage {
    Plaintext,
    Tls(ExpectedSite),
}

impl SiteTrust {
    /// Makes the trust of a client that has met no site yet. `pinned`: the code of the only site to accept.
    ///
    /// # Errors
    /// [`ClientError::Usage`] if a site is pinned and TLS is off.
    pub(crate) fn new(
        settings: &Settings,
        pinned: Option<SiteCode>,
        device: &Device,
        recording: SiteRecording,
    ) -> Result<Self, ClientError> {
        if let Some(code) = pinned.filter(|_| settings.insecure) {
            return Err(ClientError::Usage(format!("the site {code} cannot prove itself on insecure connections")));
        }
        Ok(Self {
            known: KnownSitesFile::new(&settings.data_dir),
            recording,
            pinned,
            insecure: settings.insecure,
            proof: device_proof(device.key()).map_err(|error| ClientError::Failed(error.to_string()))?,
            clock: Arc::new(DefaultTimeProvider),
            claimed: OnceLock::new(),
            met: OnceLock::new(),
            certificate_issued: OnceLock::new(),
        })
    }

    /// Returns the site in use; `None` if the client speaks plaintext.
    pub(crate) fn met(&self) -> Option<MetSite> {
        self.met.get().copied()
    }

    /// Returns how many seconds ago the registry's certificate was issued, from its site's clock to this machine's.
    pub(crate) fn certificate_age(&self) -> Option<i64> {
        let now = self.clock.current_time()?.as_secs();
        Some(now.cast_signed() - self.certificate_issued.get()?.cast_signed())
    }

    /// Keeps those servers that say they belong to the pinned site, or without a pin to a known one, if there are any.
    ///
    /// # Errors
    /// [`ClientError::Failed`] if the known sites cannot be read.
    pub(crate) async fn prefer<T>(
        &self,
        servers: &mut Vec<T>,
        claimed: impl Fn(&T) -> Option<SiteId>,
    ) -> Result<(), ClientError> {
        let known = self.read().await?;
        let is_wanted = |server: &T| {
            claimed(server).is_some_and(|site| match self.pinned {
                Some(code) => site.code() == code,
                None => is_known(&known, site),
            })
        };
        if servers.iter().any(is_wanted) {
            servers.retain(is_wanted);
        }
        Ok(())
    }

    /// Expects the site that a server has named before it was connected to.
    pub(crate) fn expect_claimed(&self, site: Option<SiteId>) {
        if let Some(site) = site {
            self.claimed.get_or_init(|| site);
        }
    }

    /// Connects to the service that has `role`. `protocols`: ALPN names; empty for none.
    ///
    /// # Errors
    /// [`ClientError::OtherSite`]; [`ClientError::NoTls`]; [`ClientError::Unreachable`], also if a relay or hub does not prove
    /// itself; [`ClientError::Usage`] if plaintext is wanted from a known site; [`ClientError::Failed`] if the known sites
    /// cannot be read or written.
    pub(crate) async fn connect(
        &self,
        address: &HostPort,
        role: Role,
        protocols: &[&[u8]],
    ) -> Result<ServiceStream, ClientError> {
        let connecting = self.connect_unlimited(address, role, protocols);
        timeout(CONNECT, connecting).await.unwrap_or_else(|_| Err(unreachable(role, address, &"it does not answer")))
    }

    async fn connect_unlimited(
        &self,
        address: &HostPort,
        role: Role,
        protocols: &[&[u8]],
    ) -> Result<ServiceStream, ClientError> {
        let expected = match self.carriage(address, role).await? {
            Carriage::Tls(expected) => expected,
            Carriage::Plaintext => {
                let connected = TcpStream::connect((address.host.as_str(), address.port)).await;
                let stream = connected.map_err(|error| unreachable(role, address, &error))?;
                // Fails only if the peer is gone already, which the first write will show.
                let _ = stream.set_nodelay(true);
                return Ok(ServiceStream::Plain(stream));
            }
        };
        let proof = Some(Arc::clone(&self.proof));
        let config = client_config(expected.clone(), proof, protocols, Arc::clone(&self.clock));
        let config = config.map_err(|error| ClientError::Failed(error.to_string()))?;
        match tls::connect(&address.host, address.port, role, Arc::new(config)).await {
            Ok(stream) => {
                if role == Role::Registry {
                    let chain = SiteChain::from_der(stream.get_ref().1.peer_certificates().unwrap_or_default());
                    let chain = chain.map_err(|error| unproven(role, address, &error))?;
                    self.record(chain.site().map_err(|error| unproven(role, address, &error))?, address).await?;
                    chain.issued().map(|issued| self.certificate_issued.get_or_init(|| issued.as_secs()));
                }
                Ok(ServiceStream::Tls(Box::new(stream)))
            }
            Err(error) => Err(self.explain(address, role, &expected, &error).await),
        }
    }

    /// Decides how to connect. Relays and hubs are spoken to as their registry is.
    async fn carriage(&self, address: &HostPort, role: Role) -> Result<Carriage, ClientError> {
        if let Some(met) = self.met.get() {
            return Ok(Carriage::Tls(ExpectedSite::OneOf(Arc::new([met.id]))));
        }
        match role {
            Role::Registry => {}
            Role::Relay(_) | Role::Hub(_) if self.insecure => return Ok(Carriage::Plaintext),
            Role::Relay(_) | Role::Hub(_) => {
                return Err(unreachable(role, address, &"its registry was not reached yet"));
            }
        }
        let known = self.read().await?;
        let expected = match (known.expected(&endpoint(address)?, self.pinned), self.claimed.get()) {
            (ExpectedSite::Any, Some(claimed)) if !self.insecure || is_known(&known, *claimed) => {
                ExpectedSite::OneOf(Arc::new([*claimed]))
            }
            (expected, _) => expected,
        };
        if !self.insecure {
            return Ok(Carriage::Tls(expected));
        }
        if matches!(expected, ExpectedSite::Any) {
            return Ok(Carriage::Plaintext);
        }
        Err(ClientError::Usage(format!(
            "insecure connections to {address} are refused, because the site {} is known there; forget it first",
            CodeList(&self.codes_at(address, &expected).await),
        )))
    }

    /// Records that the registry at `address` is of the site `shown`, and uses that site from now on.
    async fn record(&self, shown: SiteId, address: &HostPort) -> Result<(), ClientError> {
        let endpoint = endpoint(address)?;
        let (file, recording, pinned) = (self.known.clone(), self.recording, self.pinned);
        let now = self.clock.current_time().map_or(0, |time| time.as_secs());
        let recording = spawn_blocking(move || {
            let meet = |known: &mut KnownSites| {
                let contact = known.record(shown, &endpoint, pinned, now)?;
                let site = known.sites().iter().find(|site| site.id == shown).expect("it was recorded");
                Ok(MetSite { id: shown, contact, basis: site.basis })
            };
            let mut known = file.read()?;
            let before = known.clone();
            let met: Result<_, RecordError> = meet(&mut known);
            // A folder that cannot be written is good enough for sites that are known.
            if met.is_err() || known == before || recording == SiteRecording::Off {
                return Ok(met);
            }
            file.update(meet)
        });
        let recorded = recording.await.map_err(|error| ClientError::Failed(error.to_string()))?;
        match recorded.map_err(|error: KnownSitesError| ClientError::Failed(error.to_string()))? {
            Ok(met) => {
                self.met.get_or_init(|| met);
                Ok(())
            }
            Err(RecordError::Trust(_)) => Err(self.other_site(address, shown, &ExpectedSite::Any).await),
            Err(error @ RecordError::Full) => Err(ClientError::Failed(error.to_string())),
        }
    }

    async fn read(&self) -> Result<KnownSites, ClientError> {
        let file = self.known.clone();
        let read = spawn_blocking(move || file.read()).await;
        read.map_err(|error| ClientError::Failed(error.to_string()))?
            .map_err(|error| ClientError::Failed(error.to_string()))
    }

    /// Says why no TLS connection came about.
    async fn explain(&self, address: &HostPort, role: Role, expected: &ExpectedSite, error: &io::Error) -> ClientError {
        match tls::trust_error(error) {
            Some(TrustError::OtherSite { shown, .. }) if role == Role::Registry => {
                return self.other_site(address, *shown, expected).await;
            }
            Some(error) => return unproven(role, address, error),
            None if !is_no_tls(error) => return unreachable(role, address, error),
            None => {}
        }
        match self.codes_at(address, expected).await {
            codes if codes.is_empty() => ClientError::NoTls(address.to_string()),
            codes => ClientError::Unreachable(format!(
                "the {} at {address} speaks no TLS, so it does not belong to the site {}: it is an older Gaung or not Gaung",
                whom(role),
                CodeList(&codes),
            )),
        }
    }

    async fn other_site(&self, address: &HostPort, shown: SiteId, expected: &ExpectedSite) -> ClientError {
        let expected = self.codes_at(address, expected).await;
        ClientError::OtherSite { address: address.to_string(), shown: shown.code(), expected }
    }

    /// Lists the codes of the sites that are expected at an address: the pinned one, the one in use, or those met there.
    async fn codes_at(&self, address: &HostPort, expected: &ExpectedSite) -> Vec<SiteCode> {
        match (expected, self.met.get(), endpoint(address)) {
            (ExpectedSite::Pinned(code), ..) => vec![*code],
            (_, Some(met), _) => vec![met.id.code()],
            (ExpectedSite::OneOf(sites), None, _) if sites.len() == 1 => vec![sites[0].code()],
            (ExpectedSite::OneOf(_) | ExpectedSite::Any, None, Ok(endpoint)) => {
                let known = self.read().await.unwrap_or_default();
                known
                    .sites()
                    .iter()
                    .filter(|site| site.endpoints.contains(&endpoint))
                    .map(|site| site.id.code())
                    .collect()
            }
            (ExpectedSite::OneOf(_) | ExpectedSite::Any, None, Err(_)) => Vec::new(),
        }
    }
}

impl fmt::Debug for SiteTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SiteTrust").field("pinned", &self.pinned).field("met", &self.met).finish_non_exhaustive()
    }
}

/// Returns what a service of this role is called in messages to people.
pub(crate) const fn whom(role: Role) -> &'static str {
    match role {
        Role::Registry => "server",
        Role::Relay(_) => "relay",
        Role::Hub(_) => "hub",
    }
}

fn is_known(known: &KnownSites, site: SiteId) -> bool {
    known.sites().iter().any(|known| known.id == site)
}

fn endpoint(address: &HostPort) -> Result<Endpoint, ClientError> {
    let endpoint = Endpoint::new(&address.host, address.port);
    endpoint.ok_or_else(|| ClientError::Usage(format!("{address} is not a server; write HOST or HOST:PORT")))
}

/// Returns whether a failed handshake means that the peer does not know TLS: it closed the connection or answered something else.
fn is_no_tls(error: &io::Error) -> bool {
    let is_closed = matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    );
    let is_tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
    is_closed || (error.kind() == io::ErrorKind::InvalidData && !is_tls)
}

fn unreachable(role: Role, address: &HostPort, why: &dyn fmt::Display) -> ClientError {
    ClientError::Unreachable(format!("cannot reach the {} at {address}: {why}", whom(role)))
}

fn unproven(role: Role, address: &HostPort, why: &TrustError) -> ClientError {
    ClientError::Unreachable(format!("the {} at {address} does not prove what it should: {why}", whom(role)))
}

#[cfg(test)]
pub(crate) mod tests;
