//! Calls from the network while they are open: who makes them, what they hold, and when they are ended.

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
use crate::share::{Caller, Full, Share, SharePool};

/// An ended call may tell its caller why for so long; then its stream is reset.
const LAST_WORD: Duration = Duration::from_secs(1);

tokio::task_local! {
    static CURRENT: Arc<Call>;
}

/// One call of the network.
#[derive(Debug)]
pub(super) struct Call {
    bytes: Arc<CallBytes>,
    end: CancellationToken,
    stalled: AtomicBool,
    /// Its place among all calls, once it has one.
    place: Mutex<Option<Share<Caller>>>,
    /// Its task is over; answers may still wait.
    over: AtomicBool,
}

impl Call {
    fn new(caller: Caller, bytes: SharePool<Caller>) -> Self {
        let end = CancellationToken::new();
        let bytes = CallBytes::new(caller, bytes, end.clone());
        Self { bytes, end, stalled: AtomicBool::new(false), place: Mutex::new(None), over: AtomicBool::new(false) }
    }

    /// The call whose task this is.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Takes the call's place among all.
    pub(super) fn begin(&self, places: &SharePool<Caller>) -> Result<(), Full> {
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
    /// When there was a call last.
    active: Instant,
    any: bool,
}

/// What the connection of these calls should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    /// It has had no call for so long.
    Idle(Duration),
    /// Answers of calls that are over are not taken, and only its end gives them back.
    Stalled,
}

impl Calls {
    pub(super) fn new(caller: Caller, bytes: SharePool<Caller>, figures: RpcFigures) -> Self {
        let open = OpenCalls { calls: Vec::new(), active: Instant::now(), any: false };
        Self { caller, bytes, figures, open: Mutex::new(open) }
    }

    /// Whether there ever was a call.
    pub(super) fn any(&self) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).any
    }

    /// Ends calls of which nothing is taken for `limit`.
    pub(super) fn sweep(&self, now: Instant, limit: Duration) -> Verdict {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.calls.retain(|call| !call.over.load(Ordering::Acquire) || call.bytes.has_answers());
        for call in &open.calls {
            if !call.bytes.is_stalled(now, limit) {
                continue;
            }
            if call.over.load(Ordering::Acquire) {
                return Verdict::Stalled;
            }
            if !call.stalled.swap(true, Ordering::Relaxed) {
                self.figures.calls_stalled.inc();
                call.end.cancel();
            }
        }
        if open.calls.is_empty() {
            return Verdict::Idle(now.saturating_duration_since(open.active));
        }
        open.active = now;
        Verdict::Keep
    }
}

/// Runs the calls of one connection as tasks.
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
            // Given back too if the call panics.
            let _over = Over(&call);
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

struct Over<'a>(&'a Call);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
        *self.0.place.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
