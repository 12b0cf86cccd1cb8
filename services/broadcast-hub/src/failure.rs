//! Why a request of a session failed.

use tonic::Code;

/// The code and the text that a session is sent for a request that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What a program goes by.
    pub code: Code,
    /// What a person reads.
    pub message: String,
}

impl Failure {
    /// A failure with this code and text.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Refuses what others on the network must not read.
    pub(crate) fn exposed() -> Self {
        Self::new(
            Code::PermissionDenied,
            "private groups and invites need HTTPS: put https:// before the page's address",
        )
    }
}
