//! The check `pool`: a connection can be had and the database answers on it, and no caller has had a timeout since
//! the last time.

use crate::error::{Reason, Result};
use crate::jobs::reading::shut_out;
use crate::jobs::verdicts::{Check, met};
use crate::jobs::{Context, blocking};
use crate::pool::PoolState;
use crate::sqlite::files::aliases;
use crate::sqlite::files::facts::{file_bytes, wal_bytes};
use crate::state::facts::{self, POOL_TIMEOUTS, PoolTimeouts};

const NAME: &str = "pool";

/// The check, and whether the database answers.
pub(super) async fn check(context: &Context) -> Result<(Check, bool)> {
    let answer = context
        .sql(|connection| {
            let sql = "SELECT count(*) FROM main.sqlite_schema";
            Ok(connection.query_row(sql, [], |row| row.get::<_, i64>(0))?)
        })
        .await;
    if let Err(error) = answer {
        let error = shut_out(&context.database, met(context, error)?).await;
        return Ok((Check::bad(NAME, error.reason, error.message), false));
    }
    let file = &context.database.path;
    if file_bytes(file) == 0 && wal_bytes(file) == 0 {
        let detail = format!(
            "{} is empty, 0 bytes: its application has not made its tables yet, or it was cut off; restore a backup \
             (litekeeper restore {} --to PATH) if it had any",
            file.display(),
            context.database.name
        );
        return Ok((Check::bad(NAME, Reason::Shrunken, detail), true));
    }
    let path = file.clone();
    if let Some(second) = blocking(move || Ok(aliases::second(&path))).await? {
        return Ok((Check::bad(NAME, Reason::SecondName, second.to_string()), true));
    }
    let state = context.pool.state();
    let usage = format!("{} of {} connections in use", state.in_use, state.max);
    let check = match new_timeouts(context, state).await {
        Ok(0) => Check::good(NAME, format!("{usage}, no timeouts")),
        Ok(new) => Check::bad(
            NAME,
            Reason::PoolTimeout,
            format!(
                "{new} calls got no connection within {:?} since the last check ({usage}); raise pool.size or \
                 pool.max_overflow, or let fewer jobs run at the same time",
                context.database.pool.timeout
            ),
        ),
        Err(error) => Check::unknown(NAME, met(context, error)?.message),
    };
    Ok((check, true))
}

/// Timeouts since the last check. A count of another process, which has another pool, is no base for ours; and one
/// that has none to tell of (a command) leaves the daemon's base alone.
async fn new_timeouts(context: &Context, now: PoolState) -> Result<u64> {
    let (database, pid) = (context.database.name.clone(), std::process::id());
    let count = now.timeouts;
    if count == 0 {
        return Ok(0);
    }
    context
        .state
        .with(move |connection| {
            let known = facts::recall::<PoolTimeouts>(connection, &database, POOL_TIMEOUTS)?
                .map(|(known, _)| known)
                .filter(|known| known.pid == pid && known.count <= count);
            facts::remember(connection, &database, POOL_TIMEOUTS, &PoolTimeouts { pid, count })?;
            Ok(count - known.map_or(0, |known| known.count))
        })
        .await
}
