//! Whether a database that the application wrote is whole, and a state which existed. The rules are
//! those at the top of `application.py`, told here a second time on purpose.

use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// Fails the test unless the file is free of damage and, as one snapshot, a state that a commit of
/// the application left; gives the number of that commit (0: none). It must be the application's
/// database or a restored copy.
pub fn assert_sound(path: &Path) -> u64 {
    check(path).unwrap_or_else(|problem| panic!("{} is not sound: {problem}", path.display()))
}

/// The same, with the problem as a value.
pub fn check(path: &Path) -> Result<u64, String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|e| e.to_string())?;
    connection.busy_timeout(super::PATIENCE).map_err(|e| e.to_string())?;
    verdict(&connection).map_err(|e| e.to_string())?
}

fn verdict(connection: &Connection) -> rusqlite::Result<Result<u64, String>> {
    // All the answers below are about one state, however much is written meanwhile.
    let snapshot = connection.unchecked_transaction()?;
    let number = |sql: &str| snapshot.query_row(sql, [], |row| row.get::<_, i64>(0));
    let integrity: String = snapshot.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    if integrity != "ok" {
        return Ok(Err(integrity));
    }
    let orphans = number("SELECT count(*) FROM pragma_foreign_key_check")?;
    if orphans != 0 {
        return Ok(Err(format!("{orphans} rows break a foreign key")));
    }
    let (mut last, mut sum) = (0_i64, 0_i64);
    let mut statement = snapshot.prepare("SELECT seq, sum FROM journal ORDER BY seq")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        last += 1;
        sum += last * 7919 % 1000 + 1;
        let found: (i64, i64) = (row.get(0)?, row.get(1)?);
        if found != (last, sum) {
            return Ok(Err(format!("the journal has {found:?} where {:?} was written", (last, sum))));
        }
    }
    for (account, balance) in [("assets", sum), ("debts", -sum)] {
        let found = number(&format!("SELECT balance FROM ledger WHERE account = '{account}'"))?;
        if found != balance {
            return Ok(Err(format!("{account} are {found} where commit {last} left {balance}")));
        }
    }
    // As many as there are commits, all different, all in 1 to the last: exactly one for each.
    let matched =
        number("SELECT count(DISTINCT source) FROM attendance WHERE source IN (SELECT seq FROM journal)")?;
    let rows = number("SELECT count(source) FROM attendance")?;
    if (matched, rows) != (last, last) {
        return Ok(Err(format!("{rows} rows of attendance, for {matched} of {last} commits")));
    }
    Ok(Ok(last.unsigned_abs()))
}
