//! What travels between Gaung's programs: checked domain types, the codecs of datagram, run and frame, and the
//! generated protobuf messages (with gRPC clients and servers behind the feature `grpc`).
//!
//! Generated types stop here: [`pb`] is what the wire says, everything else in this crate has been checked. Bytes
//! from the network come in as `&[u8]` or [`bytes::Bytes`] and leave as a checked type or a small error; nothing
//! panics and nothing is allocated by a length that was not compared with a limit first. `WIRE.md` beside the
//! schemas draws every byte.

pub mod authorship;
pub mod block;
pub mod body;
pub mod content;
pub mod datagram;
pub mod foreign_text;
pub mod frame;
pub mod id;
pub mod limits;
pub mod messages;
pub mod name;
pub mod net;
pub mod pb;
pub mod policy;
pub mod ports;
pub mod retention;
pub mod run;
pub mod signing;
pub mod watch_groups;
mod wire;

pub use content::{Content, ContentType, FieldValue, Kind, PlainLine};
pub use id::{
    ClientId, ClientSeq, DeviceId, Epoch, Generation, GroupId, GroupTag, LogId, Pkt, RelayId, SenderId, Seq, SeqRange,
};
pub use name::{DisplayName, GroupName};
pub use net::{GroupAddr, Scope};
pub use retention::GroupRetention;
pub use wire::DecodeError;
