//! `HOST#CODE`: where a server is, and which site must answer there.

use crate::site_id::{CodeError, SiteCode};

/// What a person gives as `--server`: an address, and the code of the site if it is pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerAddress<'a> {
    /// Everything before the `#`, unchecked: host, or host and port.
    pub host: &'a str,
    /// The code after the `#`; `None` if there is no `#`.
    pub code: Option<SiteCode>,
}

impl<'a> ServerAddress<'a> {
    /// Splits at the last `#`.
    ///
    /// # Errors
    /// [`CodeError`] if what follows is no code, also if nothing follows: a pin that was cut off must not become no pin.
    pub fn parse(text: &'a str) -> Result<Self, CodeError> {
        match text.rsplit_once('#') {
            None => Ok(Self { host: text, code: None }),
            Some((host, code)) => Ok(Self { host, code: Some(code.parse()?) }),
        }
    }
}
