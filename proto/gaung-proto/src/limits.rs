//! Sizes that all programs agree on. Units stand in the names or are bytes.

/// Largest UDP payload, so that with IPv4 and UDP headers it fits an MTU of 1500 with room for a tunnel.
pub const MAX_DATAGRAM: usize = 1400;
/// Largest datagram body after the 40-byte header; the 80 bytes up to [`MAX_DATAGRAM`] are kept for tag and signature.
pub const MAX_BODY: usize = 1280;
/// Largest body of a first-sent DATA datagram: with a parity shard's 16 B of fields and 8 B of index it fills [`MAX_BODY`].
pub const MAX_DATA_BODY: usize = 1256;
/// Largest payload of one message.
pub const MAX_PAYLOAD: usize = 256 * 1024;
/// A run is closed before it passes this, unless it holds a single message. With the 256 B that a store adds at most it
/// fits 64 KiB: a page of the log has a power of two.
pub const TARGET_RUN: usize = 64 * 1024 - 256;
/// Largest run that is read: one message of [`MAX_PAYLOAD`] with its headers, rounded up.
pub const MAX_RUN: usize = MAX_PAYLOAD + 1024;
/// Most messages of one run or datagram block.
pub const MAX_BLOCK_MESSAGES: usize = u16::MAX as usize;
/// Most datagrams of one fragmented message.
pub const MAX_FRAGMENTS: usize = MAX_RUN.div_ceil(MAX_DATA_BODY);
/// Most messages of one publish request.
pub const MAX_PUBLISH_MESSAGES: usize = 1024;
/// Most payload bytes of one publish request.
pub const MAX_PUBLISH_BYTES: usize = 1024 * 1024;
/// Largest control frame on TCP: a full publish request with its protobuf framing.
pub const MAX_FRAME: usize = MAX_PUBLISH_BYTES + 64 * 1024;
/// Largest datagram of a group of format `text`.
pub const MAX_TEXT_DATAGRAM: usize = 1400;
/// Most ranges of one NAK or NCF.
pub const MAX_NAK_RANGES: usize = 32;
/// Client sequence numbers remembered below the highest one of each client.
pub const CLIENT_WINDOW: u64 = 1024;
/// Most groups of one hub session.
pub const MAX_SESSION_GROUPS: usize = 64;
/// Messages of one WatchReceipts call.
pub const MAX_RECEIPT_MESSAGES: u64 = 1024;
/// Sessions of one report of a hub.
pub const MAX_SESSION_REPORTS: usize = 1024;
/// Members named as missing in one receipt.
pub const MAX_MISSING_MEMBERS: usize = 16;
