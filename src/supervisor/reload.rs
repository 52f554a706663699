//! Reload: read, compare, build, swap. Until the swap nothing is touched, so that a configuration
//! that is refused leaves the one in force as it was; databases that did not change keep their
//! pools and their running jobs.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::oneshot;

use super::Supervisor;
use super::events::{Candidate, Repeat};
use super::systemd::Systemd;
use crate::clock::{self, Moment};
use crate::config::{self, Config, Database, Diff};
use crate::error::{Error, Reason, Result};
use crate::metrics::events::{ConfigRejected, ConfigReloaded};
use crate::pool::Pool;
use crate::schedule::admission::Width;
use crate::state::status::Reload;
use crate::survey::needs;

/// Far longer than a disk that answers needs for the largest file. Until then neither systemd nor
/// the operator knows how the reload ends.
const TO_READ: Duration = Duration::from_secs(30);

/// What takes over.
struct Change {
    config: Config,
    diff: Diff,
    /// Of the databases that are new or changed.
    pools: Vec<(Arc<Database>, Pool)>,
}

impl Supervisor {
    /// Has the configuration read, on a thread that may wait for its disk.
    pub(super) fn reload(&mut self) {
        if self.reloading.is_some() {
            self.reloading = Some(Repeat::Yes);
            return;
        }
        self.reloading = Some(Repeat::No);
        self.door.try_again();
        if self.beginning.is_none() {
            Systemd::reloading();
        }
        let (path, prepared) = (self.path.clone(), self.prepared.clone());
        let (read, done) = oneshot::channel();
        let hangs = Arc::clone(&self.read_hangs);
        // One thread at most waits for a disk that does not answer, however often it is asked.
        if !hangs.swap(true, Ordering::Relaxed) {
            let path = path.clone();
            tokio::spawn(async move {
                let loaded =
                    tokio::task::spawn_blocking(move || Config::load(&path).map_err(Error::from)).await;
                hangs.store(false, Ordering::Relaxed);
                let panicked = |_| Err(Error::new(Reason::Panic, "reading the configuration panicked"));
                // Nobody waits for it any more where it has taken too long.
                let _ = read.send(loaded.unwrap_or_else(panicked));
            });
        }
        tokio::spawn(async move {
            let read = match tokio::time::timeout(TO_READ, done).await {
                Ok(Ok(read)) => read,
                Ok(Err(_)) | Err(_) => Err(Error::new(
                    Reason::Io,
                    format!(
                        "{} could not be read within {} s: its disk does not answer, or it takes too long",
                        path.display(),
                        TO_READ.as_secs()
                    ),
                )),
            };
            // Nobody listens any more only while the process ends.
            let _ = prepared.send(Candidate(read));
        });
    }

    /// Puts a configuration that was read in force, if it may be.
    pub(super) fn take_over(&mut self, prepared: Candidate) {
        if self.reloading.take() == Some(Repeat::Yes) {
            return self.reload();
        }
        let at = clock::now();
        let result = prepared.0.and_then(|config| self.change_to(config)).map(|new| self.swap(new, at));
        let (ok, message) = match result {
            Ok(changes) => {
                ConfigReloaded { path: &self.path, changes: &changes, at }.emit();
                (true, changes)
            }
            Err(error) => {
                ConfigRejected { path: &self.path, report: &error.message }.emit();
                (false, error.message)
            }
        };
        self.last_reload = Some((Moment::now(), Reload { at, ok, message }));
        if self.beginning.is_none() {
            Systemd::ready();
        }
        self.refresh();
    }

    /// All that can fail.
    fn change_to(&self, config: Config) -> Result<Change> {
        let diff = config::diff(&self.config, &config);
        if !diff.restart.is_empty() {
            return Err(config::refusal(&self.path, &diff.restart));
        }
        let mut pools = Vec::new();
        for name in diff.added.iter().chain(&diff.changed) {
            let Some(database) = config.databases.get(name) else { continue };
            let same = self.keepers.get(name).filter(|keeper| keeper.pool.serves(database));
            let pool = match same {
                Some(keeper) => keeper.pool.clone(),
                None => Pool::new(database, self.slow.clone())?,
            };
            pools.push((Arc::clone(database), pool));
        }
        Ok(Change { config, diff, pools })
    }

    fn swap(&mut self, new: Change, now: DateTime<Utc>) -> String {
        let Change { config, diff, pools } = new;
        needs::warn(&config);
        for name in &diff.removed {
            self.let_go(name);
        }
        self.timetable.set_zone(config.daemon.timezone, now);
        self.config = config;
        self.loaded_at = Moment::now();
        for (database, pool) in pools {
            self.keep(database, pool, now);
        }
        self.tell_who_starves();
        let admitted = self.admission.set_width(Width::of(&self.config.daemon));
        self.start_admitted(admitted);
        in_words(&diff)
    }

    /// Stops what runs for a database that is no longer configured, and forgets it once that has
    /// ended.
    fn let_go(&mut self, name: &str) {
        self.timetable.remove_database(name);
        self.admission.remove_database(name);
        if let Some(keeper) = self.keepers.get_mut(name) {
            keeper.forget_what_waits();
            keeper.is_leaving = true;
            for (_, run) in keeper.running() {
                run.cancel.cancel();
            }
            if !keeper.is_at_work() {
                self.keepers.remove(name);
            }
        }
        self.metrics.remove_database(name);
    }
}

/// `added a; changed b, c; removed d`.
fn in_words(diff: &Diff) -> String {
    let mut text = String::new();
    for (verb, names) in [("added", &diff.added), ("changed", &diff.changed), ("removed", &diff.removed)] {
        if !names.is_empty() {
            let gap = if text.is_empty() { "" } else { "; " };
            // Writing to a String does not fail.
            let _ = write!(text, "{gap}{verb} {}", names.join(", "));
        }
    }
    for change in &diff.daemon {
        let gap = if text.is_empty() { "" } else { "; " };
        let _ = write!(text, "{gap}{} from {} to {}", change.key, change.old, change.new);
    }
    if text.is_empty() { String::from("nothing changed") } else { text }
}
