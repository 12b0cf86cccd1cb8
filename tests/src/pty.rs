//! A program on a bare terminal, for times: what it writes is read as it comes, without a screen between.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use nix::pty::{Winsize, openpty};

use crate::process::PATIENCE;

/// A running program and what it wrote. Killed when dropped.
#[derive(Debug)]
pub struct Pty {
    child: Child,
    keyboard: File,
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
        let end = || Stdio::from(pty.slave.as_fd().try_clone_to_owned().expect("a descriptor"));
        command.stdin(end()).stdout(end()).stderr(Stdio::null()).env("TERM", "xterm-256color");
        let child = command.spawn().expect("the program can be started");
        drop((command, pty.slave));
        let written = Arc::<(Mutex<Written>, Condvar)>::default();
        let (reader, kept) = (pty.master.try_clone().expect("a descriptor"), Arc::clone(&written));
        thread::spawn(move || read(reader, &kept));
        Self { child, keyboard: File::from(pty.master), written }
    }

    /// Types bytes.
    ///
    /// # Panics
    /// If the program is gone.
    pub fn write(&mut self, bytes: &[u8]) {
        self.keyboard.write_all(bytes).expect("the program reads");
    }

    /// How much was written so far.
    #[must_use]
    pub fn written(&self) -> usize {
        self.written.0.lock().expect("no holder panics").text.len()
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

fn read(from: OwnedFd, kept: &(Mutex<Written>, Condvar)) {
    let mut from = File::from(from);
    let mut bytes = [0; 64 * 1024];
    let mut plain = Plain::default();
    // The terminal's end is an error there.
    while let Ok(count @ 1..) = from.read(&mut bytes) {
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
