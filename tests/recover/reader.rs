//! Without damage, every row is what SQL says that it is.

use super::{databases, rows};
use rusqlite::Connection;

#[test]
fn a_sound_database_comes_back_row_by_row() {
    for name in databases::NAMES {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sqlite");
        databases::create(name, &path);
        let original = rows::tables(&Connection::open(&path).unwrap());
        let (target, told) = rows::salvaged(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(rows::tables(&target), original, "{name}");
        assert_eq!(told.lost_and_found, None, "{name}");
        assert_eq!(told.left_out, Vec::<String>::new(), "{name}");
        assert!(told.tables.iter().all(|table| table.is_whole() && table.pages_lost == 0), "{name}: {told:?}");
        let check: String = target.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok", "{name}");
        let schema = |c: &Connection| -> Vec<(String, String)> {
            let sql = "SELECT name, coalesce(sql, '') FROM sqlite_schema ORDER BY name";
            c.prepare(sql).unwrap().query_map([], |r| Ok((r.get(0)?, r.get(1)?))).unwrap().map(Result::unwrap).collect()
        };
        assert_eq!(schema(&target), schema(&Connection::open(&path).unwrap()), "{name}");
    }
}
