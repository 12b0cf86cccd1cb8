//! How a service that runs apart from the registry gets its certificate, and keeps it renewed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use gaung_net::{backoff::Backoff, local_names, tls::trust_error};
use gaung_proto::pb::registry::{
    EnrolRequest, EnrolResponse, ServiceKind, registry_service_client::RegistryServiceClient,
};
use gaung_site::{
    EnrolToken, Enrolment, ExpectedSite, LocalName, RENEWAL, Role, ServiceFolder, ServiceKey, SiteChain, tls,
};
use rustls::{pki_types::UnixTime, time_provider::DefaultTimeProvider};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, transport::Channel};
use tracing::{debug, info, warn};

use super::ServiceCredentials;
use crate::rpc::ServiceEndpoint;

/// Folder of the certificates in a service's data folder.
const FOLDER: &str = "site";
/// Limit of one call, after which the registry counts as away.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// Delay before another attempt to enrol, while nothing else can be done: at first, and in the end.
const ENROL_RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Delay before another attempt to renew, for which there is more than a year.
const RENEWAL_RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60 * 60));

/// A service that may enrol: where, as what, and by which token.
#[derive(Debug, Clone)]
pub struct ServiceEnrolment {
    registry: String,
    role: Role,
    folder: Option<PathBuf>,
    token: Option<EnrolToken>,
}

/// A service with a certificate of its own, which it renews.
pub struct EnrolledService {
    enrolment: ServiceEnrolment,
    key: ServiceKey,
    credentials: ServiceCredentials,
}

impl ServiceEnrolment {
    /// Takes the registry as `HOST:PORT`, the data folder (`None`: certificate and key end with the process), and the token that a
    /// person brought, if any.
    #[must_use]
    pub fn new(registry: &str, role: Role, data: Option<&Path>, token: Option<EnrolToken>) -> Self {
        Self { registry: registry.to_owned(), role, folder: data.map(|data| data.join(FOLDER)), token }
    }

    /// Reads the certificate of an earlier start, or enrols by the token, for as long as it takes until the registry answers.
    /// `None`: there is neither, or `stop` was cancelled.
    ///
    /// # Errors
    /// If the folder is damaged, the registry refuses the token, or somebody else answers in its place.
    pub async fn credentials(self, stop: &CancellationToken) -> anyhow::Result<Option<EnrolledService>> {
        let folder = self.folder.as_deref().map(ServiceFolder::new);
        let damaged = || {
            let folder = self.folder.as_deref().unwrap_or(Path::new(FOLDER)).display();
            format!("cannot use the certificate in {folder}; move that folder away and enrol again with --enrol-token")
        };
        let kept = folder.as_ref().map_or(Ok(None), ServiceFolder::leaf).with_context(damaged)?;
        let key = folder.as_ref().map_or_else(ServiceKey::generate, ServiceFolder::key).with_context(damaged)?;
        if let Some((chain, leaf)) = kept {
            let is_own = chain.verify(&ExpectedSite::Any, self.role, UnixTime::now()).is_ok();
            let wanted = self.token.as_ref().and_then(EnrolToken::site);
            if is_own && wanted.is_none_or(|site| chain.site() == Ok(site)) {
                let credentials = ServiceCredentials::new(self.role, &chain, leaf)?;
                return Ok(Some(EnrolledService { enrolment: self, key, credentials }));
            }
            if self.token.is_none() {
                bail!("the certificate in the data folder is not this service's; enrol again with --enrol-token");
            }
        }
        let Some(token) = self.token.clone() else { return Ok(None) };
        let enrolment = Enrolment::new(token, self.role, ServiceKey::from_pkcs8(key.to_pkcs8())?)?;
        let Some(answer) = self.enrol(&enrolment, stop).await? else { return Ok(None) };
        let chain = SiteChain::from_der(&answer.chain)?;
        let leaf = enrolment.finish(&chain, &answer.mac, UnixTime::now()).context("the registry's answer")?;
        folder.map_or(Ok(()), |folder| folder.keep(&chain)).with_context(damaged)?;
        let credentials = ServiceCredentials::new(self.role, &chain, leaf)?;
        info!(site = %credentials.site().code(), "enrolled");
        Ok(Some(EnrolledService { enrolment: self, key, credentials }))
    }

