//! A program on a bare terminal, for times: what it writes is read as it comes, without a screen between.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::{Winsize, openpty},
};

use crate::process::PATIENCE;

/// Pause between two looks at whether it is over.
const LOOK_MS: u8 = 20;
const LOOK: Duration = Duration::from_millis(LOOK_MS as u64);

/// A running program and what it wrote. Killed when dropped.
#[derive(Debug)]
pub struct Pty {
    child: Child,
    /// `None` once hung up.
    keyboard: Option<File>,
    reader: Option<thread::JoinHandle<()>>,
    hanging_up: Arc<AtomicBool>,
    written: Arc<(Mutex<Written>, Condvar)>,
}

/// What was written, without escape sequences.
#[derive(Debug, Default)]
struct Written {
    text: String,
    ended: bool,
}

impl Pty {
    /// Starts a command on a terminal of so many columns and rows.
    ///
    /// # Panics
    /// If there is no terminal to be had, or the command cannot be started.
    #[must_use]
    pub fn start(mut command: Command, (columns, rows): (u16, u16)) -> Self {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).expect("a terminal");
        // A program that held its terminal's other end itself would never see it hang up.
        fcntl(&pty.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("a descriptor");
        let end = || Stdio::from(pty.slave.as_fd().try_clone_to_owned().expect("a descriptor"));
        command.stdin(end()).stdout(end()).stderr(Stdio::null()).env("TERM", "xterm-256color");
        let child = command.spawn().expect("the program can be started");
        drop((command, pty.slave));
        let written = Arc::<(Mutex<Written>, Condvar)>::default();
        let (from, kept) = (pty.master.try_clone().expect("a descriptor"), Arc::clone(&written));
        let hanging_up = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&hanging_up);
        let reader = Some(thread::spawn(move || read(from, &kept, &ending)));
        Self { child, keyboard: Some(File::from(pty.master)), reader, hanging_up, written }
    }

    /// Closes the terminal's other end, and waits for the program's end; gives its exit code, `None` if a signal ended it.
    /// The program has no controlling terminal, so that no SIGHUP comes.
    ///
    /// # Panics
    /// If the program runs on for [`PATIENCE`].
    pub fn hang_up(&mut self) -> Option<i32> {
        self.hanging_up.store(true, Ordering::Release);
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
        self.keyboard = None;
        self.exit_code()
    }

    /// Types bytes.
    ///
    /// # Panics
    /// If the program is gone.
    pub fn write(&mut self, bytes: &[u8]) {
        let keyboard = self.keyboard.as_mut().expect("the terminal is there");
        keyboard.write_all(bytes).expect("the program reads");
    }

    /// How much was written so far.
    #[must_use]
    pub fn written(&self) -> usize {
        self.written.0.lock().expect("no holder panics").text.len()
    }

    /// What was written so far.
    ///
    /// # Panics
    /// If the reader panicked.
    #[must_use]
    pub fn text(&self) -> String {
        self.written.0.lock().expect("no holder panics").text.clone()
    }

    /// Waits for the program's end; gives its exit code, `None` if a signal ended it.
    ///
    /// # Panics
    /// If the program runs on for [`PATIENCE`].
    pub fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is this process's child") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it runs on");
            thread::sleep(LOOK);
        }
    }

    /// Waits until `text` is written after the first `from` bytes; gives how long that took.
    ///
    /// # Panics
    /// After [`PATIENCE`], or when the program ends without it.
    pub fn wait(&self, from: usize, text: &str) -> Duration {
        let begun = Instant::now();
        let mut written = self.written.0.lock().expect("no holder panics");
        loop {
            if written.text[from..].contains(text) {
                return begun.elapsed();
            }
            let left = PATIENCE.saturating_sub(begun.elapsed());
            assert!(!written.ended && !left.is_zero(), "no {text:?} in {:?}", tail(&written.text));
            written = self.written.1.wait_timeout(written, left).expect("no holder panics").0;
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tail(text: &str) -> String {
    let count = text.chars().count();
    text.chars().skip(count.saturating_sub(400)).collect()
}

fn read(from: OwnedFd, kept: &(Mutex<Written>, Condvar), hanging_up: &AtomicBool) {
    let mut from = File::from(from);
    let mut bytes = [0; 64 * 1024];
    let mut plain = Plain::default();
    loop {
        let mut watched = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut watched, PollTimeout::from(LOOK_MS)).unwrap_or(0);
        if hanging_up.load(Ordering::Acquire) {
            return;
        }
        if ready == 0 {
            continue;
        }
        // The terminal's end is an error there.
        let Ok(count @ 1..) = from.read(&mut bytes) else { break };
        let mut written = kept.0.lock().expect("no holder panics");
        written.text.extend(bytes[..count].iter().filter_map(|byte| plain.byte(*byte)));
        kept.1.notify_all();
    }
    kept.0.lock().expect("no holder panics").ended = true;
    kept.1.notify_all();
}

/// Drops control sequences (ECMA-48, 5.4) and everything that is not ASCII.
#[derive(Debug, Default)]
enum Plain {
    #[default]
    Text,
    Escape,
    Sequence,
}

impl Plain {
    fn byte(&mut self, byte: u8) -> Option<char> {
        match (&self, byte) {
            (Self::Text, 0x1b) => *self = Self::Escape,
            (Self::Text, 0x20..=0x7e) => return Some(char::from(byte)),
            (Self::Escape, b'[') => *self = Self::Sequence,
            (Self::Escape, _) | (Self::Sequence, 0x40..=0x7e) => *self = Self::Text,
            (Self::Text | Self::Sequence, _) => {}
        }
        None
    }
}
