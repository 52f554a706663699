//! Takes whatever it gets for a damaged database and salvages it: schema, trees, indexes, orphans
//! and `lost_and_found`, into a database of SQLite's in memory. What is told must be what is there,
//! and SQLite must find the new one sound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use litekeeper_fuzz::Held;
use litekeeper_fuzz::sqlite::pages::Database;
use litekeeper_fuzz::sqlite::salvage::salvage;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

fuzz_target!(|bytes: &[u8]| {
    let held = Held(bytes);
    let Some(database) = Database::open(&held) else { return };
    // Both ways, by something that a small change turns.
    let with_free = bytes.last().is_some_and(|last| last % 2 == 1);
    let target = Connection::open_in_memory_with_flags(OpenFlags::default()).expect("memory");
    target.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).expect("a setting");
    // An expression of the schema may ask for a gigabyte in every row: SQLite's to refuse, and no
    // time to wait for it here.
    target.set_limit(Limit::SQLITE_LIMIT_LENGTH, 1 << 20).expect("a limit");
    let told = salvage(&database, &target, with_free, &|| Ok(())).expect("no error of its own");
    let count = |table: &str| {
        let sql = format!("SELECT count(*) FROM main.\"{}\" NOT INDEXED", table.replace('"', "\"\""));
        target.query_row(&sql, [], |row| row.get::<_, u64>(0))
    };
    for table in told.tables.iter().filter(|table| !table.left_out) {
        assert_eq!(count(&table.name).ok(), Some(table.kept), "{table:?}");
    }
    let lost = told.lost_and_found.as_deref().map_or(0, |table| count(table).expect("a table"));
    assert_eq!(lost, told.lost_and_found_rows);
});
