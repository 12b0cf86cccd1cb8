//! The logs of groups ([`Log`]), on disk or in memory.
//!
//! On disk they are segments, files that are only appended to; an append is answered only after a sync. The layout of the
//! log's files is drawn in `segment.rs`, `record.rs` and `layout.rs`.

mod change;
mod convert;
mod fault;
mod index;
mod layout;
mod log;
mod memory;
mod options;
mod queue;
mod record;
mod retain;
mod salvage;
mod segment;
mod shared;
mod space;
mod volume;

pub use gaung_proto::GroupRetention;
pub use log::{
    Append, AppendError, DELETED_KEPT_MS, Done, Log, MAX_CONFIG, OpenError, Opened, Position, ReadError, Retention,
    Runs, Snapshot, StoreError, StoredGroup, WriteError,
};
pub use memory::MemoryLog;
pub use options::{DiskFigures, DiskOptions, OpenLogError};
pub use record::RECORD_HEADER;
pub use salvage::{Missing, SalvageError, Salvaged, SalvagedFile, SalvagedGroup, salvage};
pub use segment::SegmentLog;
pub use shared::Damage;
pub use space::DiskSpace;
pub use volume::{Folder, FolderError, Volume};
