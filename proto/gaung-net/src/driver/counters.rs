//! Counters of a driver, readable from other threads.

use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;

/// Why a datagram did not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SendFailure {
    /// No route, network or host down, interface gone.
    Unreachable,
    /// Longer than the interface's MTU: it is never fragmented.
    TooBig,
    /// The peer's machine said that nobody listens.
    Refused,
    /// The system had no memory or queue for it.
    NoBuffers,
    /// A firewall or sandbox forbids it.
    NotAllowed,
    /// None of the driver's sockets fits the destination.
    NoSocket,
    /// The socket stayed full for too long.
    Expired,
    /// The send failed for any other reason.
    Other,
}

impl SendFailure {
    /// Every kind, to be labels of a metric.
    pub const ALL: [Self; 8] = [
        Self::Unreachable,
        Self::TooBig,
        Self::Refused,
        Self::NoBuffers,
        Self::NotAllowed,
        Self::NoSocket,
        Self::Expired,
        Self::Other,
    ];

    /// The kind as a metric's label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::TooBig => "too_big",
            Self::Refused => "refused",
            Self::NoBuffers => "no_buffers",
            Self::NotAllowed => "not_allowed",
            Self::NoSocket => "no_socket",
            Self::Expired => "expired",
            Self::Other => "other",
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the system's errors are many")]
    pub(super) fn of(errno: Errno) -> Self {
        match errno {
            Errno::ENETUNREACH
            | Errno::EHOSTUNREACH
            | Errno::ENETDOWN
            | Errno::EHOSTDOWN
            | Errno::ENODEV
            | Errno::ENXIO
            | Errno::EADDRNOTAVAIL => Self::Unreachable,
            Errno::EMSGSIZE => Self::TooBig,
            Errno::ECONNREFUSED => Self::Refused,
            Errno::ENOBUFS | Errno::ENOMEM => Self::NoBuffers,
            Errno::EPERM | Errno::EACCES => Self::NotAllowed,
            _ => Self::Other,
        }
    }
}

/// Totals since the driver started; each rises only.
#[derive(Debug, Default)]
pub struct Counters {
    sent_datagrams: AtomicU64,
    sent_bytes: AtomicU64,
    send_calls: AtomicU64,
    received_datagrams: AtomicU64,
    received_bytes: AtomicU64,
    receive_calls: AtomicU64,
    send_failures: [AtomicU64; SendFailure::ALL.len()],
    sends_blocked: AtomicU64,
    receive_errors: AtomicU64,
    socket_failures: AtomicU64,
}

impl Counters {
    /// Datagrams that left, once for each interface.
    #[must_use]
    pub fn sent_datagrams(&self) -> u64 {
        self.sent_datagrams.load(Ordering::Relaxed)
    }

    /// UDP payload bytes that left, once for each interface.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    /// System calls in which datagrams left; fewer than datagrams where they leave in batches.
    #[must_use]
    pub fn send_calls(&self) -> u64 {
        self.send_calls.load(Ordering::Relaxed)
    }

    /// Datagrams that were handed to the engine.
    #[must_use]
    pub fn received_datagrams(&self) -> u64 {
        self.received_datagrams.load(Ordering::Relaxed)
    }

    /// UDP payload bytes that were handed to the engine.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    /// System calls in which datagrams came.
    #[must_use]
    pub fn receive_calls(&self) -> u64 {
        self.receive_calls.load(Ordering::Relaxed)
    }

    /// Datagrams that did not leave, by reason.
    #[must_use]
    pub fn send_failures(&self, kind: SendFailure) -> u64 {
        self.send_failures[kind as usize].load(Ordering::Relaxed)
    }

    /// Times that a socket was full and the driver waited for it.
    #[must_use]
    pub fn sends_blocked(&self) -> u64 {
        self.sends_blocked.load(Ordering::Relaxed)
    }

    /// Returns how many reads failed.
    #[must_use]
    pub fn receive_errors(&self) -> u64 {
        self.receive_errors.load(Ordering::Relaxed)
    }

    /// Sockets that could not be opened.
    #[must_use]
    pub fn socket_failures(&self) -> u64 {
        self.socket_failures.load(Ordering::Relaxed)
    }

    pub(super) fn sent(&self, datagrams: usize, bytes: usize) {
        self.send_calls.fetch_add(1, Ordering::Relaxed);
        self.sent_datagrams.fetch_add(datagrams as u64, Ordering::Relaxed);
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn received(&self, datagrams: usize, bytes: usize) {
        self.receive_calls.fetch_add(1, Ordering::Relaxed);
        self.received_datagrams.fetch_add(datagrams as u64, Ordering::Relaxed);
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn send_failed(&self, kind: SendFailure) {
        self.send_failures[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn send_blocked(&self) {
        self.sends_blocked.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn receive_failed(&self) {
        self.receive_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn socket_failed(&self) {
        self.socket_failures.fetch_add(1, Ordering::Relaxed);
    }
}
