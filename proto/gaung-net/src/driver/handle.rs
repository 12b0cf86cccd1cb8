//! Handles by which other threads control a driver: commands, wake-up, stop.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    watch,
};

use super::Counters;

/// A command that was not taken; it is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendCommandError<C> {
    /// The queue is full: the driver is behind.
    #[error("the driver's command queue is full")]
    Full(C),
    /// The driver has stopped.
    #[error("the driver has stopped")]
    Stopped(C),
}

/// Sends commands to a driver. Clones share its queue.
#[derive(Debug)]
pub struct CommandSender<C> {
    queue: mpsc::Sender<C>,
    shared: Arc<DriverFlags>,
}

impl<C> Clone for CommandSender<C> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<C> CommandSender<C> {
    pub(super) fn new(queue: mpsc::Sender<C>, shared: Arc<DriverFlags>) -> Self {
        Self { queue, shared }
    }

    /// Hands a command over without waiting.
    ///
    /// # Errors
    /// Gives the command back if the queue is full or the driver has stopped.
    pub fn send(&self, command: C) -> Result<(), SendCommandError<C>> {
        match self.queue.try_send(command) {
            Ok(()) => {
                self.shared.wake();
                Ok(())
            }
            Err(TrySendError::Full(command)) => Err(SendCommandError::Full(command)),
            Err(TrySendError::Closed(command)) => Err(SendCommandError::Stopped(command)),
        }
    }

    /// Whether both lead to the same driver.
    #[must_use]
    pub fn same_driver(&self, other: &Self) -> bool {
        self.queue.same_channel(&other.queue)
    }

    /// Hands a command over, waiting for a place in the queue. Cancelled before that, the command is dropped.
    ///
    /// # Errors
    /// [`SendCommandError::Stopped`] if the driver has stopped.
    pub async fn send_wait(&self, command: C) -> Result<(), SendCommandError<C>> {
        self.queue.send(command).await.map_err(|e| SendCommandError::Stopped(e.0))?;
        self.shared.wake();
        Ok(())
    }

    /// The same for threads without a runtime.
    ///
    /// # Errors
    /// [`SendCommandError::Stopped`] if the driver has stopped.
    ///
    /// # Panics
    /// Within an async runtime.
    pub fn send_blocking(&self, command: C) -> Result<(), SendCommandError<C>> {
        self.queue.blocking_send(command).map_err(|e| SendCommandError::Stopped(e.0))?;
        self.shared.wake();
        Ok(())
    }
}

/// The driver's thread ended by a panic, which stands in the process's stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a driver thread panicked")]
pub struct DriverPanicked;

/// A running driver. Dropping it stops the thread and waits for its end.
#[derive(Debug)]
pub struct DriverHandle<C> {
    sender: CommandSender<C>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<DriverFlags>,
    counters: Arc<Counters>,
    ended: watch::Receiver<()>,
}

impl<C> DriverHandle<C> {
    pub(super) fn new(
        sender: CommandSender<C>,
        thread: JoinHandle<()>,
        shared: Arc<DriverFlags>,
        counters: Arc<Counters>,
        ended: watch::Receiver<()>,
    ) -> Self {
        Self { sender, thread: Some(thread), shared, counters, ended }
    }

    /// A sender of commands for another thread or task.
    #[must_use]
    pub fn sender(&self) -> CommandSender<C> {
        self.sender.clone()
    }

    /// See [`CommandSender::send`].
    ///
    /// # Errors
    /// Gives the command back if the queue is full or the driver has stopped.
    pub fn send(&self, command: C) -> Result<(), SendCommandError<C>> {
        self.sender.send(command)
    }

    /// Returns the driver's totals.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Ready when the thread has ended, by [`Self::stop`] or by a panic: for supervisors.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<C> {
        let mut ended = self.ended.clone();
        // Nothing is ever sent: a change means that the thread's end of the channel is gone.
        async move { while ended.changed().await.is_ok() {} }
    }

    /// Stops the thread after the commands sent before, at most one turn's worth of them, and waits for its end.
    ///
    /// # Errors
    /// [`DriverPanicked`].
    pub fn stop(mut self) -> Result<(), DriverPanicked> {
        self.join()
    }

    fn join(&mut self) -> Result<(), DriverPanicked> {
        self.shared.stop();
        self.thread.take().map_or(Ok(()), JoinHandle::join).map_err(|_| DriverPanicked)
    }
}

impl<C> Drop for DriverHandle<C> {
    fn drop(&mut self) {
        let _ = self.join();
    }
}

/// The flags and the eventfd between a driver and everyone else.
#[derive(Debug)]
pub(super) struct DriverFlags {
    event: EventFd,
    /// Set while a wake-up is on its way, so that a burst of commands costs one system call.
    woken: AtomicBool,
    stopping: AtomicBool,
}

impl DriverFlags {
    pub(super) fn new() -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self { event, woken: AtomicBool::new(false), stopping: AtomicBool::new(false) })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Wakes the driver. Call it after whatever the driver should see.
    fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            // Fails only when the counter is full, and then the driver wakes anyway.
            let _ = self.event.write(1);
        }
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.woken.store(false, Ordering::Release);
        self.wake();
    }

    /// Rearms the wake-up. The driver calls it before it looks at its commands, so that a command sent after this wakes
    /// it again.
    pub(super) fn rearm(&self) {
        self.woken.swap(false, Ordering::AcqRel);
    }

    /// Clears the wake-up after the driver was woken.
    pub(super) fn clear(&self) {
        let _ = self.event.read();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
