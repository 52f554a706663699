//! VACUUM, in place or into another file. What the file has as auto_vacuum is said each time:
//! SQLite remembers the wish of an earlier statement on the same connection, and a pool's
//! connections are used again (HAZARDS H19).

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::error::{Error, Reason, Result};
use crate::sqlite::write::hold::{self, Holds};

/// `PRAGMA auto_vacuum`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoVacuum {
    /// Free pages stay in the file.
    None = 0,
    /// They go with each commit.
    Full = 1,
    /// They go when they are told to.
    Incremental = 2,
}

impl AutoVacuum {
    /// What the number stands for that the pragma gives.
    pub const fn of(number: i64) -> Self {
        match number {
            1 => Self::Full,
            2 => Self::Incremental,
            _ => Self::None,
        }
    }
}

/// Rewrites the database in place, from one mode of auto_vacuum to one; how long it took. It waits
/// for the application's lock first, and that time is counted in.
///
/// Errors: `refused` where the application has chosen another mode meanwhile.
pub fn vacuum(connection: &Connection, holds: &Holds, was: AutoVacuum, mode: AutoVacuum) -> Result<Duration> {
    still(connection, was)?;
    let clock = Instant::now();
    hold::alone(connection, holds, &format!("PRAGMA main.auto_vacuum = {}; VACUUM", mode as i64))?;
    Ok(clock.elapsed())
}

/// Writes a compact copy of a database without auto_vacuum to `path`, an empty file of ours. Only
/// reads the database.
///
/// Errors: `refused` where the application has chosen another mode meanwhile.
pub fn into(connection: &Connection, path: &Path) -> Result<()> {
    still(connection, AutoVacuum::None)?;
    connection.pragma_update(None, "auto_vacuum", AutoVacuum::None as i64)?;
    hold::elsewhere(connection, |c| c.execute("VACUUM main INTO ?1", [path.to_string_lossy()]))?;
    Ok(())
}

fn still(connection: &Connection, mode: AutoVacuum) -> Result<()> {
    // The pragma tells what the connection knows from when it last read the file.
    connection.pragma_query_value(None, "schema_version", |_| Ok(()))?;
    let now = AutoVacuum::of(connection.pragma_query_value(None, "auto_vacuum", |row| row.get(0))?);
    if now == mode {
        return Ok(());
    }
    let text = "the application has changed auto_vacuum meanwhile; the next run goes by that";
    Err(Error::new(Reason::Refused, text))
}
