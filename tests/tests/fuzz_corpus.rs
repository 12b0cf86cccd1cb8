//! Every input that fuzzing kept goes through its target again: no panic, no broken promise.
#![allow(missing_docs, unreachable_pub)]

use std::{fs, panic, path::Path};

#[path = "../fuzz/src/lib.rs"]
mod targets;

#[test]
fn decoders_take_the_corpus() {
    replay("codecs", targets::codecs::run);
}

#[test]
fn a_member_takes_the_corpus() {
    replay("member", targets::member::run);
}

#[test]
fn a_relay_takes_the_corpus() {
    replay("relay", targets::relay::run);
}

#[test]
fn proofs_take_the_corpus() {
    replay("trust", targets::trust::run);
}

fn replay(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&corpus).expect("the corpus is committed").flatten().collect();
    files.sort_by_key(fs::DirEntry::file_name);
    assert!(files.len() >= 20, "{}: {} inputs", corpus.display(), files.len());
    for file in files {
        let input = fs::read(file.path()).expect("a readable file");
        if let Err(cause) = panic::catch_unwind(|| run(&input)) {
            eprintln!("input: {}", file.path().display());
            panic::resume_unwind(cause);
        }
    }
}
