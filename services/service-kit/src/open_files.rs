//! The limit of open files and sockets of this process, and the reservations of its listeners.
//!
//! Listeners reserve file descriptors for their connections here, so that all of them together leave some for logs and
//! stores: without descriptors, a service can neither accept a connection nor write.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors that no listener gets: for logs, stores, UDP sockets of every network and thread, and outgoing connections.
const OWN_FILES: u64 = 256;
/// Descriptors that are reserved in this process.
static RESERVED: AtomicU64 = AtomicU64::new(0);

/// The reserved descriptors of one listener; dropping it releases them.
#[derive(Debug)]
pub struct ReservedFiles(u64);

impl ReservedFiles {
    /// Reserves `wanted` descriptors, or as many as the limit leaves, but at least `least`.
    #[must_use]
    pub fn reserve(wanted: u64, least: u64) -> Self {
        // Where the system does not report its limit, the customary one is assumed.
        let limit = limit().unwrap_or(1024);
        let granted = |reserved: u64| wanted.min(limit.saturating_sub(OWN_FILES + reserved)).max(least);
        let reserve = |reserved| Some(reserved + granted(reserved));
        let before = RESERVED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve).unwrap_or_else(|same| same);
        Self(granted(before))
    }

    /// Returns the number of reserved descriptors.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.0
    }
}

impl Drop for ReservedFiles {
    fn drop(&mut self) {
        RESERVED.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// Raises the limit of open files to what the system allows; returns it.
///
/// Shells and desktops start programs with a low soft limit (often 1024) for the sake of programs that use `select`, which
/// these do not.
///
/// # Errors
/// The system does not tell, or refuses.
pub fn raise_limit() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// Returns the present limit of open files.
///
/// # Errors
/// The system does not tell.
pub fn limit() -> io::Result<u64> {
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let hard = getrlimit(Resource::RLIMIT_NOFILE).unwrap().1;
        setrlimit(Resource::RLIMIT_NOFILE, hard - 1, hard).unwrap();
        assert_eq!(raise_limit().unwrap(), hard);
        assert_eq!(limit().unwrap(), hard);
    }

    #[test]
    fn listeners_together_leave_files_for_the_rest() {
        let limit = raise_limit().unwrap();
        let first = ReservedFiles::reserve(limit / 2, 1);
        assert_eq!(first.count(), limit / 2);
        let second = ReservedFiles::reserve(limit, 1);
        assert!(first.count() + second.count() <= limit - OWN_FILES);
        assert_eq!(ReservedFiles::reserve(10, 7).count(), 7, "a listener without any place would be of no use");
        drop(first);
        assert_eq!(ReservedFiles::reserve(10, 1).count(), 10);
    }
}
