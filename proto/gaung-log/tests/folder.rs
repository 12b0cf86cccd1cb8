//! The data folder: held by one process, refused with an error that says what to do.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use gaung_log::{DiskOptions, FolderError, OpenLogError, SegmentLog};

fn open(path: &Path) -> Result<SegmentLog, OpenLogError> {
    SegmentLog::open(path, DiskOptions::default())
}

#[test]
fn a_second_opening_is_refused_until_the_first_ends() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(&error, OpenLogError::Folder(FolderError::Held { .. })), "{error}");
    assert!(error.to_string().contains("held by another process"), "{error}");
    drop(first);
    open(dir.path()).unwrap();
}

/// Plays the other process when the test below starts it.
#[test]
fn other_process() {
    let Some(path) = std::env::var_os("GAUNG_TEST_HOLD") else { return };
    let _log = open(Path::new(&path)).unwrap();
    println!("\nheld");
    std::io::stdin().lines().for_each(drop);
}

#[test]
fn a_folder_held_by_another_process_is_refused_with_its_pid() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "other_process", "--nocapture"])
        .env("GAUNG_TEST_HOLD", dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().any(|line| line.unwrap() == "held"), "the other process holds the folder");
    let error = open(dir.path()).unwrap_err().to_string();
    assert!(error.contains(&format!("held by another process (pid {})", other.id())), "{error}");
    // Killed, it leaves no lock behind.
    other.kill().unwrap();
    other.wait().unwrap();
    open(dir.path()).unwrap();
}

#[test]
fn a_folder_that_cannot_be_written_is_refused() {
    // Not even root may make a folder there.
    let error = open(Path::new("/sys/gaung")).unwrap_err();
    assert!(matches!(&error, OpenLogError::Folder(FolderError::NotWritable { .. })), "{error}");
    assert!(error.to_string().contains("choose another folder"), "{error}");
}
