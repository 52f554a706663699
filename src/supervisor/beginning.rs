//! From the start until others may count on the daemon: systemd, and whoever it starts afterwards,
//! are told that the service has started when `/readyz` says so, and the first snapshot is there to
//! be asked for.
//!
//! Not only then: a daemon that is not ready, because its state or a disk is ill, still keeps the
//! other databases. Held in `activating`, systemd would end it after TimeoutStartSec=, and with it
//! every backup; `systemctl start` would hang as long. So it has started after [`PATIENCE`] in any
//! case, which is an error in the log and stands in the line that `systemctl status` shows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::http::Listening;
use crate::state::locks::Lock;
use crate::survey::running::Running;

/// Longer than any daemon needs that will be ready by itself: ticks come each second, and disks
/// that do not answer are waited for by their own limits.
const PATIENCE: Duration = Duration::from_secs(10);

/// A start that others have not been told of.
pub(super) struct Beginning {
    since: Instant,
    started: Box<dyn FnOnce(Option<SocketAddr>)>,
}

impl Beginning {
    pub(super) fn new(started: impl FnOnce(Option<SocketAddr>) + 'static) -> Self {
        Self { since: Instant::now(), started: Box::new(started) }
    }

    /// Whether others have waited long enough.
    pub(super) fn is_over(&self) -> bool {
        self.since.elapsed() >= PATIENCE
    }

    /// Tells whoever has started this daemon.
    pub(super) fn end(self, address: Option<SocketAddr>) {
        (self.started)(address);
    }
}

/// Keeps what other processes find of this daemon beside its lock, which lives as long as this.
pub(super) async fn tell_others(lock: Lock, this: Running, mut listening: watch::Receiver<Listening>) {
    let lock = Arc::new(lock);
    loop {
        let now = this.clone().with(&listening.borrow_and_update());
        let of = Arc::clone(&lock);
        let told = tokio::task::spawn_blocking(move || now.tell(&of)).await;
        if let Ok(Err(error)) = told {
            tracing::warn!("commands beside this daemon may not find it: {error}");
        }
        if listening.changed().await.is_err() {
            // Nothing more becomes of the address: the daemon ends, or listens nowhere.
            std::future::pending::<()>().await;
        }
    }
}
