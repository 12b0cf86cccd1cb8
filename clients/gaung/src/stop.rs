//! Ends a command at a signal, or at the loss of its terminal.

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
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
    unistd::dup2_stdin,
};
use service_kit::supervise::stop_on_signals;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code after the terminal hung up: 128 + SIGHUP, as a shell reports a program that this signal ended.
pub(crate) const HUNG_UP: u8 = 129;

/// Whether the terminal hung up.
static GONE: AtomicBool = AtomicBool::new(false);
/// The terminals that are watched, once there are some.
static WATCHED: OnceLock<Vec<OwnedFd>> = OnceLock::new();

/// Returns a token that is cancelled at the first SIGINT or SIGTERM; the second one ends the process at once.
///
/// # Errors
/// If the handlers cannot be installed.
pub(crate) fn on_signals() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone()).context("cannot watch for signals")?;
    Ok(stop)
}

/// How a command uses the terminal, whose loss ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TerminalUse {
    /// It reads what is typed and shows something.
    Interactive,
    /// It only shows something; a terminal at its stdin does not matter.
    OutputOnly,
}

/// Cancels `stop` when the terminal at stdin or stdout hangs up, also where SIGHUP is ignored (`nohup`, `trap '' HUP`, some
/// multiplexers): reads from a terminal that is gone return its end for ever, and nobody sees what is drawn. Does
/// nothing where neither is a terminal; SIGHUP then keeps the meaning that the caller's shell gave it. The process's exit
/// code is [`HUNG_UP`] afterwards.
///
/// # Errors
/// If the terminal or the signal cannot be watched.
pub(crate) fn on_hangup(stop: &CancellationToken, usage: TerminalUse) -> anyhow::Result<()> {
    let (stdin, stdout) = (io::stdin(), io::stdout());
    let mut terminals = Vec::new();
    if usage == TerminalUse::Interactive && stdin.is_terminal() {
        terminals.push(stdin.as_fd().try_clone_to_owned().context("cannot duplicate the terminal")?);
    }
    if stdout.is_terminal() {
        terminals.push(stdout.as_fd().try_clone_to_owned().context("cannot duplicate the terminal")?);
    }
    if terminals.is_empty() {
        return Ok(());
    }
    let watched: io::Result<Vec<_>> = terminals.iter().map(OwnedFd::try_clone).collect();
    WATCHED.get_or_init(|| watched.unwrap_or_default());
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
        if usage == TerminalUse::Interactive {
            silence_stdin();
        }
        stop.cancel();
    });
    Ok(())
}

/// Returns whether the terminal that [`on_hangup`] watches hung up.
pub(crate) fn terminal_is_gone() -> bool {
    // A read of stdin may have failed for it, and ended the command, before the watch was told.
    let hung_up = |terminal: &OwnedFd| {
        let mut polled = [PollFd::new(terminal.as_fd(), PollFlags::empty())];
        poll(&mut polled, PollTimeout::ZERO).is_ok() && polled[0].any().unwrap_or(true)
    };
    GONE.load(Ordering::Acquire) || WATCHED.get().is_some_and(|terminals| terminals.iter().any(hung_up))
}

/// Cancels `gone` when the first of the terminals hangs up, from a thread that ends then or with the process.
fn watch(terminals: Vec<OwnedFd>, gone: CancellationToken) -> io::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for terminal in &terminals {
        // A terminal that loses its carrier wakes only those that wait for input. Edge-triggered, so that input which the
        // program has not read yet wakes this only once.
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

/// Replaces stdin by a pipe without a writer. The threads that read stdin, of which crossterm's cannot be stopped while it
/// reads, then wait instead of reading the terminal's end in a loop.
fn silence_stdin() {
    static PIPE: OnceLock<(PipeReader, PipeWriter)> = OnceLock::new();
    let Ok((reader, writer)) = io::pipe() else { return };
    // A blocking read would hold the lock that the screen's last steps may need.
    if fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).is_ok() && dup2_stdin(&reader).is_ok() {
        let _ = PIPE.set((reader, writer));
    }
}
