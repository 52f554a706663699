//! Stopping: nothing new starts, what runs may go on for `daemon.shutdown_grace`, what then still
//! runs is interrupted. The watchdog is fed all the while.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Supervisor;
use super::events::EndOfRun;
use super::signals::{Signal, Signals};
use super::systemd::Systemd;
use crate::schedule::ticks::Ticks;

/// For interrupted work to roll back, and for the runner to write it down.
const TO_WIND_UP: Duration = Duration::from_secs(15);

impl Supervisor {
    pub(super) async fn drain(
        &mut self,
        signals: &mut Signals,
        beat: &mut mpsc::Receiver<()>,
        endings: &mut mpsc::UnboundedReceiver<EndOfRun>,
    ) {
        let grace = self.config.daemon.shutdown_grace;
        Systemd::stopping(grace + TO_WIND_UP);
        for (name, keeper) in &mut self.keepers {
            self.admission.remove_database(name);
            keeper.forget_what_waits();
        }
        self.readiness.stopping();
        tracing::info!(running = self.runs_at_work(), grace_seconds = grace.as_secs(), "stopping");

        let end_of_grace = Instant::now() + grace;
        let end_of_patience = end_of_grace + TO_WIND_UP;
        let mut interrupted = false;
        while self.runs_at_work() > 0 {
            tokio::select! {
                Some(ended) = endings.recv() => self.finished(&ended),
                Some(()) = beat.recv() => self.systemd.alive(),
                Signal::Reload = signals.next() => tracing::info!("no reload: the daemon is stopping"),
                () = sleep_until(end_of_grace), if !interrupted => {
                    interrupted = true;
                    for (database, keeper) in &self.keepers {
                        for (kind, run) in keeper.running() {
                            tracing::warn!(database, job = %kind, "interrupted: shutdown_grace is over");
                            run.cancel.cancel();
                        }
                    }
                }
                () = sleep_until(end_of_patience) => {
                    tracing::error!(running = self.runs_at_work(), "runs did not stop; the daemon ends without them");
                    return;
                }
            }
        }
    }

    /// Lets go of everything.
    pub(super) async fn end(self, ticks: Ticks) {
        ticks.stop().await;
        self.door.close().await;
        // Each on its own: a disk that hangs keeps no other database's log from being emptied.
        let mut ending = tokio::task::JoinSet::new();
        for keeper in self.keepers.values() {
            let pool = keeper.pool.clone();
            ending.spawn(async move { pool.end().await });
        }
        ending.join_all().await;
        tracing::info!("stopped");
    }
}
