//! A terminal with a prompt. One thread reads lines, another prints above them; both end with the program.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::mpsc as blocking,
    thread,
};

use gaung_terminal::style::Style;
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use rustyline::{Config, DefaultEditor, ExternalPrinter, error::ReadlineError};
use tokio::sync::mpsc;

use super::Input;

/// Lines shown that may wait for the terminal.
const WAITING: usize = 256;
/// Lines that the arrow keys bring back.
const REMEMBERED: usize = 1000;

/// A person's terminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    input: mpsc::Receiver<Input>,
    prompts: blocking::Sender<String>,
    screen: blocking::SyncSender<String>,
    style: Style,
    _before: Before,
}

impl Terminal {
    /// `None` if stdin and stdout are not a terminal that can be steered.
    ///
    /// # Errors
    /// If the editor cannot be started on it.
    pub(super) fn open() -> anyhow::Result<Option<Self>> {
        if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
            return Ok(None);
        }
        let config = Config::builder().auto_add_history(true).max_history_size(REMEMBERED)?.build();
        let mut editor = DefaultEditor::with_config(config)?;
        // A dumb terminal cannot put lines above the prompt.
        let Ok(printer) = editor.create_external_printer() else { return Ok(None) };
        let before = Before(tcgetattr(io::stdin())?);
        let (typed, input) = mpsc::channel(1);
        let (prompts, asked) = blocking::channel();
        let (screen, shown) = blocking::sync_channel(WAITING);
        thread::spawn(move || read(editor, &asked, &typed));
        thread::spawn(move || print(printer, &shown));
        Ok(Some(Self { input, prompts, screen, style: Style::for_terminal(true), _before: before }))
    }

    /// The next line typed. Cancel safe.
    pub(super) async fn input(&mut self) -> Input {
        self.input.recv().await.unwrap_or(Input::End)
    }

    /// Asks for a line.
    pub(super) fn prompt(&self, group: &str) {
        // The reading thread has ended only after an end of input, which ends the chat.
        let _ = self.prompts.send(format!("{group}> "));
    }

    /// Puts whole lines above the prompt.
    ///
    /// # Errors
    /// If the terminal has gone.
    pub(super) fn show(&self, lines: String) -> anyhow::Result<()> {
        self.screen.send(lines).map_err(|_| anyhow::anyhow!("the terminal has gone"))
    }

    /// Whether and how to colour.
    pub(super) const fn style(&self) -> Style {
        self.style
    }
}

fn read(mut editor: DefaultEditor, asked: &blocking::Receiver<String>, typed: &mpsc::Sender<Input>) {
    while let Ok(prompt) = asked.recv() {
        let input = match editor.readline(&prompt) {
            Ok(line) => {
                // The message comes back in its place among the others'.
                erase(
                    prompt.chars().count() + line.chars().count(),
                    editor.dimensions().map_or(80, |(columns, _)| usize::from(columns)),
                );
                Input::Line(line.into())
            }
            Err(ReadlineError::Interrupted) => Input::Interrupted,
            Err(_) => Input::End,
        };
        let last = !matches!(input, Input::Line(_));
        if typed.blocking_send(input).is_err() || last {
            return;
        }
    }
}

/// Takes the line just entered off the screen.
fn erase(characters: usize, columns: usize) {
    let rows = characters / columns.max(1) + 1;
    let mut out = io::stdout().lock();
    let _ = write!(out, "\x1b[{rows}A\r\x1b[J").and_then(|()| out.flush());
}

fn print(mut printer: impl ExternalPrinter, shown: &blocking::Receiver<String>) {
    while let Ok(lines) = shown.recv() {
        if printer.print(lines).is_err() {
            return;
        }
    }
}

/// The terminal's settings as they were; put back when this is dropped, also while a line is being typed.
#[derive(Debug)]
struct Before(Termios);

impl Drop for Before {
    fn drop(&mut self) {
        let mut out = io::stdout().lock();
        // Pasting is bracketed only while a line is being typed.
        let _ = write!(out, "\x1b[?2004l\r\x1b[K").and_then(|()| out.flush());
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.0);
    }
}
