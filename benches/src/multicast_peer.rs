//! Gaung as one of several multicast systems measured by one and the same harness.
//!
//! The harness starts `rx` in each receiver's network namespace, then `tx` in the sender's, and speaks lines:
//!
//! | role | says | hears |
//! |---|---|---|
//! | tx | `READY` once the members are there and the warm-up is sent | `GO` |
//! | tx | `SENT {json}` after `secs`, and goes on repairing | `STOP` |
//! | rx | `READY` | `TOTAL n` |
//! | rx | `COMPLETE` once it has all n | `STOP` |
//! | rx | `RX {json}` | |
//!
//! `SENT`: n messages, t0 and t1 (ns, CLOCK_MONOTONIC), cpu (s), refused (times that the publisher had to wait).
//! `RX`: uniq, dup, ooo, last (ns), max (ns), cpu (s), hist (latencies in ns, see [`gaung_tests::histogram`]), history and
//! history_share (messages that came from the log), and the engine's counters.
//!
//! The publisher stands in the relay's process, and each message takes the way of any: client window and seq by the
//! relay's worker, append to a memory log, `RelaySender`, sockets; at the member the driver's thread, `MemberReceiver`,
//! delivery. What repair does not bring back is read from the relay's log over gRPC.

pub mod arguments;
mod group;
mod log_reader;
mod member;
pub mod publisher;
pub mod receiver;
mod relay;
mod tally;
mod window;