    async fn enrol(&self, enrolment: &Enrolment, stop: &CancellationToken) -> anyhow::Result<Option<EnrolResponse>> {
        let clock = Arc::new(DefaultTimeProvider);
        let config = Arc::new(tls::client_config(enrolment.expected(), None, &[b"h2"], clock)?);
        let endpoint = ServiceEndpoint::with_config(&self.registry, Role::Registry, config).context("--registry")?;
        let mut client = RegistryServiceClient::new(endpoint.connect_lazy());
        let request = self.request(&enrolment.request()?.spki, &enrolment.request()?.mac);
        let mut backoff = Backoff::between(ENROL_RETRY.0, ENROL_RETRY.1);
        let mut is_reported = false;
        loop {
            let answer = tokio::select! {
                () = stop.cancelled() => return Ok(None),
                answer = within_limit(&mut client, request.clone()) => answer,
            };
            let status = match answer {
                Ok(answer) => return Ok(Some(answer)),
                Err(status) => status,
            };
            if let Some(error) = trust_error(&status) {
                bail!("not enrolled: {error}");
            }
            if matches!(status.code(), Code::Unauthenticated | Code::InvalidArgument | Code::Unimplemented) {
                bail!("the registry at {} does not enrol this service: {}", self.registry, status.message());
            }
            if !is_reported {
                warn!(registry = self.registry, why = status.message(), "not enrolled yet; retrying");
                is_reported = true;
            }
            if !backoff.wait(stop).await {
                return Ok(None);
            }
        }
    }

    fn request(&self, spki: &[u8], mac: &[u8]) -> EnrolRequest {
        let (kind, id, names) = match self.role {
            Role::Relay(id) => (ServiceKind::Relay, id, Vec::new()),
            Role::Hub(id) => (ServiceKind::Hub, id, local_names()),
            Role::Registry => unreachable!("a registry does not enrol"),
        };
        EnrolRequest {
            kind: kind.into(),
            service_id: id.into(),
            public_key: spki.to_vec().into(),
            mac: mac.to_vec().into(),
            names: names.iter().map(LocalName::to_string).collect(),
        }
    }
}

impl EnrolledService {
    /// Returns the credentials, which share each renewal.
    #[must_use]
    pub fn credentials(&self) -> ServiceCredentials {
        self.credentials.clone()
    }

    /// Renews the certificate now and then every [`RENEWAL`], until `stop`.
    ///
    /// # Errors
    /// If the registry's address is none. A renewal that fails is tried again; the certificate in use stays good.
    pub async fn keep_renewed(self, stop: CancellationToken) -> anyhow::Result<()> {
        let endpoint = ServiceEndpoint::new(&self.enrolment.registry, Role::Registry, Some(&self.credentials));
        let mut client = RegistryServiceClient::new(endpoint.context("--registry")?.connect_lazy());
        let mut backoff = Backoff::between(RENEWAL_RETRY.0, RENEWAL_RETRY.1);
        loop {
            let renewed = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                renewed = self.renew(&mut client) => renewed,
            };
            let delay = match renewed {
                Ok(()) => {
                    debug!("certificate renewed");
                    backoff.reset();
                    RENEWAL
                }
                Err(error) => {
                    debug!(error = format!("{error:#}"), "certificate not renewed; the one in use stays good");
                    backoff.next_delay()
                }
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = sleep(delay) => {}
            }
        }
    }

    async fn renew(&self, client: &mut RegistryServiceClient<Channel>) -> anyhow::Result<()> {
        let request = self.enrolment.request(&self.key.public().to_spki(), &[]);
        let chain = SiteChain::from_der(&within_limit(client, request).await?.chain)?;
        let own_site = ExpectedSite::OneOf(Arc::new([self.credentials.site()]));
        chain.verify(&own_site, self.enrolment.role, UnixTime::now())?;
        let leaf = gaung_site::Leaf::new(&chain, &self.key)?;
        if let Some(folder) = &self.enrolment.folder {
            ServiceFolder::new(folder).keep(&chain)?;
        }
        self.credentials.renew(leaf);
        Ok(())
    }
}

async fn within_limit(
    client: &mut RegistryServiceClient<Channel>,
    request: EnrolRequest,
) -> Result<EnrolResponse, Status> {
    match timeout(CALL_LIMIT, client.enrol(request)).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("no answer within 5 s")),
    }
}
