//! A server that discovery found, for people and programs to choose from.

use std::fmt;

use gaung_site::SiteCode;

/// A server that answered discovery.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FoundServer {
    /// Its registry as `HOST:PORT`, valid for [`crate::Settings::server`].
    pub server: String,
    /// The name that it advertises; may be empty.
    pub name: String,
    /// The code of the site that it says it belongs to, which it has not proven; `None` if it says nothing.
    pub site: Option<SiteCode>,
    /// Whether another server that answered has the same identity: one of them runs on a copy of the other's data
    /// folder.
    pub is_copy: bool,
}

impl fmt::Display for FoundServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.server)?;
        if !self.name.is_empty() {
            write!(f, " ({})", self.name)?;
        }
        if let Some(code) = self.site {
            write!(f, " {code}")?;
        }
        if self.is_copy {
            f.write_str(" [another has the same identity: a data folder was copied]")?;
        }
        Ok(())
    }
}
