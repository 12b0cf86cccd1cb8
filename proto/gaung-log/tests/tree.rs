//! The log in B-trees with a journal.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod fault;
mod stores;

use std::path::Path;

use redb::{Database, ReadableDatabase as _, ReadableTableMetadata as _, TableDefinition};

type Store = gaung_log::DiskLog;

/// Lengths of the journal: so short that its rounds follow each other quickly; or none.
const JOURNALS: [usize; 2] = [16 << 10, 0];
/// Writes and syncs of the workload of `power_cut.rs`, at least.
const LEAST_CUTS: (usize, usize) = (400, 100);
/// Most bytes of a file, so that there are several.
const FILE_BYTES: u64 = 512 << 10;
const RUNS: TableDefinition<'static, &[u8; 32], &[u8]> = TableDefinition::new("runs");

fn file_name(number: u64) -> String {
    format!("log-{number:010}.redb")
}

/// Runs that the one file in `folder` has; the log is closed.
fn runs_on_disk(folder: &Path) -> u64 {
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "redb"));
    assert_eq!(files.len(), 1, "{files:?}");
    let file = Database::open(&files[0]).unwrap();
    let txn = file.begin_read().unwrap();
    txn.open_table(RUNS).unwrap().len().unwrap()
}

/// Makes a file look as if a newer program had written it.
fn make_newer(path: &Path) {
    let db = Database::open(path).unwrap();
    let txn = db.begin_write().unwrap();
    let meta = TableDefinition::<&str, &[u8]>::new("meta");
    txn.open_table(meta).unwrap().insert("format", 3u32.to_be_bytes().as_slice()).unwrap();
    txn.commit().unwrap();
}
