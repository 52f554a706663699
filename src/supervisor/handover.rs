//! A restore in place of another process gets a database without the daemon being stopped: its runs
//! end, its connections are closed, what comes due meanwhile waits, and afterwards the daemon goes
//! on with whichever file is there.

use std::time::{Duration, Instant};

use super::Supervisor;
use super::follower::{Message, News, Stage};
use super::keeper::Slot;
use crate::clock;
use crate::jobs::{Access, registry};
use crate::state::status::HandedOver;
use crate::terms::Cause;

/// How long checks that are at work may go on when a restore wants the database.
const GRACE: Duration = Duration::from_secs(5);

impl Supervisor {
    pub(super) fn hand_over(&mut self, news: News) {
        let News { database: name, what } = news;
        let Some(keeper) = self.keepers.get_mut(&name) else { return };
        let handover = &mut keeper.handover;
        match what {
            Message::Ours => {
                if let Some(to) = handover.to() {
                    tracing::info!(
                        database = name,
                        by = to.by,
                        "the restore has ended; the daemon goes on with the database"
                    );
                }
                handover.stage = Stage::Ours;
                self.resume(&name);
            }
            Message::Away { by } if handover.to().is_none() => {
                tracing::info!(
                    database = name,
                    by,
                    "a restore has the database; its jobs wait until that has ended"
                );
                handover.stage = Stage::Away { to: HandedOver { by, since: clock::now() } };
            }
            Message::Away { .. } => return,
            Message::Wanted { by, let_go } => {
                tracing::info!(
                    database = name,
                    by,
                    "a restore wants the database; its connections are closed until that has ended"
                );
                let to = HandedOver { by, since: clock::now() };
                handover.stage = Stage::Leaving { to, end_of_grace: Instant::now() + GRACE, let_go };
                for ticket in self.admission.remove_database(&name) {
                    if let Slot::Waiting(cause) = std::mem::take(keeper.slot(ticket.kind)) {
                        keeper.hold_back(ticket.kind, cause);
                    }
                }
                self.let_go_where_idle(&name);
            }
        }
        self.refresh();
    }

    /// Closes the connections to a database that a restore wants, once no run is at work on it.
    pub(super) fn let_go_where_idle(&mut self, name: &str) {
        let Some(keeper) = self.keepers.get_mut(name) else { return };
        let Stage::Leaving { to, .. } = &keeper.handover.stage else { return };
        if keeper.is_at_work() {
            return;
        }
        let away = Stage::Away { to: to.clone() };
        if let Stage::Leaving { let_go, .. } = std::mem::replace(&mut keeper.handover.stage, away) {
            keeper.pool.let_go();
            // Nobody waits for it any more where the restore has ended meanwhile.
            let _ = let_go.send(keeper.database.path.clone());
        }
    }

    /// Stops the checks that hold up a restore, and has them run again afterwards. Not the runs
    /// that have a database for themselves: the restore waits for those as for any other's, or
    /// gives up.
    pub(super) fn stop_for_restores(&mut self) {
        let now = Instant::now();
        for (name, keeper) in &mut self.keepers {
            let Stage::Leaving { end_of_grace, .. } = keeper.handover.stage else { continue };
            let is_exclusive = |kind| registry::task(kind).access == Access::Exclusive;
            if now < end_of_grace || keeper.running().any(|(kind, _)| is_exclusive(kind)) {
                continue;
            }
            for (kind, slot) in &mut keeper.jobs {
                if let Slot::Running(run) = slot
                    && !run.cancel.is_cancelled()
                {
                    tracing::info!(database = name, job = %kind, "interrupted for a restore; it runs again afterwards");
                    run.cancel.cancel();
                    run.again = Some(Cause::CatchUp);
                }
            }
        }
    }
}
