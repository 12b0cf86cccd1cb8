//! How far it is, on stderr: a bar with the time left where a person looks, else a line now and then.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

const WIDTH: usize = 30;
const BETWEEN_LINES: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(crate) struct Progress {
    done: u32,
    all: u32,
    began: Instant,
    told: Instant,
    on_terminal: bool,
}

impl Progress {
    /// Of so many steps.
    pub(crate) fn new(all: u32) -> Self {
        let now = Instant::now();
        Self { done: 0, all, began: now, told: now, on_terminal: io::stderr().is_terminal() }
    }

    /// One more is done.
    pub(crate) fn step(&mut self, what: &str) {
        self.done += 1;
        let mut stderr = io::stderr();
        let line = self.line(what);
        // Nobody is kept from measuring by a stderr that is closed.
        if self.on_terminal {
            let _ = write!(stderr, "\r{line}\x1b[K").and_then(|()| stderr.flush());
        } else if self.told.elapsed() >= BETWEEN_LINES {
            self.told = Instant::now();
            let _ = writeln!(stderr, "{line}");
        }
    }

    /// Leaves the line to others.
    pub(crate) fn finish(&mut self) {
        if self.on_terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    fn line(&self, what: &str) -> String {
        let part = f64::from(self.done) / f64::from(self.all.max(1));
        let full = ((WIDTH as f64 * part) as usize).min(WIDTH);
        let left = self.began.elapsed().mul_f64((1.0 / part - 1.0).max(0.0)).as_secs();
        let bar = format!("{}{}", "#".repeat(full), "·".repeat(WIDTH - full));
        format!("[{bar}] {:3.0} %, {}:{:02} left, {what}", 100.0 * part, left / 60, left % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_grows_and_the_time_left_shrinks() {
        let began = Instant::now().checked_sub(Duration::from_secs(60)).unwrap_or_else(Instant::now);
        let at = |done| Progress { done, all: 4, began, told: began, on_terminal: true }.line("loss");
        assert!(at(1).contains(" 25 %, 3:0") && at(1).ends_with("left, loss"), "{}", at(1));
        assert!(at(4).contains("100 %, 0:00 left"), "{}", at(4));
        assert_eq!(at(2).matches('#').count(), WIDTH / 2);
    }
}
