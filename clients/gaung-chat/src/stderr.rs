//! What is written to stderr while the screen is up: kept from it, told in its bottom line, and printed at the end.

use std::{
    collections::VecDeque,
    io::{self, BufRead as _, BufReader, IsTerminal as _, PipeReader, Write as _},
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::Context as _;
use gaung_terminal::sanitise::one_line;
use nix::unistd::dup2_stderr;
use tokio::sync::mpsc;

use super::effect::Input;

/// Lines that are printed at the end.
const KEPT: usize = 200;
/// Longest line that is kept, bytes.
const LONGEST: usize = 4096;

/// Stderr as it was.
static BEFORE: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// Stderr goes to the screen's bottom line until this is dropped. If stderr is no terminal it is left alone.
#[derive(Debug)]
pub(crate) struct Stderr {
    lines: Arc<Mutex<VecDeque<String>>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Stderr {
    /// Begins to catch it.
    ///
    /// # Errors
    /// If there is no pipe to be had.
    pub(crate) fn catch(inputs: mpsc::Sender<Input>) -> anyhow::Result<Self> {
        let lines = Arc::default();
        if !io::stderr().is_terminal() {
            return Ok(Self { lines, reader: None });
        }
        let (from, to) = io::pipe().context("cannot make a pipe")?;
        let before = nix::unistd::dup(io::stderr()).context("cannot keep stderr")?;
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        dup2_stderr(&to).context("cannot redirect stderr")?;
        let kept = Arc::clone(&lines);
        let reader = thread::spawn(move || read(from, &kept, &inputs));
        Ok(Self { lines, reader: Some(reader) })
    }
}

impl Drop for Stderr {
    fn drop(&mut self) {
        give_back();
        // The pipe's last writer has gone with it.
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for line in lines.iter() {
            let _ = writeln!(io::stderr(), "{line}");
        }
    }
}

/// Stderr is the terminal again; once.
pub(super) fn give_back() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = dup2_stderr(before);
    }
}

fn read(from: PipeReader, kept: &Mutex<VecDeque<String>>, inputs: &mpsc::Sender<Input>) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while matches!(from.read_until(b'\n', &mut line), Ok(1..)) {
        line.truncate(LONGEST);
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        // A busy screen misses a line at its bottom, not the one at the end.
        let _ = inputs.try_send(Input::LogLine(one_line(&without_colours(&text)).into_owned()));
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(text);
    }
}

/// Log lines colour their level.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, after)| after));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_taken_out() {
        assert_eq!(without_colours("\x1b[31mERROR\x1b[0m disk full"), "ERROR disk full");
        assert_eq!(without_colours("plain"), "plain");
    }
}
