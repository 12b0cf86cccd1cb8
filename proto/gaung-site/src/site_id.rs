//! The identity of a site, and the shorter code of it that people compare and type.

use std::{fmt, str::FromStr};

use ring::digest::{SHA256, digest};

use crate::base32;

/// Bytes of a site's identity that its code has: nobody finds another key with the same 80 bits.
const CODE_BYTES: usize = 10;

/// A site: the first 16 bytes of the SHA-256 of its root's public key (DER of SubjectPublicKeyInfo). Shown as hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId([u8; 16]);

impl SiteId {
    /// Returns the site whose root has this public key.
    pub(crate) fn of_root_key(spki: &[u8]) -> Self {
        let hash = digest(&SHA256, spki);
        Self(*hash.as_ref().first_chunk().expect("SHA-256 gives 32 bytes"))
    }

    /// Takes the 16 bytes of an identity that was kept or received.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns the code that people see.
    #[must_use]
    pub fn code(self) -> SiteCode {
        SiteCode(*self.0.first_chunk().expect("a code is shorter than an identity"))
    }
}

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SiteId({self})")
    }
}

impl FromStr for SiteId {
    type Err = CodeError;
    fn from_str(text: &str) -> Result<Self, CodeError> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(CodeError);
        }
        u128::from_str_radix(text, 16).map(|number| Self(number.to_be_bytes())).map_err(|_| CodeError)
    }
}

/// A text is no identity or code of a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a site's code, which has 16 letters and digits, such as K7QX-2MPA-Q9DV-E4TB")]
pub struct CodeError;

/// The first 80 bits of a [`SiteId`] in base 32, shown in fours: `K7QX-2MPA-Q9DV-E4TB`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SiteCode([u8; CODE_BYTES]);

impl fmt::Display for SiteCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = base32::encode(&self.0);
        let (first, rest) = text.split_at(4);
        f.write_str(first)?;
        rest.as_bytes().chunks(4).try_for_each(|four| write!(f, "-{}", String::from_utf8_lossy(four)))
    }
}

impl fmt::Debug for SiteCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SiteCode({self})")
    }
}

impl FromStr for SiteCode {
    type Err = CodeError;
    fn from_str(text: &str) -> Result<Self, CodeError> {
        base32::decode(text).map(Self).ok_or(CodeError)
    }
}
