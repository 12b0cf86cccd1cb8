//! The log in segments.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod fault;
mod stores;

use std::{fs, path::Path};

type Store = gaung_log::SegmentLog;

/// Writes and syncs of the workload of `power_cut.rs`, at least.
const LEAST_CUTS: (usize, usize) = (70, 70);

/// Most bytes of a file, so that there are several.
const FILE_BYTES: u64 = 192 << 10;

fn file_name(number: u64) -> String {
    format!("log-{number:010}.seg")
}

/// Runs that the files in `folder` have, frame by frame; the log is closed.
fn runs_on_disk(folder: &Path) -> u64 {
    let files = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "seg"));
    files.map(|file| runs_in(&fs::read(file).unwrap())).sum()
}

fn runs_in(bytes: &[u8]) -> u64 {
    let (mut at, mut runs) = (4096, 0);
    while bytes.get(at + 4..at + 8) == Some(b"GSF1") {
        let len = u32::from_be_bytes(bytes[at + 20..at + 24].try_into().unwrap()) as usize;
        runs += u64::from(bytes[at + 28] == 4);
        at += (32 + len).next_multiple_of(8);
    }
    runs
}

/// Makes a file look as if a newer program had written it.
fn make_newer(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    for slot in [0, 512] {
        bytes[slot + 11] = 2;
        let crc = crc32c::crc32c(&bytes[slot + 4..slot + 48]);
        bytes[slot..slot + 4].copy_from_slice(&crc.to_be_bytes());
    }
    fs::write(path, bytes).unwrap();
}
