//! The logs of groups ([`Log`]), on disk or in memory.
//!
//! On disk they are redb files, embedded and with nothing to install; an append is answered only after a sync. The layout of
//! the log's files is drawn in `layout.rs`, `record.rs` and `journal.rs`.

mod change;
mod committer;
mod convert;
mod disk;
mod fault;
mod file;
mod index;
mod journal;
mod layout;
mod log;
mod memory;
mod overlay;
mod pending;
mod queue;
mod record;
mod recover;
mod retain;
mod salvage;
mod segment;
mod shared;
mod space;
mod volume;

pub use disk::{DiskFigures, DiskLog, DiskOptions, OpenLogError};
pub use gaung_proto::GroupRetention;
pub use layout::FORMAT;
pub use log::{
    Append, AppendError, DELETED_KEPT_MS, Done, Log, MAX_CONFIG, OpenError, Opened, Position, ReadError, Retention,
    Runs, Snapshot, StoreError, StoredGroup, WriteError,
};
pub use memory::MemoryLog;
pub use record::RECORD_HEADER;
pub use salvage::{Missing, SalvageError, Salvaged, SalvagedFile, SalvagedGroup, salvage};
pub use segment::SegmentLog;
pub use shared::Damage;
pub use space::DiskSpace;
pub use volume::{Folder, FolderError, Volume};
