//! The reasons for which sessions end: the text for the peer, whether it should reconnect, and the counter of each.

use std::{fmt, net::SocketAddr};

use gaung_engine::ForeignProtocol;
use prometheus_client::metrics::counter::Counter;
use service_kit::secure::OtherDevice;

use crate::metrics::Figures;

/// Why the hub ends a session. Its text is for people and goes to the peer with the last frame or line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndReason {
    /// The hub is shutting down.
    HubStopping,
    /// The peer read nothing of what waits for [`stall`](crate::Limits::stall).
    Unresponsive,
    /// The peer fell behind the ring again within [`resync`](crate::Limits::resync) of being resynchronised.
    TooSlow,
    /// More answers are pending for the peer than a session may have.
    AnswersUnread,
    /// The session was evicted for an address with fewer sessions.
    Evicted,
    /// The place among the sessions that have not said hello was evicted for another address.
    HandshakeEvicted,
    /// The place for reading the log was evicted for another address while the peer read nothing.
    HistoryEvicted,
    /// No hello came within [`hello`](crate::Limits::hello).
    NoHello,
    /// The registry has not been reached since the peer said hello.
    NotReady,
    /// The peer sent nothing for [`idle`](crate::Limits::idle).
    Silent,
    /// The same for a text session, which may be silent until the hub is nearly full.
    SilentWhileFull,
    /// The peer sent bytes or frames that the protocol forbids; the text says what is wrong with them.
    ProtocolError(String),
    /// The peer's hello named another device than the one whose key it has proven.
    OtherDevice,
    /// The peer of the text port speaks another protocol.
    ForeignProtocol {
        /// The protocol, as far as it was recognised.
        protocol: ForeignProtocol,
        /// Where browsers find the page, if the hub serves one.
        page: Option<SocketAddr>,
    },
    /// The peer of a text session has sent its last line, and all its lines are answered.
    InputEnded,
    /// The connection broke, or the peer closed it.
    ConnectionLost,
}

impl EndReason {
    /// Returns true if the peer would be disconnected again if it came back.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        match self {
            Self::NoHello | Self::ProtocolError(_) | Self::OtherDevice | Self::ForeignProtocol { .. } => true,
            Self::HubStopping
            | Self::Unresponsive
            | Self::TooSlow
            | Self::AnswersUnread
            | Self::Evicted
            | Self::HandshakeEvicted
            | Self::HistoryEvicted
            | Self::NotReady
            | Self::Silent
            | Self::SilentWhileFull
            | Self::InputEnded
            | Self::ConnectionLost => false,
        }
    }

    /// Returns true if the peer gets a last frame or line: not if it ended the session itself.
    pub(super) const fn is_said(&self) -> bool {
        !matches!(self, Self::InputEnded | Self::ConnectionLost)
    }

    /// Returns the counter of sessions that ended for this reason, if they are counted.
    pub(crate) const fn counter<'a>(&self, figures: &'a Figures) -> Option<&'a Counter> {
        match self {
            Self::HubStopping | Self::NotReady | Self::InputEnded | Self::ConnectionLost => None,
            Self::Unresponsive => Some(&figures.stalled),
            Self::TooSlow => Some(&figures.slow_readers),
            Self::AnswersUnread => Some(&figures.control_full),
            Self::Evicted | Self::HandshakeEvicted | Self::HistoryEvicted => Some(&figures.evicted),
            Self::NoHello | Self::Silent | Self::SilentWhileFull => Some(&figures.idle),
            Self::ProtocolError(_) | Self::OtherDevice => Some(&figures.protocol_errors),
            Self::ForeignProtocol { .. } => Some(&figures.foreign_protocols),
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HubStopping => "the hub is stopping",
            Self::Unresponsive => "nothing was read for too long",
            Self::TooSlow => "too slow: the messages left memory before they were read",
            Self::AnswersUnread => "too many answers wait unread",
            Self::Evicted => "the hub is full and your address has the most sessions; try again later",
            Self::HandshakeEvicted => "too many sessions of your address are starting; try again",
            Self::HistoryEvicted => "nothing was read while others wait for history",
            Self::NoHello => "no hello came in time",
            Self::NotReady => "the hub has not reached the registry yet; try again",
            Self::Silent => "silent for too long; send a ping now and then",
            Self::SilentWhileFull => "silent for too long while the hub is nearly full; type something now and then",
            Self::InputEnded => "the peer sent its last line",
            Self::ConnectionLost => "the connection was lost",
            Self::ProtocolError(what) => what,
            Self::OtherDevice => return OtherDevice.fmt(f),
            Self::ForeignProtocol { protocol, page } => return write_foreign(f, *protocol, *page),
        })
    }
}

/// Writes one line for a person who reads the answer. Browsers show none of it, because it is not HTTP.
fn write_foreign(f: &mut fmt::Formatter<'_>, protocol: ForeignProtocol, page: Option<SocketAddr>) -> fmt::Result {
    let (instead, english) = match protocol {
        ForeignProtocol::Http => ("HTTP", "HTTP"),
        ForeignProtocol::Binary => ("data biner", "binary data"),
        ForeignProtocol::Lines => ("protokol lain", "another protocol"),
    };
    write!(f, "port ini untuk teks, bukan {instead} | this port is for text, not {english}")?;
    page.map_or(Ok(()), |page| write!(f, "; peramban | browsers: http://{page}/"))
}
