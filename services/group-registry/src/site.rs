//! The site that this registry is: its authority, and the credentials of the services in this process.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use gaung_net::{interface::LinkWatch, local_names};
use gaung_site::{AuthorityError, LocalName, RENEWAL, Role, SiteAuthority, SiteId};
use rustls::pki_types::UnixTime;
use service_kit::secure::ServiceCredentials;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// The authority of the site, and every leaf that it issued within this process, which it renews.
#[derive(Debug)]
pub(crate) struct SiteCredentials {
    authority: Arc<SiteAuthority>,
    registry: ServiceCredentials,
    /// Those of relay and hub, where they run in this process.
    issued: Vec<ServiceCredentials>,
}

impl SiteCredentials {
    /// Reads the site of `folder`, or makes one if there is no such folder; `None`: a site that ends with the process.
    ///
    /// # Errors
    /// If the folder holds anything but one whole site, which is never replaced: all who know the site would refuse the new one.
    pub(crate) fn open(folder: Option<&Path>, now: UnixTime) -> anyhow::Result<Self> {
        let authority = match folder {
            None => SiteAuthority::create()?,
            Some(folder) => SiteAuthority::load_or_create(folder).with_context(|| {
                format!(
                    "cannot use the certificates in {}: restore that folder from a copy. Without one, move it away: the next start \
                     makes a new site, which every device has to trust anew",
                    folder.display()
                )
            })?,
        };
        let registry = issue(&authority, Role::Registry, now)?;
        Ok(Self { authority: Arc::new(authority), registry, issued: Vec::new() })
    }

    /// Returns the site's identity.
    pub(crate) fn id(&self) -> SiteId {
        self.authority.id()
    }

    /// Returns what issues the site's leaves.
    pub(crate) fn authority(&self) -> Arc<SiteAuthority> {
        Arc::clone(&self.authority)
    }

    /// Returns the registry's own credentials.
    pub(crate) const fn registry(&self) -> &ServiceCredentials {
        &self.registry
    }

    /// Issues credentials to another service of this process.
    pub(crate) fn issue(&mut self, role: Role, now: UnixTime) -> Result<ServiceCredentials, AuthorityError> {
        let credentials = issue(&self.authority, role, now)?;
        self.issued.push(credentials.clone());
        Ok(credentials)
    }

    /// Renews all credentials every [`RENEWAL`], and when the interfaces of `watch` change, until `stop`.
    pub(crate) async fn keep_renewed(
        self,
        mut watch: LinkWatch,
        clock: impl Fn() -> UnixTime,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut due = interval_at(Instant::now() + RENEWAL, RENEWAL);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = due.tick() => {}
                // A hub's leaf names the addresses under which browsers open its page.
                _ = watch.changed() => {}
            }
            match self.renew(clock()) {
                Ok(()) => debug!("certificates renewed"),
                Err(error) => warn!(%error, "certificates not renewed; those in use stay good"),
            }
        }
    }

    fn renew(&self, now: UnixTime) -> Result<(), AuthorityError> {
        for credentials in self.issued.iter().chain([&self.registry]) {
            let role = credentials.role();
            credentials.renew(self.authority.leaf(role, &names_for(role), now)?);
        }
        Ok(())
    }
}

fn issue(authority: &SiteAuthority, role: Role, now: UnixTime) -> Result<ServiceCredentials, AuthorityError> {
    ServiceCredentials::issue(authority, role, &names_for(role), now)
}

/// Returns the names that a leaf has beside its role: browsers open a hub's page, and nothing else of the site.
fn names_for(role: Role) -> Vec<LocalName> {
    match role {
        Role::Registry | Role::Relay(_) => Vec::new(),
        Role::Hub(_) => local_names(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{fs, time::Duration};

    use gaung_proto::RelayId;
    use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, pki_types::CertificateDer};

    use super::*;

    const NOW: u64 = 1_796_000_000;
    const RELAY: Role = Role::Relay(RelayId([7; 16]));

    fn at(unix: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(unix))
    }

    /// The leaf that the service `role` shows at a listener to another service of its site.
    fn shown(listener: &Arc<ServerConfig>, role: Role, config: &Arc<ClientConfig>) -> CertificateDer<'static> {
        let mut client = ClientConnection::new(Arc::clone(config), role.server_name()).unwrap();
        let mut server = ServerConnection::new(Arc::clone(listener)).unwrap();
        while client.wants_write() || server.wants_write() {
            let (mut there, mut back) = (Vec::new(), Vec::new());
            client.write_tls(&mut there).unwrap();
            server.read_tls(&mut &there[..]).unwrap();
            server.process_new_packets().unwrap();
            server.write_tls(&mut back).unwrap();
            client.read_tls(&mut &back[..]).unwrap();
            client.process_new_packets().unwrap();
        }
        client.peer_certificates().unwrap()[0].clone().into_owned()
    }

    #[test]
    fn a_data_folder_without_a_site_gets_one_and_keeps_it() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join("registry.redb"), "of before").unwrap();
        let folder = data.path().join("site");
        let first = SiteCredentials::open(Some(&folder), at(NOW)).unwrap();
        let again = SiteCredentials::open(Some(&folder), at(NOW + 1)).unwrap();
        assert_eq!(again.id(), first.id());
        assert_ne!(SiteCredentials::open(None, at(NOW)).unwrap().id(), first.id());
    }

    #[test]
    fn a_damaged_site_is_an_error_that_says_what_to_do_and_is_left_as_it_is() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("site");
        SiteCredentials::open(Some(&folder), at(NOW)).unwrap();
        let other = data.path().join("other");
        SiteCredentials::open(Some(&other), at(NOW)).unwrap();
        for name in ["root.der", "issuer.der", "issuer.key"] {
            let (path, good) = (folder.join(name), fs::read(folder.join(name)).unwrap());
            for damage in [None, Some(Vec::new()), Some(b"nonsense".to_vec()), fs::read(other.join(name)).ok()] {
                match &damage {
                    None => fs::remove_file(&path).unwrap(),
                    Some(bytes) => fs::write(&path, bytes).unwrap(),
                }
                let error = format!("{:#}", SiteCredentials::open(Some(&folder), at(NOW)).unwrap_err());
                assert!(error.contains(&folder.display().to_string()) && error.contains("restore"), "{name}: {error}");
                assert_eq!(fs::read(&path).ok(), damage, "{name} is left as it is");
            }
            fs::write(&path, good).unwrap();
        }
        SiteCredentials::open(Some(&folder), at(NOW)).unwrap();
    }

    #[test]
    fn a_renewal_replaces_every_leaf_of_the_process_under_open_listeners() {
        let mut site = SiteCredentials::open(None, at(NOW)).unwrap();
        let relay = site.issue(RELAY, at(NOW)).unwrap();
        let (registry_port, relay_port) = (site.registry().server_config(&[]), relay.server_config(&[]));
        let leaves = |site: &SiteCredentials| {
            [
                shown(&registry_port, Role::Registry, &relay.client_config(&[])),
                shown(&relay_port, RELAY, &site.registry().client_config(&[])),
            ]
        };
        let first = leaves(&site);
        assert_eq!(leaves(&site), first);
        site.renew(at(NOW + RENEWAL.as_secs())).unwrap();
        let renewed = leaves(&site);
        assert!(renewed[0] != first[0] && renewed[1] != first[1]);
    }
}
