//! Sans-IO engines.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test has to begin at some instant"))]

mod broadcast;
mod claim;
mod clock_watch;
mod fanout;
mod foreign_protocol;
mod parity;
mod publisher;
mod publisher_udp;
mod receiver;
mod ring;
mod sabotage;
mod sender;
mod sequencer;
mod terminal_input;
#[cfg(test)]
mod test_messages;
mod text_line;
mod tickets;
mod timing;
mod transmit;
mod windows;

pub use broadcast::BroadcastPacker;
pub use claim::{ClaimHasher, Claimant, RequestOrigin, StreamKey};
pub use clock_watch::ClockWatch;
pub use fanout::{ControlFull, CursorBehind, Fanout, FanoutLimits, GatheredWrite, RingTake, RunPiece};
pub use foreign_protocol::ForeignProtocol;
pub use publisher::{MAX_KEPT_BYTES, MAX_KEPT_MESSAGES, MAX_REQUESTS, MessageOutcome, Publisher};
pub use publisher_udp::{DatagramOutcome, DatagramPublisher};
pub use receiver::{
    ArrivalSocket, BroadcastHeard, BroadcastReceiver, HistoryEnd, LanePolicy, LaneTrouble, ListenChange, MAX_NAK_GAP,
    MAX_RECEIVER_BYTES, MemberReceiver, OtherLog, ReceiverConfig, ReceiverEvent, ReceiverStats,
};
pub use ring::{HotRing, PushOutcome, RingBudget, RingOwner, RingRead, RingSegment};
#[cfg(feature = "sabotage")]
pub use sabotage::Sabotage;
pub use sender::{
    Cookies, DEFAULT_REPAIR_BYTES, MemberLane, MemberState, Members, Rate, Receipt, RelaySender, RepairShares,
    ReportingHub, Roster, SenderConfig, SenderEvent, SenderStats, SessionReport, StatusOutcome, StatusSample,
    WakeReason,
};
pub use sequencer::{
    AckRange, BatchError, LogIdentity, MAX_QUEUED_BYTES, MAX_WAITING_REQUESTS, NewRun, PublishBatch, PublishEntry,
    RefuseReason, RequestId, SNAPSHOT_BYTES, SNAPSHOT_RUNS, SNAPSHOT_SHARE, Sequencer, SequencerEvent,
};
pub use text_line::{LineSplitter, MAX_LINE, TextLine};
pub use tickets::{ReadingRight, TicketError, TicketJudge, TicketStore};
pub use timing::{TIMING, Timing};
pub use transmit::{Destination, Transmit};
pub use windows::{CLIENT_MEMORY_MS, ClientWindows, DEFAULT_WINDOW_BYTES, DuplicateCheck, SnapshotError};
