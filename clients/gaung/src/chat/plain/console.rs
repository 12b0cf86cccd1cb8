//! Where a person types and reads: a terminal with a prompt, or plain lines where there is no terminal.

mod terminal;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{
    output::{self, Output, say},
    stdin_lines::{self, LineBody, StdinLine},
};
use gaung_terminal::style::Style;
use terminal::Terminal;

/// What comes from the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    /// A line without its end.
    Line(Bytes),
    /// Ctrl-C.
    Interrupted,
    /// No more input.
    End,
}

/// Input and screen.
#[derive(Debug)]
pub(super) enum Console {
    /// A prompt; what comes stands above it.
    Terminal(Terminal),
    /// Lines in, messages out on stdout, talk on stderr.
    Plain {
        /// From stdin.
        lines: mpsc::Receiver<StdinLine>,
        /// To stdout.
        output: Output,
    },
}

impl Console {
    /// A terminal if stdin and stdout are one and can be steered, else plain.
    ///
    /// # Errors
    /// If the terminal cannot be used.
    pub(super) fn open() -> anyhow::Result<Self> {
        if let Some(terminal) = Terminal::open()? {
            return Ok(Self::Terminal(terminal));
        }
        Ok(Self::Plain { lines: stdin_lines::read(), output: Output::new() })
    }

    /// The next thing typed. Cancel safe.
    pub(super) async fn input(&mut self) -> Input {
        match self {
            Self::Terminal(terminal) => terminal.input().await,
            Self::Plain { lines, .. } => loop {
                match lines.recv().await.map(|line| line.body) {
                    Some(LineBody::Bytes(body)) => return Input::Line(body),
                    Some(LineBody::TooLong) => say("a line was not sent: it is longer than a message may be"),
                    Some(LineBody::Broken(error)) => say(&format!("cannot read stdin any more: {error}")),
                    None => return Input::End,
                }
            },
        }
    }

    /// Asks for the next line, for this group; after every [`Input::Line`], and once at the beginning.
    pub(super) fn prompt(&mut self, group: &str) {
        match self {
            Self::Terminal(terminal) => terminal.prompt(group),
            Self::Plain { .. } => {}
        }
    }

    /// Shows a message; `bell` rings a terminal.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub(super) fn message(&mut self, line: &str, bell: bool) -> anyhow::Result<()> {
        match self {
            Self::Terminal(terminal) => terminal.show(if bell { format!("{line}\x07\n") } else { format!("{line}\n") }),
            Self::Plain { output, .. } => output.line(line),
        }
    }

    /// Tells something that is not a message.
    ///
    /// # Errors
    /// If a terminal cannot be written.
    pub(super) fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        match self {
            Self::Terminal(terminal) => terminal.show(format!("{}\n", terminal.style().dim(&format!("— {line}")))),
            Self::Plain { .. } => {
                say(line);
                Ok(())
            }
        }
    }

    /// Whether and how to colour.
    pub(super) fn style(&self) -> Style {
        match self {
            Self::Terminal(terminal) => terminal.style(),
            Self::Plain { .. } => Style::for_terminal(output::on_terminal()),
        }
    }

    /// True if something waits for a flush.
    pub(super) const fn is_dirty(&self) -> bool {
        match self {
            Self::Terminal(_) => false,
            Self::Plain { output, .. } => output.is_dirty(),
        }
    }

    /// Shows what waits.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Terminal(_) => Ok(()),
            Self::Plain { output, .. } => output.flush(),
        }
    }

    /// Gives the terminal back as it was.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub(super) fn close(mut self) -> anyhow::Result<()> {
        self.flush()
    }
}
