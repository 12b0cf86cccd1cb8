//! When a command is told to end: by a signal, or by the loss of the terminal that it serves.

use std::{
    io::{self, IsTerminal as _, PipeReader, PipeWriter},
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::Context as _;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
    unistd::dup2_stdin,
};
use service_kit::supervise::stop_on_signals;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code after the terminal hung up: 128 + SIGHUP, as a shell reports a program that this signal ended.
pub(crate) const HUNG_UP: u8 = 129;

/// True once the terminal hung up.
static GONE: AtomicBool = AtomicBool::new(false);

/// Returns a token that is cancelled at the first SIGINT or SIGTERM; the second one ends the process at once.
///
/// # Errors
/// If the handlers cannot be installed.
pub(crate) fn on_signals() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone()).context("cannot watch for signals")?;
    Ok(stop)
}

/// Whose loss ends a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serves {
    /// The command reads what is typed and shows something.
    Keyboard,
    /// The command only shows something: a terminal at its stdin is of no matter to it.
    Screen,
}

/// Cancels `stop` when the terminal at stdin or stdout hangs up, also where SIGHUP is ignored (`nohup`, `trap '' HUP`, some
/// multiplexers): whoever reads a terminal that is gone reads its end for ever, and nobody sees what is drawn. Does
/// nothing where neither is a terminal; SIGHUP then keeps the meaning that the caller's shell gave it. The process's exit
/// code is [`HUNG_UP`] afterwards.
///
/// # Errors
/// If the terminal or the signal cannot be watched.
pub(crate) fn on_hangup(stop: &CancellationToken, serves: Serves) -> anyhow::Result<()> {
    let (stdin, stdout) = (io::stdin(), io::stdout());
    let mut terminals = Vec::new();
    if serves == Serves::Keyboard && stdin.is_terminal() {
        terminals.push(stdin.as_fd().try_clone_to_owned().context("cannot duplicate the terminal")?);
    }
    if stdout.is_terminal() {
        terminals.push(stdout.as_fd().try_clone_to_owned().context("cannot duplicate the terminal")?);
    }
    if terminals.is_empty() {
        return Ok(());
    }
    let mut hangup = signal(SignalKind::hangup()).context("cannot watch for SIGHUP")?;
    let gone = CancellationToken::new();
    watch(terminals, gone.clone()).context("cannot watch the terminal")?;
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = hangup.recv() => {}
            () = gone.cancelled() => {}
        }
        GONE.store(true, Ordering::Release);
        if serves == Serves::Keyboard {
            silence_stdin();
        }
        stop.cancel();
    });
    Ok(())
}

/// True once the terminal that [`on_hangup`] watches hung up.
pub(crate) fn terminal_is_gone() -> bool {
    GONE.load(Ordering::Acquire)
}

/// Cancels `gone` when the first of the terminals hangs up, from a thread that ends then or with the process.
fn watch(terminals: Vec<OwnedFd>, gone: CancellationToken) -> io::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for terminal in &terminals {
        // A terminal that loses its carrier wakes only who waits for input. What is typed wakes this too, but once each
        // time that something has come, however long the program leaves it unread.
        epoll.add(terminal, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0))?;
    }
    let watching = move || {
        let _terminals = terminals;
        let mut events = [EpollEvent::empty(); 2];
        loop {
            match epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(count) if events[..count].iter().any(|event| event.events().contains(EpollFlags::EPOLLHUP)) => {
                    return gone.cancel();
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    };
    thread::Builder::new().name("terminal".to_owned()).spawn(watching).map(drop)
}

/// Puts a pipe into which nobody writes in stdin's place. Readers in threads of their own, of which crossterm's cannot be
/// told to end while it reads, then wait instead of reading the terminal's end in a loop.
fn silence_stdin() {
    static PIPE: OnceLock<(PipeReader, PipeWriter)> = OnceLock::new();
    let Ok((reader, writer)) = io::pipe() else { return };
    // A blocking read would hold the lock that the screen's last steps may need.
    if fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).is_ok() && dup2_stdin(&reader).is_ok() {
        let _ = PIPE.set((reader, writer));
    }
}
