//! Identities and counters, each its own type so that none is taken for another.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};

/// A string or byte slice was not the identity it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {expected}")]
pub struct IdError {
    /// The identity that was to be read.
    pub what: &'static str,
    /// The form it must have.
    pub expected: &'static str,
}

macro_rules! bytes16 {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// All bytes zero: there is none.
            pub const NONE: Self = Self([0; 16]);

            /// Returns the 16 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// Whether this is [`Self::NONE`].
            #[must_use]
            pub fn is_none(&self) -> bool {
                *self == Self::NONE
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = IdError;
            fn try_from(bytes: &[u8]) -> Result<Self, IdError> {
                bytes.try_into().map(Self).map_err(|_| IdError { what: $what, expected: "16 bytes" })
            }
        }

        impl From<$name> for bytes::Bytes {
            fn from(id: $name) -> Self {
                Self::copy_from_slice(&id.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

macro_rules! hex_display {
    ($name:ident, $what:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let error = || IdError { what: $what, expected: "32 hexadecimal digits" };
                if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(error());
                }
                u128::from_str_radix(text, 16).map(|n| Self(n.to_be_bytes())).map_err(|_| error())
            }
        }
    };
}

bytes16!(
    /// A group: a UUIDv7, unique for ever.
    GroupId, "a group id"
);
bytes16!(
    /// A device: the first 16 bytes of the SHA-256 of its Ed25519 public key. [`DeviceId::NONE`] where an author has no device.
    DeviceId, "a device id"
);
bytes16!(
    /// A publishing process: 128 random bits, never derived from device or name.
    ClientId, "a client id"
);
bytes16!(
    /// The sender of a datagram that is not the relay's, in clear. A client uses the bits of its [`ClientId`].
    SenderId, "a sender id"
);
bytes16!(
    /// A relay, hub or registry: 128 random bits kept in its data folder.
    RelayId, "a service id"
);
hex_display!(DeviceId, "a device id");
hex_display!(ClientId, "a client id");
hex_display!(SenderId, "a sender id");
hex_display!(RelayId, "a service id");

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl FromStr for GroupId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        uuid::Uuid::try_parse(text)
            .map(|uuid| Self(uuid.into_bytes()))
            .map_err(|_| IdError { what: "a group id", expected: "a UUID" })
    }
}

impl DeviceId {
    /// The id of the device whose Ed25519 public key this is.
    #[must_use]
    pub fn of_public_key(public_key: &[u8; 32]) -> Self {
        Self(first_bytes(&Sha256::digest(public_key)))
    }
}

impl From<ClientId> for SenderId {
    fn from(client: ClientId) -> Self {
        Self(client.0)
    }
}

impl From<SenderId> for ClientId {
    fn from(sender: SenderId) -> Self {
        Self(sender.0)
    }
}

/// One log of a group: random, new at every reset. Seqs compare only within one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u64);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One opening of a group's log by a relay; rises by at least one at each, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u32);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A message's place in its log: dense, from 1, never wraps. 0 stands for "before the first".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first message; the head of an empty log.
    pub const ZERO: Self = Self(0);
    /// The seq of a log's first message.
    pub const FIRST: Self = Self(1);

    /// Returns the next seq.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Returns the seq `count` further on.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The messages from `first` to `last`, both included; `first <= last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeqRange {
    /// The first message of the range.
    pub first: Seq,
    /// The last message of the range, inclusive.
    pub last: Seq,
}

impl SeqRange {
    /// `None` if `last` is before `first`.
    #[must_use]
    pub fn new(first: Seq, last: Seq) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// How many messages; at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub const fn len(&self) -> u64 {
        (self.last.0 - self.first.0).saturating_add(1)
    }

    /// Whether `seq` lies in it.
    #[must_use]
    pub fn contains(&self, seq: Seq) -> bool {
        (self.first..=self.last).contains(&seq)
    }
}

impl fmt::Display for SeqRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}–{}", self.first, self.last) }
    }
}

/// A client's own count of its messages to one group, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ClientSeq(pub u64);

/// A datagram's number, per sender and epoch; transport only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pkt(pub u32);

impl Pkt {
    /// First-sent DATA count from here, without a hole.
    pub const FIRST_DATA: Self = Self(1);
    /// Everything else of the relay counts from here.
    pub const FIRST_OTHER: Self = Self(1 << 31);
}

/// How often a group's address has been given out; rises by one each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(pub u32);

/// Hash of group id, address generation and log id: lets a receiver drop strangers and stale groups at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupTag(pub u64);

impl GroupTag {
    /// First 8 bytes of SHA-256 over `"gaung-tag-v1"`, group id, generation and log id (numbers in network order).
    #[must_use]
    pub fn of(group: GroupId, generation: Generation, log: LogId) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"gaung-tag-v1");
        hash.update(group.0);
        hash.update(generation.0.to_be_bytes());
        hash.update(log.0.to_be_bytes());
        Self(u64::from_be_bytes(first_bytes(&hash.finalize())))
    }

    /// Those of the 4 generations before `generation`, the newest first: members that missed a move may still use them.
    pub fn former(group: GroupId, generation: Generation, log: LogId) -> impl Iterator<Item = Self> {
        let newest = (0..generation.0).rev().take(FORMER_GENERATIONS);
        newest.map(move |former| Self::of(group, Generation(former), log))
    }
}

/// Most groups have had no more.
const FORMER_GENERATIONS: usize = 4;

fn first_bytes<const N: usize>(digest: &[u8]) -> [u8; N] {
    *digest.first_chunk().expect("a SHA-256 digest has 32 bytes")
}
