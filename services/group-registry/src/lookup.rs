//! How a request names a group, and the error if there is none.

use gaung_proto::{GroupId, GroupName};

use crate::store::StoreError;

/// How a request names a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupBy {
    /// By its name.
    Name(GroupName),
    /// By its id.
    Id(GroupId),
}

/// Why a group cannot be read or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// There is no such group, or it was deleted.
    #[error("there is no group {0}; `gaung group list` shows those there are")]
    NotFound(String),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}
