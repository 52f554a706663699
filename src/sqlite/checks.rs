//! stand-in
use crate::error::Result;
use rusqlite::Connection;
/// stand-in
pub fn integrity(c: &Connection) -> Result<Vec<String>> {
    let mut s = c.prepare("PRAGMA integrity_check(20)")?;
    let r = s.query_map([], |r| r.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(r.into_iter().filter(|l| l != "ok").collect())
}
/// stand-in
pub fn foreign_keys(c: &Connection) -> Result<u64> {
    Ok(c.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |r| r.get(0))?)
}
