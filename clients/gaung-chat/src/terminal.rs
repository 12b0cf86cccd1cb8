//! The terminal: switched to a full screen, and restored whichever way the program ends.

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
use ratatui::{Terminal, TerminalOptions, Viewport, backend::CrosstermBackend, layout::Rect};

use super::{model::Model, stderr, theme::Theme, view};

/// Whether the terminal has to be restored.
static IS_OPEN: AtomicBool = AtomicBool::new(false);
/// The buffer of one frame: written as a whole, so that no half of it is seen.
const FRAME_BYTES: usize = 64 * 1024;
/// The thread that draws, whose panic ends the screen.
static DRAWING: Mutex<Option<ThreadId>> = Mutex::new(None);

/// Columns and rows of a screen, neither of them 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScreenSize {
    /// The columns.
    pub(crate) columns: u16,
    /// The rows.
    pub(crate) rows: u16,
    /// Whether the terminal reported fewer than both of them.
    pub(crate) is_assumed: bool,
}

impl ScreenSize {
    /// Completes a reported size. A serial console, and a pseudo-terminal whose owner set no size, report 0 for both, by
    /// `ioctl` as in every event; then COLUMNS and LINES count, else 80 and 24, the size of the VT100.
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

    /// Completes the size that the terminal reported, from the environment of this process.
    pub(crate) fn reported(size: (u16, u16)) -> Self {
        Self::of(size, |name| env::var(name).ok())
    }

    /// Returns columns and rows.
    pub(crate) const fn pair(self) -> (u16, u16) {
        (self.columns, self.rows)
    }
}

/// The terminal as a full screen; it is restored when this is dropped, and when the thread that draws panics.
pub(crate) struct TerminalScreen {
    screen: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    /// The size of the screen's buffers.
    drawn: (u16, u16),
    theme: Theme,
}

impl TerminalScreen {
    /// Switches the terminal to a full screen.
    ///
    /// # Errors
    /// If it has no raw mode.
    pub(crate) fn open(theme: Theme, mouse: bool) -> anyhow::Result<Self> {
        restore_at_panic();
        terminal::enable_raw_mode().context("this terminal cannot be steered; `--plain` chats line by line")?;
        IS_OPEN.store(true, Ordering::SeqCst);
        // From here on an error has to restore it.
        let backend = CrosstermBackend::new(BufWriter::with_capacity(FRAME_BYTES, io::stdout()));
        let drawn = ScreenSize::reported(terminal::size().unwrap_or_default()).pair();
        // The backend may report 0×0.
        let viewport = Viewport::Fixed(area(drawn));
        let screen = Terminal::with_options(backend, TerminalOptions { viewport });
        let screen = screen.inspect_err(|_| restore()).context("cannot use the terminal")?;
        let opened = Self { screen, drawn, theme };
        execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, EnableFocusChange)?;
        opened.capture_mouse(mouse)?;
        Ok(opened)
    }

    /// Returns its size.
    pub(crate) fn size(&self) -> ScreenSize {
        ScreenSize::reported(terminal::size().unwrap_or_default())
    }

    /// Draws what has changed, as one synchronized update where the terminal supports that.
    ///
    /// # Errors
    /// If it has gone.
    pub(crate) fn draw(&mut self, model: &Model) -> io::Result<()> {
        if self.size().pair() != model.context.size {
            // An event with the new size is on its way to the model.
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

    /// Draws the whole screen the next time.
    ///
    /// # Errors
    /// If it has gone.
    pub(crate) fn redraw(&mut self) -> io::Result<()> {
        self.screen.clear()
    }

    /// Turns events of the mouse on or off.
    ///
    /// # Errors
    /// If the terminal has gone.
    pub(crate) fn capture_mouse(&self, on: bool) -> io::Result<()> {
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

impl Drop for TerminalScreen {
    fn drop(&mut self) {
        restore();
    }
}

/// Restores the terminal; further calls do nothing.
fn restore() {
    if IS_OPEN.swap(false, Ordering::SeqCst) {
        // What fails here must not keep the rest from being tried.
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

/// Restores the terminal before the message of a panic in the thread that draws, so that it can be read. A panic in another
/// thread is shown on the screen like everything on stderr.
fn restore_at_panic() {
    static ONCE: Once = Once::new();
    *DRAWING.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread::current().id());
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let drawing = *DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
            if IS_OPEN.load(Ordering::SeqCst) && drawing == Some(thread::current().id()) {
                restore();
                stderr::restore();
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
