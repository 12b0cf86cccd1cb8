//! The person's terminal: taken over, and given back whichever way the program goes.

use std::{
    env,
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
use ratatui::{Terminal as Screen, TerminalOptions, Viewport, backend::CrosstermBackend, layout::Rect};

use super::{model::Model, stderr, theme::Theme, view};

/// The terminal is ours.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// A whole frame leaves as one, so that no half of it is seen.
const FRAME_BYTES: usize = 64 * 1024;
/// The thread that draws.
static DRAWING: Mutex<Option<ThreadId>> = Mutex::new(None);

/// Columns and rows of a screen, neither of them 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScreenSize {
    /// Columns.
    pub(crate) columns: u16,
    /// Rows.
    pub(crate) rows: u16,
    /// True if the terminal did not tell both of them.
    pub(crate) is_assumed: bool,
}

impl ScreenSize {
    /// A serial console, and a pseudo-terminal whose owner set no size, tell 0 for both, by `ioctl` as in every event: then
    /// COLUMNS and LINES are believed, else 80 and 24, which the VT100 had.
    pub(crate) fn of((columns, rows): (u16, u16), variable: impl Fn(&str) -> Option<String>) -> Self {
        let assumed = |name: &str, otherwise: u16| {
            let set = variable(name).and_then(|value| value.trim().parse().ok());
            set.filter(|number| *number > 0).unwrap_or(otherwise)
        };
        Self {
            columns: if columns > 0 { columns } else { assumed("COLUMNS", 80) },
            rows: if rows > 0 { rows } else { assumed("LINES", 24) },
            is_assumed: columns == 0 || rows == 0,
        }
    }

    /// The size that the terminal tells, in an event or when asked.
    pub(crate) fn told(told: (u16, u16)) -> Self {
        Self::of(told, |name| env::var(name).ok())
    }

    /// As the model keeps it.
    pub(crate) const fn pair(self) -> (u16, u16) {
        (self.columns, self.rows)
    }
}

/// The screen; the terminal is given back when this is dropped, and when anything panics.
pub(crate) struct Terminal {
    screen: Screen<CrosstermBackend<BufWriter<Stdout>>>,
    /// What the screen's buffers are made for.
    drawn: (u16, u16),
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
        let backend = CrosstermBackend::new(BufWriter::with_capacity(FRAME_BYTES, io::stdout()));
        let drawn = ScreenSize::told(terminal::size().unwrap_or_default()).pair();
        // Not what the backend tells, which may be 0×0.
        let viewport = Viewport::Fixed(area(drawn));
        let screen = Screen::with_options(backend, TerminalOptions { viewport });
        let screen = screen.inspect_err(|_| give_back()).context("cannot use the terminal")?;
        let taken = Self { screen, drawn, theme };
        execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, EnableFocusChange)?;
        taken.hear_mouse(mouse)?;
        Ok(taken)
    }

    /// Columns and rows.
    pub(crate) fn size(&self) -> ScreenSize {
        ScreenSize::told(terminal::size().unwrap_or_default())
    }

    /// Draws what has changed, as one update where the terminal knows such.
    ///
    /// # Errors
    /// If it has gone.
    pub(crate) fn draw(&mut self, model: &Model) -> io::Result<()> {
        if self.size().pair() != model.context.size {
            // The size that the model knows is about to be told anew.
            return Ok(());
        }
        queue!(self.screen.backend_mut(), terminal::BeginSynchronizedUpdate)?;
        if self.drawn != model.context.size {
            self.screen.resize(area(model.context.size))?;
            self.drawn = model.context.size;
        }
        let theme = self.theme;
        self.screen.draw(|frame| {
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

fn area((columns, rows): (u16, u16)) -> Rect {
    Rect::new(0, 0, columns, rows)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_without_a_size_has_that_of_the_environment_or_a_vt100() {
        let unset = |_: &str| None;
        let set = |name: &str| (name == "COLUMNS").then(|| "132".to_owned());
        let nonsense = |_: &str| Some("0".to_owned());
        assert_eq!(ScreenSize::of((100, 40), set), ScreenSize { columns: 100, rows: 40, is_assumed: false });
        assert_eq!(ScreenSize::of((0, 0), unset), ScreenSize { columns: 80, rows: 24, is_assumed: true });
        assert_eq!(ScreenSize::of((0, 40), set), ScreenSize { columns: 132, rows: 40, is_assumed: true });
        assert_eq!(ScreenSize::of((100, 0), nonsense), ScreenSize { columns: 100, rows: 24, is_assumed: true });
    }
}
