//! The async runtime of a service, which runs gRPC, registry clients and TCP accepts.

use std::{io, num::NonZeroUsize, thread};

use tokio::runtime::{Builder, Runtime};

/// Builds a multi-threaded runtime with a thread for every second core, at least one.
///
/// The hot paths have threads of their own. A message passes through gRPC in short steps that wake each other; with a thread
/// for each core, every step would also wake an idle thread that finds nothing to steal.
///
/// # Errors
/// The system gives no thread or no epoll instance.
pub fn build() -> io::Result<Runtime> {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    Builder::new_multi_thread().worker_threads((cores / 2).max(1)).enable_all().build()
}
