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

use super::Supervisor;
use super::systemd::Systemd;
use crate::http::Listening;
use crate::state::locks::Lock;
use crate::survey::overview::Live;
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
}

impl Supervisor {
    /// Tells that the daemon has started, once it has.
    pub(super) fn end_beginning(&mut self) {
        let Some(beginning) = &self.beginning else { return };
        let reasons = self.readiness.reasons(Instant::now());
        let is_ready = reasons.is_empty() && self.view.borrow().ready;
        if !is_ready && beginning.since.elapsed() < PATIENCE {
            return;
        }
        if !is_ready {
            let why = if reasons.is_empty() {
                String::from("nothing is known of the databases yet")
            } else {
                reasons.join("; ")
            };
            tracing::error!("the daemon has started and is not ready: {why}; it does what it can");
        }
        Systemd::ready();
        if let Some(beginning) = self.beginning.take() {
            (beginning.started)(self.door.listening().borrow().address);
        }
    }

    /// What `systemctl status` shows: what is wrong with the daemon itself comes first.
    pub(super) fn in_a_line(&self, live: &Live) -> String {
        let mut wrong = self.readiness.reasons(Instant::now());
        if self.beginning.is_some() {
            // Of what has only not come yet.
            wrong.clear();
        }
        wrong.extend(self.door.listening().borrow().error.clone());
        wrong.push(live.in_a_line());
        wrong.join("; ")
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
