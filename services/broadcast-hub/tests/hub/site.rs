//! The site of all services in a test.

use std::sync::{Arc, LazyLock};

use gaung_site::{ExpectedSite, LocalName, Role, SiteAuthority, tls};
use rustls::{ClientConfig, client::ResolvesClientCert, pki_types::UnixTime, time_provider::DefaultTimeProvider};
use service_kit::secure::ServiceCredentials;

static SITE: LazyLock<SiteAuthority> = LazyLock::new(|| SiteAuthority::create().unwrap());

pub fn credentials(role: Role) -> ServiceCredentials {
    let names = [LocalName::address([127, 0, 0, 1].into()).unwrap()];
    ServiceCredentials::issue(&SITE, role, &names, UnixTime::now()).unwrap()
}

/// The configuration of a client that knows the site. `proof`: its device.
pub fn client_config(proof: Option<Arc<dyn ResolvesClientCert>>) -> Arc<ClientConfig> {
    let expected = ExpectedSite::Pinned(SITE.id().code());
    Arc::new(tls::client_config(expected, proof, &[], Arc::new(DefaultTimeProvider)).unwrap())
}
