//! Output: data to stdout, messages to the person to stderr.

use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write as _};

use crate::failure::StdoutClosed;

/// A buffer for stdout, which [`Output::flush`] writes.
#[derive(Debug)]
pub(crate) struct Output {
    out: BufWriter<Stdout>,
    dirty: bool,
}

impl Output {
    /// Makes an empty buffer.
    pub(crate) fn new() -> Self {
        Self { out: BufWriter::with_capacity(64 * 1024, io::stdout()), dirty: false }
    }

    /// Writes `text` and a newline.
    ///
    /// # Errors
    /// [`StdoutClosed`] if the reader has closed it, else the error of the system.
    pub(crate) fn line(&mut self, text: &str) -> anyhow::Result<()> {
        self.bytes(text.as_bytes())?;
        self.bytes(b"\n")
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.dirty = true;
        self.out.write_all(bytes).map_err(closed)
    }

    /// Returns whether something waits for a flush.
    pub(crate) const fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        self.dirty = false;
        self.out.flush().map_err(closed)
    }
}

/// Returns whether stdout is a terminal.
pub(crate) fn on_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Writes a line to stderr; that it is closed is no reason to stop.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn closed(error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return StdoutClosed.into();
    }
    anyhow::Error::new(error).context("cannot write to stdout")
}
