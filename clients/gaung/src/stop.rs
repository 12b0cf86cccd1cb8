//! Being asked to stop.

use anyhow::Context as _;
use service_kit::supervise::stop_on_signals;
use tokio_util::sync::CancellationToken;

/// Cancelled at the first SIGINT or SIGTERM; the second one ends the process at once.
///
/// # Errors
/// If the handlers cannot be installed.
pub(crate) fn on_signals() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone()).context("cannot watch for signals")?;
    Ok(stop)
}
