//! The person's terminal: taken over, and given back whichever way the program goes.

use std::{
    io::{self, BufWriter, Stdout, Write as _},
    panic,
    sync::{
        Mutex, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, ThreadId},
};

use anyhow::Context as _;
use crossterm::{
    cursor,
    event::{
        DisableBracketedPaste, DisableFocusChange, DisableMouseCapture, EnableBracketedPaste, EnableFocusChange,
        EnableMouseCapture,
    },
    execute, queue,
    terminal::{self, EnterAlternateScreen, LeaveAlternateScreen},
};
use ratatui::{Terminal as Screen, backend::CrosstermBackend};

use super::{model::Model, stderr, view, view::theme::Theme};

/// The terminal is ours.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// A whole frame leaves as one, so that no half of it is seen.
const FRAME_BYTES: usize = 64 * 1024;
/// The thread that draws.
static DRAWING: Mutex<Option<ThreadId>> = Mutex::new(None);

/// The screen; the terminal is given back when this is dropped, and when anything panics.
pub(crate) struct Terminal {
    screen: Screen<CrosstermBackend<BufWriter<Stdout>>>,
    theme: Theme,
}

impl Terminal {
    /// Takes the terminal.
    ///
    /// # Errors
    /// If it cannot be steered.
    pub(crate) fn take(theme: Theme, mouse: bool) -> anyhow::Result<Self> {
        give_back_at_panic();
        terminal::enable_raw_mode().context("this terminal cannot be steered; `--plain` chats line by line")?;
        TAKEN.store(true, Ordering::SeqCst);
        // From here on a drop gives it back.
        let screen = Screen::new(CrosstermBackend::new(BufWriter::with_capacity(FRAME_BYTES, io::stdout())));
        let screen = screen.inspect_err(|_| give_back()).context("cannot use the terminal")?;
        let taken = Self { screen, theme };
        execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, EnableFocusChange)?;
        taken.hear_mouse(mouse)?;
        Ok(taken)
    }

    /// Columns and rows.
    pub(crate) fn size(&self) -> (u16, u16) {
        terminal::size().unwrap_or((80, 24))
    }

    /// Draws what has changed, as one update where the terminal knows such.
    ///
    /// # Errors
    /// If it has gone.
    pub(crate) fn draw(&mut self, model: &Model) -> io::Result<()> {
        queue!(self.screen.backend_mut(), terminal::BeginSynchronizedUpdate)?;
        let theme = self.theme;
        self.screen.draw(|frame| {
            if frame.area().as_size() != model.size.into() {
                // The size that the model knows is about to be told anew.
                return;
            }
            if let Some(position) = view::draw(model, theme, frame.buffer_mut()) {
                frame.set_cursor_position(position);
            }
        })?;
        execute!(self.screen.backend_mut(), terminal::EndSynchronizedUpdate)
    }

    /// All of it is drawn the next time.
    ///
    /// # Errors
    /// If it has gone.
    pub(crate) fn forget(&mut self) -> io::Result<()> {
        self.screen.clear()
    }

    /// Turns the mouse on or off.
    ///
    /// # Errors
    /// If the terminal has gone.
    pub(crate) fn hear_mouse(&self, on: bool) -> io::Result<()> {
        if on { execute!(io::stdout(), EnableMouseCapture) } else { execute!(io::stdout(), DisableMouseCapture) }
    }

    /// Writes a sequence that draws nothing.
    ///
    /// # Errors
    /// If the terminal has gone.
    pub(crate) fn send(&self, sequence: &str) -> io::Result<()> {
        let mut out = io::stdout();
        out.write_all(sequence.as_bytes())?;
        out.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

/// Once; further calls do nothing.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // Whatever fails here, the rest must be tried.
        let _ = execute!(
            io::stdout(),
            DisableMouseCapture,
            DisableFocusChange,
            DisableBracketedPaste,
            LeaveAlternateScreen,
            cursor::Show
        );
        let _ = terminal::disable_raw_mode();
    }
}

/// A panic of the screen ends it, and its message is to be read, so the terminal goes back first. Another thread's is told
/// on the screen as everything on stderr is.
fn give_back_at_panic() {
    static ONCE: Once = Once::new();
    *DRAWING.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread::current().id());
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let drawing = *DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
            if TAKEN.load(Ordering::SeqCst) && drawing == Some(thread::current().id()) {
                give_back();
                stderr::give_back();
            }
            before(info);
        }));
    });
}
