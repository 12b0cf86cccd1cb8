//! A terminal with a prompt: one thread reads lines, another prints above the prompt. Both end with the process.

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

/// How many lines may wait to be printed.
const WAITING: usize = 256;
/// How many lines the arrow keys can recall.
const MAX_HISTORY: usize = 1000;

/// A terminal with a prompt.
#[derive(Debug)]
pub(crate) struct Terminal {
    input: mpsc::Receiver<Input>,
    prompts: blocking::Sender<String>,
    screen: blocking::SyncSender<String>,
    style: Style,
    _before: SavedSettings,
}

impl Terminal {
    /// Opens the terminal; `None` if stdin and stdout are not one that can show a prompt.
    ///
    /// # Errors
    /// If the editor cannot be started on it.
    pub(super) fn open() -> anyhow::Result<Option<Self>> {
        if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
            return Ok(None);
        }
        let config = Config::builder().auto_add_history(true).max_history_size(MAX_HISTORY)?.build();
        let mut editor = DefaultEditor::with_config(config)?;
        // A dumb terminal cannot print above the prompt.
        let Ok(printer) = editor.create_external_printer() else { return Ok(None) };
        let before = SavedSettings(tcgetattr(io::stdin())?);
        let (typed, input) = mpsc::channel(1);
        let (prompts, asked) = blocking::channel();
        let (screen, shown) = blocking::sync_channel(WAITING);
        thread::spawn(move || read(editor, &asked, &typed));
        thread::spawn(move || print(printer, &shown));
        Ok(Some(Self { input, prompts, screen, style: Style::for_terminal(true), _before: before }))
    }

    /// Returns the next input. Cancel safe.
    pub(super) async fn input(&mut self) -> Input {
        self.input.recv().await.unwrap_or(Input::End)
    }

    /// Shows the prompt, and reads a line.
    pub(super) fn prompt(&self, group: &str) {
        // The thread that reads ends only after the end of input, which ends the chat too.
        let _ = self.prompts.send(format!("{group}> "));
    }

    /// Prints whole lines above the prompt.
    ///
    /// # Errors
    /// If the terminal has gone.
    pub(super) fn show(&self, lines: String) -> anyhow::Result<()> {
        self.screen.send(lines).map_err(|_| anyhow::anyhow!("the terminal has gone"))
    }

    /// Returns the styles of this terminal.
    pub(super) const fn style(&self) -> Style {
        self.style
    }
}

fn read(mut editor: DefaultEditor, asked: &blocking::Receiver<String>, typed: &mpsc::Sender<Input>) {
    while let Ok(prompt) = asked.recv() {
        let input = match editor.readline(&prompt) {
            Ok(line) => {
                // The message comes back from the log and is printed then.
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

/// Erases the line that was just entered.
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

/// The settings of the terminal, which are restored when this is dropped, also while a line is being typed.
#[derive(Debug)]
struct SavedSettings(Termios);

impl Drop for SavedSettings {
    fn drop(&mut self) {
        let mut out = io::stdout().lock();
        // Pasting is bracketed only while a line is being typed.
        let _ = write!(out, "\x1b[?2004l\r\x1b[K").and_then(|()| out.flush());
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.0);
    }
}
