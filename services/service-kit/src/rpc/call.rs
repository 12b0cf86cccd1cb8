//! Open calls from the network: their caller, what they hold, and when they are ended.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{bytes::CallBytes, figures::RpcFigures};
use crate::share::{Caller, PoolFull, Share, SharePool};

/// Time that an ended call has to tell its caller why before its stream is reset.
const LAST_WORD: Duration = Duration::from_secs(1);

tokio::task_local! {
    static CURRENT: Arc<Call>;
}

/// One call from the network.
#[derive(Debug)]
pub(super) struct Call {
    bytes: Arc<CallBytes>,
    end: CancellationToken,
    stalled: AtomicBool,
    /// Its share of all open calls, once it has begun.
    place: Mutex<Option<Share<Caller>>>,
    /// Its task has ended; answers may still be unread.
    over: AtomicBool,
}

impl Call {
    fn new(caller: Caller, bytes: SharePool<Caller>) -> Self {
        let end = CancellationToken::new();
        let bytes = CallBytes::new(caller, bytes, end.clone());
        Self { bytes, end, stalled: AtomicBool::new(false), place: Mutex::new(None), over: AtomicBool::new(false) }
    }

    /// Returns the call that runs in this task.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Takes the call's share of all open calls.
    pub(super) fn begin(&self, places: &SharePool<Caller>) -> Result<(), PoolFull> {
        let place = places.take_with(self.bytes.caller(), 1, self.end.clone())?;
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
        Ok(())
    }

    pub(super) const fn bytes(&self) -> &Arc<CallBytes> {
        &self.bytes
    }

    pub(super) const fn end(&self) -> &CancellationToken {
        &self.end
    }

    pub(super) fn why_ended(&self) -> Status {
        if self.stalled.load(Ordering::Relaxed) {
            Status::resource_exhausted("nothing of the answers was read for too long; call again and read on")
        } else {
            Status::resource_exhausted(
                "the call had to make room for others; close some of your calls, then call again",
            )
        }
    }
}

/// The open calls of one connection.
#[derive(Debug)]
pub(super) struct Calls {
    caller: Caller,
    bytes: SharePool<Caller>,
    figures: RpcFigures,
    open: Mutex<OpenCalls>,
}

#[derive(Debug)]
struct OpenCalls {
    calls: Vec<Arc<Call>>,
    /// When a call was last open.
    active: Instant,
    any: bool,
}

/// What should happen to a connection, by the state of its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionVerdict {
    /// Keep it.
    Keep,
    /// It has had no call for this long.
    Idle(Duration),
    /// Answers of ended calls stay unread, and only closing the connection frees them.
    Unresponsive,
}

impl Calls {
    pub(super) fn new(caller: Caller, bytes: SharePool<Caller>, figures: RpcFigures) -> Self {
        let open = OpenCalls { calls: Vec::new(), active: Instant::now(), any: false };
        Self { caller, bytes, figures, open: Mutex::new(open) }
    }

    /// Whether a call was ever made.
    pub(super) fn any(&self) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).any
    }

    /// Ends calls whose answers were not read for `limit`; returns what should happen to the connection.
    pub(super) fn sweep(&self, now: Instant, limit: Duration) -> ConnectionVerdict {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.calls.retain(|call| !call.over.load(Ordering::Acquire) || call.bytes.has_answers());
        for call in &open.calls {
            if !call.bytes.is_stalled(now, limit) {
                continue;
            }
            if call.over.load(Ordering::Acquire) {
                return ConnectionVerdict::Unresponsive;
            }
            if !call.stalled.swap(true, Ordering::Relaxed) {
                self.figures.calls_stalled.inc();
                call.end.cancel();
            }
        }
        if open.calls.is_empty() {
            return ConnectionVerdict::Idle(now.saturating_duration_since(open.active));
        }
        open.active = now;
        ConnectionVerdict::Keep
    }
}

/// Runs each call of one connection as a task.
#[derive(Debug, Clone)]
pub(super) struct CallExecutor(pub(super) Arc<Calls>);

impl<F> hyper::rt::Executor<F> for CallExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let calls = &self.0;
        let call = Arc::new(Call::new(calls.caller, calls.bytes.clone()));
        {
            let mut open = calls.open.lock().unwrap_or_else(PoisonError::into_inner);
            // Short calls come faster than sweeps.
            if open.calls.len() == open.calls.capacity() {
                open.calls.retain(|call| !call.over.load(Ordering::Acquire) || call.bytes.has_answers());
            }
            open.calls.push(Arc::clone(&call));
            (open.active, open.any) = (Instant::now(), true);
        }
        tokio::spawn(CURRENT.scope(Arc::clone(&call), async move {
            // Released even if the call panics.
            let _over = CallEndMark(&call);
            let end = async {
                call.end.cancelled().await;
                sleep(LAST_WORD).await;
            };
            let (future, end) = (pin!(future), pin!(end));
            tokio::select! {
                biased;
                () = future => {}
                () = end => {}
            }
        }));
    }
}

struct CallEndMark<'a>(&'a Call);

impl Drop for CallEndMark<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
        *self.0.place.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
