//! Where the requests run. The store is synchronous, its clients are not: the caller's thread
//! waits, and may be any thread, also one of another runtime. Must never be used from a task of
//! this one.

use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::error::{Error, Reason, Result};

/// One for the process: connections to a bucket are shared by all who use it, and outlive any other
/// runtime.
static RUNTIME: LazyLock<std::io::Result<Runtime>> = LazyLock::new(|| {
    // Hashing and TLS of one request beside those of another; the rest is waiting.
    Builder::new_multi_thread().worker_threads(2).thread_name("buckets").enable_all().build()
});

/// Work that was begun.
pub(super) struct Task<T>(Receiver<T>);

/// Begins work that nobody waits for.
pub(super) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Result<JoinHandle<()>> {
    let runtime = RUNTIME.as_ref().map_err(|e| Error::io("cannot start the threads for buckets", e))?;
    Ok(runtime.spawn(work))
}

/// Begins work.
pub(super) fn begin<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<Task<T>> {
    let (done, waiting) = sync_channel(1);
    // Whoever waited may have given up.
    spawn(async move { drop(done.send(work.await)) })?;
    Ok(Task(waiting))
}

/// Does work.
pub(super) fn run<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T> {
    begin(work)?.wait()
}

impl<T> Task<T> {
    /// Waits for its end.
    pub(super) fn wait(self) -> Result<T> {
        let lost =
            |_| Error::new(Reason::Panic, "a request to a bucket panicked, which is a defect in litekeeper");
        self.0.recv().map_err(lost)
    }

    /// Waits at most this long; it goes on after that.
    pub(super) fn wait_for(self, limit: Duration) -> Option<T> {
        self.0.recv_timeout(limit).ok()
    }
}
