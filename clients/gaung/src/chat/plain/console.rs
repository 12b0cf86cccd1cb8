//! Input and output of the line chat: a terminal with a prompt, or plain lines where there is no terminal.

mod terminal;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{
    output::{self, Output, say},
    stdin_lines::{self, LineBody, StdinLine},
};
use gaung_terminal::style::Style;
use terminal::Terminal;

/// Something that the person enters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    /// A line without its end.
    Line(Bytes),
    /// Ctrl-C.
    Interrupted,
    /// The end of the input.
    End,
}

/// The input and output of the line chat.
#[derive(Debug)]
pub(super) enum Console {
    /// A terminal with a prompt, above which messages are printed.
    Terminal(Terminal),
    /// Lines from stdin; messages go to stdout and notices to stderr.
    Plain {
        /// The lines of stdin.
        lines: mpsc::Receiver<StdinLine>,
        /// The buffer of stdout.
        output: Output,
    },
}

impl Console {
    /// Opens the terminal if stdin and stdout are one with a prompt, else stdin and stdout.
    ///
    /// # Errors
    /// If the terminal cannot be used.
    pub(super) fn open() -> anyhow::Result<Self> {
        if let Some(terminal) = Terminal::open()? {
            return Ok(Self::Terminal(terminal));
        }
        Ok(Self::Plain { lines: stdin_lines::read(), output: Output::new() })
    }

    /// Returns the next input. Cancel safe.
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

    /// Shows the prompt with a group's name; called at the start and after each [`Input::Line`].
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

    /// Shows a notice, which is not a message.
    ///
    /// # Errors
    /// If a terminal cannot be written.
    pub(super) fn notice(&mut self, line: &str) -> anyhow::Result<()> {
        match self {
            Self::Terminal(terminal) => terminal.show(format!("{}\n", terminal.style().dim(&format!("— {line}")))),
            Self::Plain { .. } => {
                say(line);
                Ok(())
            }
        }
    }

    /// Returns the styles of this output.
    pub(super) fn style(&self) -> Style {
        match self {
            Self::Terminal(terminal) => terminal.style(),
            Self::Plain { .. } => Style::for_terminal(output::on_terminal()),
        }
    }

    /// Returns whether something waits for a flush.
    pub(super) const fn is_dirty(&self) -> bool {
        match self {
            Self::Terminal(_) => false,
            Self::Plain { output, .. } => output.is_dirty(),
        }
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Terminal(_) => Ok(()),
            Self::Plain { output, .. } => output.flush(),
        }
    }

    /// Restores the terminal.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub(super) fn close(mut self) -> anyhow::Result<()> {
        self.flush()
    }
}
