//! The text form of known sites: a first line with the version, then a line for each site.
//!
//! ```text
//! gaung-known-sites-1
//! 3b1f0c9a5de24c6f8f0a1b2c3d4e5f60 code 1780000000 192.168.1.10:7400 gaung.lan:7400
//! ```

use std::fmt;

use super::{Endpoint, KnownSite, KnownSites, MAX_ENDPOINTS, MAX_SITES, TrustBasis};

const VERSION: &str = "gaung-known-sites-1";
const FIRST_CONTACT: &str = "first-contact";
const CODE: &str = "code";

impl fmt::Display for KnownSites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{VERSION}")?;
        for site in &self.sites {
            let basis = match site.basis {
                TrustBasis::FirstContact => FIRST_CONTACT,
                TrustBasis::Code => CODE,
            };
            write!(f, "{} {basis} {}", site.id, site.since_unix_s)?;
            site.endpoints.iter().try_for_each(|endpoint| write!(f, " {endpoint}"))?;
            writeln!(f)?;
        }
        Ok(())
    }
}

impl KnownSites {
    /// Reads the text form. A line that does not fit fails the whole: half of the sites that are known would make the others
    /// unknown, and replaceable.
    ///
    /// # Errors
    /// The number of the first line that does not fit, from 1.
    pub fn parse(text: &str) -> Result<Self, usize> {
        let mut lines = text.lines();
        if lines.next() != Some(VERSION) {
            return Err(1);
        }
        let mut known = Self::default();
        for (index, line) in lines.enumerate() {
            let site = parse_line(line).filter(|site| known.sites.iter().all(|other| other.id != site.id));
            let is_full = known.sites.len() >= MAX_SITES;
            known.sites.push(site.filter(|_| !is_full).ok_or(index + 2)?);
        }
        Ok(known)
    }
}

fn parse_line(line: &str) -> Option<KnownSite> {
    let mut words = line.split(' ');
    let id = words.next()?.parse().ok()?;
    let basis = match words.next()? {
        FIRST_CONTACT => TrustBasis::FirstContact,
        CODE => TrustBasis::Code,
        _ => return None,
    };
    let since_unix_s = words.next()?.parse().ok()?;
    let endpoints: Vec<Endpoint> = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
    (endpoints.len() <= MAX_ENDPOINTS).then_some(KnownSite { id, basis, since_unix_s, endpoints })
}
