//! Child processes whose output is awaited, and which never outlive their test.

use std::{
    ffi::OsStr,
    io::{self, BufRead as _, BufReader, Read, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long a test waits for anything before it fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running program with its output collected line by line. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines,
    stderr: Lines,
}

impl Process {
    /// Starts `program`; its name in failures is the file's name with the first arguments.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start<S: AsRef<OsStr>>(program: impl AsRef<Path>, args: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(program.as_ref());
        command.args(args);
        Self::spawn(command)
    }

    /// Starts a prepared command.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn spawn(command: Command) -> Self {
        Self::spawn_with(command, Stdio::piped())
    }

    /// The same with a stderr whose reader has gone.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn spawn_unheard(command: Command) -> Self {
        let (_, nobody) = io::pipe().expect("a pipe");
        Self::spawn_with(command, nobody.into())
    }

    fn spawn_with(mut command: Command, stderr: Stdio) -> Self {
        let args = command.get_args().take(4).map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
        let file = Path::new(command.get_program()).file_name().map(|f| f.to_string_lossy().into_owned());
        let name = format!("{} {args}", file.unwrap_or_default());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let stdout = Lines::read(child.stdout.take().expect("stdout is piped"));
        let stderr = child.stderr.take().map_or_else(|| Lines::read(io::empty()), Lines::read);
        let stdin = child.stdin.take();
        Self { name, child, stdin, stdout, stderr }
    }

    /// Writes to its stdin.
    ///
    /// # Panics
    /// If it was closed.
    pub fn write(&mut self, text: impl AsRef<[u8]>) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        if let Err(error) = stdin.write_all(text.as_ref()).and_then(|()| stdin.flush()) {
            panic!("{}: stdin: {error}\n{}", self.name, self.transcript());
        }
    }

    /// Its stdin, to be written by somebody else.
    ///
    /// # Panics
    /// If it was closed or taken.
    pub fn take_stdin(&mut self) -> ChildStdin {
        self.stdin.take().expect("stdin is open")
    }

    /// Ends its stdin.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If the process is gone.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap_or_else(|error| panic!("{}: {signal}: {error}", self.name));
    }

    /// Ends it without warning and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for the first stdout line that `matches`, from the beginning; gives it.
    ///
    /// # Panics
    /// After [`PATIENCE`], or when the output ends without it; prints what there was.
    pub fn stdout_line(&self, what: &str, matches: impl Fn(&str) -> bool) -> String {
        self.line(&self.stdout, what, matches)
    }

    /// The same for stderr.
    ///
    /// # Panics
    /// As [`Self::stdout_line`].
    pub fn stderr_line(&self, what: &str, matches: impl Fn(&str) -> bool) -> String {
        self.line(&self.stderr, what, matches)
    }

    /// Waits until stdout has `count` lines; gives all there are.
    ///
    /// # Panics
    /// As [`Self::stdout_line`].
    pub fn stdout_lines(&self, count: usize) -> Vec<String> {
        match self.stdout.wait(PATIENCE, |lines| (lines.len() >= count).then(|| lines.to_vec())) {
            Ok(lines) => lines,
            Err(lines) => panic!("{}: {} of {count} lines\n{}", self.name, lines.len(), self.transcript()),
        }
    }

    /// What stdout has so far.
    #[must_use]
    pub fn stdout_so_far(&self) -> Vec<String> {
        self.stdout.snapshot()
    }

    /// How many lines stdout has so far.
    #[must_use]
    pub fn stdout_count(&self) -> usize {
        self.stdout.0.0.lock().expect("no holder panics").lines.len()
    }

    /// When each of its stdout lines was read, so far.
    #[must_use]
    pub fn stdout_times(&self) -> Vec<Instant> {
        self.stdout.0.0.lock().expect("no holder panics").read_at.clone()
    }

    /// What stderr has so far.
    #[must_use]
    pub fn stderr_so_far(&self) -> Vec<String> {
        self.stderr.snapshot()
    }

    /// Waits for its end; gives status, stdout and stderr lines.
    ///
    /// # Panics
    /// If it still runs after [`PATIENCE`].
    pub fn end(self) -> Ended {
        self.end_within(PATIENCE)
    }

    /// [`Self::end`] with another patience.
    ///
    /// # Panics
    /// If it still runs then.
    pub fn end_within(mut self, patience: Duration) -> Ended {
        self.close_stdin();
        let deadline = Instant::now() + patience;
        // Both pipes end when the process does; after that `wait` does not block.
        let ended = self.stdout.until_end(deadline) && self.stderr.until_end(deadline);
        assert!(ended, "{} still runs\n{}", self.name, self.transcript());
        let status = self.child.wait().unwrap_or_else(|error| panic!("{}: {error}", self.name));
        Ended { status, stdout: self.stdout.snapshot(), stderr: self.stderr.snapshot() }
    }

    fn line(&self, lines: &Lines, what: &str, matches: impl Fn(&str) -> bool) -> String {
        match lines.wait(PATIENCE, |lines| lines.iter().find(|line| matches(line)).cloned()) {
            Ok(line) => line,
            Err(_) => panic!("{}: no {what}\n{}", self.name, self.transcript()),
        }
    }

    fn transcript(&self) -> String {
        let tail = |lines: Vec<String>| lines[lines.len().saturating_sub(40)..].join("\n");
        format!("--- stdout\n{}\n--- stderr\n{}", tail(self.stdout.snapshot()), tail(self.stderr.snapshot()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How a process ended and what it printed.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// Lines of stdout.
    pub stdout: Vec<String>,
    /// Lines of stderr.
    pub stderr: Vec<String>,
}

impl Ended {
    /// Its exit code; -1 if a signal ended it.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Itself, if it ended with `code`.
    ///
    /// # Panics
    /// If it ended otherwise.
    #[must_use]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "stdout: {}\nstderr: {}", self.stdout.join("\n"), self.stderr.join("\n"));
        self
    }
}

#[derive(Debug, Default)]
struct Collected {
    lines: Vec<String>,
    read_at: Vec<Instant>,
    ended: bool,
}

#[derive(Debug, Clone, Default)]
struct Lines(Arc<(Mutex<Collected>, Condvar)>);

impl Lines {
    fn read(pipe: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let writer = lines.clone();
        thread::spawn(move || {
            let mut reader = BufReader::new(pipe);
            let mut bytes = Vec::new();
            while matches!(reader.read_until(b'\n', &mut bytes), Ok(1..)) {
                let text = String::from_utf8_lossy(&bytes);
                let line = text.strip_suffix('\n').unwrap_or(&text).to_owned();
                writer.update(|collected| {
                    collected.lines.push(line);
                    collected.read_at.push(Instant::now());
                });
                bytes.clear();
            }
            writer.update(|collected| collected.ended = true);
        });
        lines
    }

    fn update(&self, change: impl FnOnce(&mut Collected)) {
        change(&mut self.0.0.lock().expect("no holder panics"));
        self.0.1.notify_all();
    }

    fn snapshot(&self) -> Vec<String> {
        self.0.0.lock().expect("no holder panics").lines.clone()
    }

    fn wait<T>(&self, patience: Duration, done: impl Fn(&[String]) -> Option<T>) -> Result<T, Vec<String>> {
        let deadline = Instant::now() + patience;
        let mut collected = self.0.0.lock().expect("no holder panics");
        loop {
            if let Some(value) = done(&collected.lines) {
                return Ok(value);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if collected.ended || left.is_zero() {
                return Err(collected.lines.clone());
            }
            collected = self.0.1.wait_timeout(collected, left).expect("no holder panics").0;
        }
    }

    fn until_end(&self, deadline: Instant) -> bool {
        let mut collected = self.0.0.lock().expect("no holder panics");
        while !collected.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            collected = self.0.1.wait_timeout(collected, left).expect("no holder panics").0;
        }
        true
    }
}
