//! Reading fixed binary fields without a panic, in network order.

/// Bytes that are not what they should be. Drop the whole datagram, or end the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A length points past the end.
    #[error("ends too early")]
    Truncated,
    /// Bytes follow the end of the item.
    #[error("bytes follow the end")]
    Trailing,
    /// The bytes do not begin with the magic number.
    #[error("does not begin with the magic number")]
    Magic,
    /// A version that this program does not speak.
    #[error("has version {0}, this program speaks 1")]
    Version(u8),
    /// A datagram type that this program does not know.
    #[error("has the unknown type {0}")]
    Type(u8),
    /// A security suite that this program does not know.
    #[error("has the unknown suite {0}")]
    Suite(u8),
    /// A field outside its range.
    #[error("has a bad {0}")]
    Field(&'static str),
    /// Longer than is ever sent.
    #[error("is longer than {limit} bytes")]
    TooLong {
        /// The limit that was exceeded, bytes.
        limit: usize,
    },
}

/// A cursor over received bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// # Errors
    /// [`DecodeError::Trailing`] if bytes are left.
    pub(crate) const fn end(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }
}
