//! The one consumer of slow statements: each is told by its shape, counted, and added up in the
//! daemon's memory. Must never show a statement with its literals.

use std::time::{Duration, Instant};

use super::known::SchemaNames;
use crate::metrics::events::SlowQuery;
use crate::pool::{SlowReceiver, SlowStatement};
use crate::state::State;
use crate::state::slow::{self, Execution};
use crate::words;

/// A `state.db` that cannot be written, or not fast enough, is told of at most this often: the
/// statements keep coming.
const BETWEEN_COMPLAINTS: Duration = Duration::from_secs(60);

/// Keeps slow statements until nobody can send any more.
pub async fn keep(state: State, mut statements: SlowReceiver) {
    let mut complained: Option<Instant> = None;
    let mut dropping: Option<Instant> = None;
    while let Some(statement) = statements.recv().await {
        let SlowStatement { database, job, duration, vm_steps, .. } = &statement;
        let known = SchemaNames::new(statement.names.iter().cloned());
        let shape = known.shape(&statement.sql);
        let plan = statement.plan.as_ref().map(|steps| known.plan(&statement.sql, steps).lines);
        SlowQuery { database, job, shape: &shape, duration: *duration, vm_steps: *vm_steps }.emit();
        let execution = Execution {
            database: statement.database,
            job: statement.job,
            shape,
            at: statement.at,
            duration: statement.duration,
            vm_steps: statement.vm_steps,
            full_scan_steps: statement.full_scan_steps,
            sorts: statement.sorts,
            automatic_indexes: statement.automatic_indexes,
            plan,
        };
        let kept = state.with(move |connection| slow::record(connection, &execution)).await;
        if let Err(error) = kept
            && complained.is_none_or(|at| at.elapsed() >= BETWEEN_COMPLAINTS)
        {
            complained = Some(Instant::now());
            tracing::error!("slow statements are logged but not kept: {error}");
        }
        if dropping.is_none_or(|at| at.elapsed() >= BETWEEN_COMPLAINTS) {
            dropping = tell_of(statements.take_dropped()).then(Instant::now);
        }
    }
    tell_of(statements.take_dropped());
}

/// Whether there were any that were not kept.
fn tell_of(dropped: u64) -> bool {
    if dropped > 0 {
        let what = words::plural(dropped, "slow statement was", "slow statements were");
        tracing::warn!(
            dropped,
            "{what} counted, but not kept or logged: more came at once than could be written down; with a higher \
             watch.slow_threshold there are fewer"
        );
    }
    dropped > 0
}
