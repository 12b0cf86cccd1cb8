//! What a host sends and receives, recorded by tcpdump. Needs root and tcpdump.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    lab::{Host, INTERFACE},
    process::{PATIENCE, Process},
};

/// A running recording, whose file has each packet at once.
#[derive(Debug)]
pub struct Recording {
    tcpdump: Process,
    path: PathBuf,
}

impl Recording {
    /// Begins; every packet after this is recorded. `filter`: as tcpdump takes it; empty for every packet.
    ///
    /// # Panics
    /// If tcpdump does not begin.
    #[must_use]
    pub fn start(host: &Host, path: PathBuf, filter: &str) -> Self {
        let file = path.display().to_string();
        let flags = ["--immediate-mode", "-U", "-s", "0", "-Z", "root", "-i", INTERFACE, "-w", &file, filter];
        let tcpdump = host.start("tcpdump", &flags);
        tcpdump.stderr_line("that it listens", |line| line.contains("listening on"));
        Self { tcpdump, path }
    }

    /// Waits until the words are recorded, ends, and returns the file's bytes.
    ///
    /// # Panics
    /// If they do not come in time.
    #[must_use]
    pub fn end_after(self, words: &[u8]) -> Vec<u8> {
        let began = Instant::now();
        while !holds(&read(&self.path), words) {
            assert!(began.elapsed() < PATIENCE, "the recording does not come to its end");
            thread::sleep(Duration::from_millis(20));
        }
        self.tcpdump.signal(Signal::SIGINT);
        let _ = self.tcpdump.end().expect_code(0);
        read(&self.path)
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).expect("a recording")
}

/// Returns whether the words occur in one piece.
#[must_use]
pub fn holds(recorded: &[u8], words: &[u8]) -> bool {
    recorded.windows(words.len()).any(|window| window == words)
}
