//! Keeps what is written to stderr off the screen: it is shown in the status line, and printed at the end.

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

/// How many lines are printed at the end: the newest.
const KEPT: usize = 200;
/// The longest line that is kept, in bytes.
const LONGEST: usize = 4096;

/// The file that stderr was before it was redirected.
static BEFORE: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// Redirects stderr to the status line until this is dropped. Stderr that is no terminal is left alone.
#[derive(Debug)]
pub(crate) struct StderrCapture {
    lines: Arc<Mutex<VecDeque<String>>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl StderrCapture {
    /// Redirects stderr to a pipe that a thread reads.
    ///
    /// # Errors
    /// If the system gives no pipe.
    pub(crate) fn start(inputs: mpsc::Sender<Input>) -> anyhow::Result<Self> {
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

impl Drop for StderrCapture {
    fn drop(&mut self) {
        restore();
        // Restoring stderr closed the last writer of the pipe, so the thread ends.
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for line in lines.iter() {
            let _ = writeln!(io::stderr(), "{line}");
        }
    }
}

/// Makes stderr the terminal again; further calls do nothing.
pub(super) fn restore() {
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
        // A busy screen may miss the line in its status line; it is printed at the end all the same.
        let _ = inputs.try_send(Input::LogLine(one_line(&without_colours(&text)).into_owned()));
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(text);
    }
}

/// Removes colours, which log lines have for their level.
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
    fn colours_are_removed() {
        assert_eq!(without_colours("\x1b[31mERROR\x1b[0m disk full"), "ERROR disk full");
        assert_eq!(without_colours("plain"), "plain");
    }
}
