//! Write-ahead logs between two runs of maintenance: one that has grown past `maintain.max_wal` is
//! looked after. Must never open a database: a log's size is what `stat` last said.

use std::time::Instant;

use super::Supervisor;
use crate::clock;
use crate::metrics::events::LogFreed;
use crate::state::pin;
use crate::terms::Cause;
use crate::terms::JobKind;

impl Supervisor {
    pub(super) fn look_after_logs(&mut self) {
        let now = Instant::now();
        let mut due = Vec::new();
        for (name, keeper) in &self.keepers {
            let Some(seen) = &keeper.disk.seen else { continue };
            let is_too_large = seen.wal_bytes > keeper.database.maintain.max_wal && !seen.is_replicated;
            if self.upkeep.is_due(name, is_too_large, now) {
                due.push(name.clone());
            }
            if !is_too_large {
                self.forget_reader(name);
            }
        }
        for name in due {
            self.request(&name, JobKind::Checkpoint, Cause::Upkeep);
        }
    }

    /// A log that is small by itself, because its application ended, is kept by nobody from being
    /// emptied.
    fn forget_reader(&self, name: &str) {
        let is_pinned =
            |db: &crate::state::status::DatabaseStatus| db.name == name && db.wal_pinned.is_some();
        if !self.view.borrow().databases.iter().any(is_pinned) {
            return;
        }
        let (state, name) = (self.state.clone(), name.to_owned());
        tokio::spawn(async move {
            let database = name.clone();
            if let Ok(Some(pin)) = state.with(move |c| pin::over(c, &database)).await {
                let seconds = (clock::now() - pin.since).as_seconds_f64().max(0.0);
                LogFreed { database: &name, seconds }.emit();
            }
        });
    }
}
