//! A log on disk in segments: files that are only appended to, shared by all groups.
//!
//! ```text
//! log-0000000007.seg
//! 0      preamble, written alternately at 0 and 512; the one with the higher generation counts
//!        | crc u32 | "GSEG" | format u32 | stamp u32 | generation u32 | 0 u32 | number u64 | started_at u64 | length u64 |
//! 4096   commits, one behind the other, each one or more frames
//! end    zeros, as far as the file was made longer in advance
//!
//! frame  at a multiple of 8
//! 0        4        8           12           16          20        24             28        29        30      32
//! | crc u32 | "GSF1" | stamp u32 | commit u32 | after u32 | len u32 | body_crc u32 | kind u8 | last u8 | 0 u16 | body |
//! ```
//! Numbers in network order. `crc` is the CRC32C of the frame's offset (u64) and of the header after it, `body_crc` that of
//! the body. `stamp` is drawn when the segment is made, so that bytes of a message never pass for a frame. `length` is how
//! long the file is at least.
//!
//! | kind | body |
//! |---|---|
//! | 1 group | group 16, first kept seq u64, state (`layout.rs`) |
//! | 2 config | group 16, bytes of the caller |
//! | 3 snapshot | group 16, log u64, at u64, bytes of the caller |
//! | 4 run | record (`record.rs`) |
//! | 5 superseded | group 16, log u64, since u64 (ms since 1970; 0: not seen yet, 2⁶⁴ − 1: its runs are dropped) |
//! | 6 dropped | group 16 |
//! | 7 index | for each run of a group: first seq u64, offset u32, length u32 of its frame's body; group after group |
//! | 8 end | n u32, runs in no group's index u32, n × (group 16, first kept u64, state 84, 0 u32, offset of its index u64, runs in it u64), offset of this frame u64, "GSEGEND1" |
//! | 9 checkpoint | like 8, with no index: the groups before this commit |
//!
//! # Appending
//! Everything that waits becomes one commit: one write, one sync. The last frame of a commit is marked; a commit without
//! one never happened. Where commits are short the file is made longer in advance by zeros, so that a sync has nothing but
//! content to write. A new segment begins with all groups as they stand and takes its name when that is durable; the one
//! before it ends with an index. What is read of a segment that is still written to is found by an index in memory.
//!
//! # Recovery
//! The newest segment is read from its beginning. A commit counts if it names the one before it in `after`, which was
//! synced before this one was written. So behind the last commit that counts there may be one more, torn, of which the
//! next attempt to write overwrites what there is, under a number of its own: each attempt, failed ones too, has another.
//! A frame that names a commit that is not here tells of damage in between. Of the segments before, the last frame alone is
//! read; where that is missing, as after a failed sync, all of it.
//!
//! # Failures
//! A commit that could not be written is written over by the next attempt. After a failed *sync* nothing more is written to
//! the segment: the system may show pages that never reach the disk. A new one is begun from what is known to be durable,
//! and what the old one has above that counts nowhere, for a later segment says where each group stood when it began.
//! A segment with damage is set aside under the name `….seg.damaged`. Every so often a commit begins with a checkpoint of all
//! groups: where damage lies before the last one, or before an end, and nothing behind that is missing, it is known where
//! every group stood, and all go on in a new segment. Where it lies behind, acknowledged messages of any group may be lost,
//! and none is appended to until it is reset.
//!
//! What was synced is not written again, but shares a page with what follows it: a disk is trusted to write a sector whole
//! or not at all, as SQLite and PostgreSQL trust it.

pub(crate) mod committer;
pub(crate) mod contents;
pub(crate) mod file;
pub(crate) mod frame;
pub(crate) mod known;
mod log;
pub(crate) mod recover;
pub(crate) mod scan;
mod shared;
mod shrink;
pub(crate) mod stage;
mod upkeep;
pub(crate) mod writer;

pub use log::SegmentLog;
