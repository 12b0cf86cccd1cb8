//! Which sites a client accepts.

use std::sync::Arc;

use crate::{
    error::TrustError,
    site_id::{SiteCode, SiteId},
};

/// The sites that a client accepts on a connection.
#[derive(Debug, Clone)]
pub enum ExpectedSite {
    /// The site with this code alone.
    Pinned(SiteCode),
    /// Any of these sites.
    OneOf(Arc<[SiteId]>),
    /// Any site: the first contact, made without a code.
    Any,
}

impl ExpectedSite {
    /// Checks a site that has been met.
    ///
    /// # Errors
    /// [`TrustError::OtherSite`].
    pub fn check(&self, shown: SiteId) -> Result<(), TrustError> {
        let (accepted, pinned) = match self {
            Self::Pinned(code) => (shown.code() == *code, Some(*code)),
            Self::OneOf(sites) => (sites.contains(&shown), None),
            Self::Any => (true, None),
        };
        if accepted { Ok(()) } else { Err(TrustError::OtherSite { shown, pinned }) }
    }
}
