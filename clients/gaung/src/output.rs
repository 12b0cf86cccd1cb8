//! The two ways out: stdout for data, stderr for talk.

use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write as _};

use crate::failure::StdoutClosed;

/// Data on stdout, buffered until [`Output::flush`].
#[derive(Debug)]
pub(crate) struct Output {
    out: BufWriter<Stdout>,
    dirty: bool,
}

impl Output {
    /// Nothing written yet.
    pub(crate) fn new() -> Self {
        Self { out: BufWriter::with_capacity(64 * 1024, io::stdout()), dirty: false }
    }

    /// Writes `text` and a newline.
    ///
    /// # Errors
    /// [`StdoutClosed`] if the reader has gone, else what the system says.
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

    /// True if something waits for a flush.
    pub(crate) const fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Hands everything to the reader.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        self.dirty = false;
        self.out.flush().map_err(closed)
    }
}

/// True if stdout is a terminal.
pub(crate) fn on_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Says something to the person on stderr; a closed stderr is no reason to stop.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn closed(error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return StdoutClosed.into();
    }
    anyhow::Error::new(error).context("cannot write to stdout")
}
