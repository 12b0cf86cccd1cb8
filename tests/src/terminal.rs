//! A program on a terminal: tmux shows its screen as a person sees it, and types.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::process::PATIENCE;

/// Pause between two looks at the screen.
const LOOK: Duration = Duration::from_millis(50);

/// A terminal with a server of its own, which ends with it.
#[derive(Debug)]
pub struct Terminal {
    socket: String,
    folder: TempDir,
}

impl Terminal {
    /// Starts `program ARGS` with variables on a screen of so many columns and rows. When it ends, the screen says
    /// `ended with CODE` and stays.
    ///
    /// # Panics
    /// If tmux cannot be started.
    #[must_use]
    pub fn start(program: &Path, args: &[&str], vars: &[(&str, &str)], (columns, rows): (u16, u16)) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let socket = format!("gaung-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let terminal = Self { socket, folder: TempDir::new().expect("a temporary folder") };
        // A script, so that nothing has to be quoted twice.
        let assigned: String = vars.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value))).collect();
        let args: String = args.iter().map(|arg| format!(" {}", quoted(arg))).collect();
        let program = quoted(program.to_str().expect("the target folder has a plain name"));
        let pid = terminal.folder.path().join("pid");
        let script = format!(
            "{assigned}sh -c 'echo $$ > {}; exec \"$@\"' sh {program}{args}\necho \"ended with $?\"\nstty -a | grep -c -e '-icanon'\nexec sleep 600\n",
            pid.display()
        );
        let file = terminal.folder.path().join("start.sh");
        fs::write(&file, script).expect("the folder can be written");
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let command = format!("sh {}", file.display());
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &columns, "-y", &rows, &command]);
        terminal
    }

    /// Types text as it is.
    pub fn text(&self, text: &str) {
        self.tmux(&["send-keys", "-l", "--", text]);
    }

    /// Presses keys by tmux's names: `Enter`, `M-a`, `C-n`, `PageUp`.
    pub fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Types a line and enters it.
    pub fn enter(&self, line: &str) {
        self.text(line);
        self.keys(&["Enter"]);
    }

    /// Pastes text as a terminal does that brackets it.
    pub fn paste(&self, text: &str) {
        let file = self.folder.path().join("paste");
        fs::write(&file, text).expect("the folder can be written");
        self.tmux(&["load-buffer", file.to_str().expect("temporary folders have plain names")]);
        self.tmux(&["paste-buffer", "-p"]);
    }

    /// Changes its size.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    /// What it shows.
    #[must_use]
    pub fn screen(&self) -> String {
        self.capture(&[])
    }

    /// What it shows, with the escapes of its colours.
    #[must_use]
    pub fn coloured(&self) -> String {
        self.capture(&["-e"])
    }

    /// Waits until the screen `shows` something; gives the screen.
    ///
    /// # Panics
    /// After [`PATIENCE`]; prints the screen.
    pub fn until(&self, what: &str, shows: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if shows(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "no {what} on\n{screen}");
            thread::sleep(LOOK);
        }
    }

    /// Waits until a text is on the screen; gives the screen.
    ///
    /// # Panics
    /// As [`Self::until`].
    pub fn shows(&self, text: &str) -> String {
        self.until(text, |screen| screen.contains(text))
    }

    /// Sends the program a signal.
    ///
    /// # Panics
    /// If it is gone.
    pub fn signal(&self, signal: Signal) {
        let pid = fs::read_to_string(self.folder.path().join("pid")).expect("it was started");
        let pid = pid.trim().parse().expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    /// Waits for the program's end; gives its exit code and whether the terminal takes lines again, as it did before.
    ///
    /// # Panics
    /// As [`Self::until`].
    pub fn ended(&self) -> (i32, bool) {
        let screen = self.until("end", |screen| after(screen, "ended with ").is_some_and(|(_, raw)| raw.is_some()));
        let (code, raw) = after(&screen, "ended with ").expect("it was just there");
        (code, raw == Some(0))
    }

    fn capture(&self, more: &[&str]) -> String {
        let output = self.tmux(&[&["capture-pane", "-p"], more].concat());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn tmux(&self, args: &[&str]) -> Output {
        let mut command = Command::new("tmux");
        command.args(["-L", &self.socket]).args(args);
        // The socket's file stays when a server ends; there it goes with the folder.
        command
            .env_remove("TMUX")
            .env("TMUX_TMPDIR", self.folder.path())
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C.UTF-8");
        let output = command.output().expect("tmux can be started");
        assert!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux")
            .env("TMUX_TMPDIR", self.folder.path())
            .args(["-L", &self.socket, "kill-server"])
            .output();
    }
}

/// The number behind `words`, and the number on the line below.
fn after(screen: &str, words: &str) -> Option<(i32, Option<i32>)> {
    let mut lines = screen.lines().skip_while(|line| !line.starts_with(words));
    let code = lines.next()?.strip_prefix(words)?.trim().parse().ok()?;
    Some((code, lines.next().and_then(|line| line.trim().parse().ok())))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
