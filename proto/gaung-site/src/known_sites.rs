//! The sites that a device knows, and which it may meet where.
//!
//! Addresses are hints, because routers give them out anew: a known site is recognised at any address, and an unknown one is
//! refused where a known one was met.

mod endpoint;
mod file;
mod text;

use std::sync::Arc;

pub use self::{
    endpoint::{Endpoint, EndpointError},
    file::{KnownSitesError, KnownSitesFile},
};
use crate::{
    error::TrustError,
    expected_site::ExpectedSite,
    site_id::{SiteCode, SiteId},
};

/// Sites that one device knows at most. No further one is added, since forgetting one would let another take its place.
const MAX_SITES: usize = 1024;
/// Addresses kept for a site; the one that was met longest ago makes room.
const MAX_ENDPOINTS: usize = 8;

/// Why a site is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustBasis {
    /// It was the first at its address, and nobody compared its code.
    FirstContact,
    /// A person gave its code.
    Code,
}

/// A site that this device has met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSite {
    /// The site.
    pub id: SiteId,
    /// Why it is trusted.
    pub basis: TrustBasis,
    /// When it was met first, Unix time in seconds, by this device's clock.
    pub since_unix_s: u64,
    /// Where it was met, the newest first; at most 8.
    pub endpoints: Vec<Endpoint>,
}

/// What a meeting with a site was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// It was met here before.
    Known,
    /// It is known, and was met at this address for the first time.
    Moved,
    /// It was unknown until now; people should be shown its code.
    First,
}

/// The sites that a device knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownSites {
    sites: Vec<KnownSite>,
}

impl KnownSites {
    /// Returns the sites, in the order in which they were met first.
    #[must_use]
    pub fn sites(&self) -> &[KnownSite] {
        &self.sites
    }

    /// Returns which sites may be met at `endpoint`: the pinned one; without a pin any known one where a known one was met, and
    /// else any.
    #[must_use]
    pub fn expected(&self, endpoint: &Endpoint, pinned: Option<SiteCode>) -> ExpectedSite {
        match pinned {
            Some(code) => ExpectedSite::Pinned(code),
            None if self.sites.iter().any(|site| site.endpoints.contains(endpoint)) => {
                ExpectedSite::OneOf(self.sites.iter().map(|site| site.id).collect::<Arc<[_]>>())
            }
            None => ExpectedSite::Any,
        }
    }

    /// Records that `site` has proven itself at `endpoint`. It is judged anew, since another process may have met another site
    /// there meanwhile. A pin makes a site trusted by its code.
    ///
    /// # Errors
    /// [`TrustError::OtherSite`]; [`RecordError::Full`].
    pub fn record(
        &mut self,
        site: SiteId,
        endpoint: &Endpoint,
        pinned: Option<SiteCode>,
        now_unix_s: u64,
    ) -> Result<Contact, RecordError> {
        self.expected(endpoint, pinned).check(site)?;
        let (index, is_first) = match self.sites.iter().position(|known| known.id == site) {
            Some(index) => (index, false),
            None if self.sites.len() >= MAX_SITES => return Err(RecordError::Full),
            None => {
                let basis = TrustBasis::FirstContact;
                self.sites.push(KnownSite { id: site, basis, since_unix_s: now_unix_s, endpoints: Vec::new() });
                (self.sites.len() - 1, true)
            }
        };
        let known = &mut self.sites[index];
        if pinned.is_some() {
            known.basis = TrustBasis::Code;
        }
        let was_here = known.endpoints.contains(endpoint);
        known.endpoints.retain(|other| other != endpoint);
        known.endpoints.insert(0, endpoint.clone());
        known.endpoints.truncate(MAX_ENDPOINTS);
        Ok(match (is_first, was_here) {
            (true, _) => Contact::First,
            (false, true) => Contact::Known,
            (false, false) => Contact::Moved,
        })
    }

    /// Forgets a site, so that another may be met first where it was. Returns whether it was known.
    pub fn forget(&mut self, site: SiteId) -> bool {
        let before = self.sites.len();
        self.sites.retain(|known| known.id != site);
        self.sites.len() < before
    }
}

/// A meeting with a site is not recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The site may not be met there.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The device knows as many sites as it keeps.
    #[error("this device knows {MAX_SITES} sites already; forget some")]
    Full,
}
