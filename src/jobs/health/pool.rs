//! The check `pool`: a connection can be had and the database answers on it, and no caller has had
//! a timeout since the last time.

use crate::commands;
use crate::error::{Reason, Result};
use crate::jobs::Run;
use crate::jobs::reading::shut_out;
use crate::jobs::verdicts::{Check, met};
use crate::pool::PoolState;
use crate::sqlite::files::aliases;
use crate::sqlite::files::paths::{file_bytes, wal_bytes};
use crate::state::facts::{POOL_TIMEOUTS, PoolTimeouts};

const NAME: &str = "pool";

/// The check, and whether the database answers.
pub(super) fn check(run: &Run) -> Result<(Check, bool)> {
    let answer = run.sql(|connection| {
        let sql = "SELECT count(*) FROM main.sqlite_schema";
        Ok(connection.query_row(sql, [], |row| row.get::<_, i64>(0))?)
    });
    if let Err(error) = answer {
        let error = shut_out(&run.database, met(run, error)?);
        return Ok((Check::bad(NAME, error.reason, error.message), false));
    }
    let file = &run.database.path;
    if file_bytes(file) == 0 && wal_bytes(file) == 0 {
        let detail = format!(
            "{} is empty, 0 bytes: its application has not made its tables yet, or it was cut off; restore a backup \
             ({}) if it had any",
            file.display(),
            commands::litekeeper(format_args!("restore {} --to PATH", run.database.name))
        );
        return Ok((Check::bad(NAME, Reason::Shrunken, detail), true));
    }
    if let Some(second) = aliases::second(file) {
        return Ok((Check::bad(NAME, Reason::SecondName, second.to_string()), true));
    }
    let state = run.pool.state();
    let usage = format!("{} of {} connections in use", state.in_use, state.max);
    let check = match new_timeouts(run, state) {
        Ok(0) => Check::good(NAME, format!("{usage}, no timeouts")),
        Ok(new) => Check::bad(
            NAME,
            Reason::PoolTimeout,
            format!(
                "{new} calls got no connection within {:?} since the last check ({usage}); raise pool.size or \
                 pool.max_overflow, or let fewer jobs run at the same time",
                run.database.pool.timeout
            ),
        ),
        Err(error) => Check::unknown(NAME, met(run, error)?.message),
    };
    Ok((check, true))
}

/// Timeouts since the last check. A count of another process, which has another pool, is no base
/// for ours; and one that has none to tell of (a command) leaves the daemon's base alone.
fn new_timeouts(run: &Run, now: PoolState) -> Result<u64> {
    let (pid, count) = (std::process::id(), now.timeouts);
    if count == 0 {
        return Ok(0);
    }
    run.update(POOL_TIMEOUTS, |known| {
        let before = known.replace(PoolTimeouts { pid, count });
        count - before.filter(|known| known.pid == pid && known.count <= count).map_or(0, |known| known.count)
    })
}
