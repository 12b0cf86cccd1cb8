//! How a group is named in a request, and what is said if there is none.

use gaung_proto::{GroupId, GroupName};

use crate::store::StoreError;

/// How a group is named in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupBy {
    /// By its name.
    Name(GroupName),
    /// By its id.
    Id(GroupId),
}

/// A group cannot be read or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// There is none, or it was deleted.
    #[error("there is no group {0}; `gaung group list` shows those there are")]
    NotFound(String),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}
