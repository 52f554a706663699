//! What there is to be done to a database: each step of maintenance and the cleanup by itself, and
//! the whole of maintenance. How a chore becomes due, and how one sees that it is done.

use crate::support::sandbox::Sandbox;
use crate::support::sql::wal_bytes;

/// Rows before this are past their retention; the application's and those made with the database
/// are much younger.
pub const OLD: &str = "2022-01-01";

/// Bytes. What the application adds within seconds is less.
const LONG_LOG: u64 = 3 << 20;

/// A chore.
pub struct Chore {
    pub name: &'static str,
    /// Its cases have numbers from here on.
    pub first_case: u64,
    pub verb: &'static str,
    pub journal_mode: &'static str,
    pub auto_vacuum: &'static str,
    /// TOML.
    pub configuration: &'static str,
    /// Whether it takes an application that commits nothing meanwhile.
    pub at_rest: bool,
    /// What a run prints that did it, in its way.
    pub says: &'static str,
    /// SQL after which it is due.
    pub soil: &'static [&'static str],
    /// SQL for 1 where it is done.
    done: &'static [&'static str],
    empties_log: bool,
}

/// What all have; the SQL is run once.
pub const TABLES: &str = "
    CREATE TABLE remark (
        id INTEGER PRIMARY KEY, attendance_id INTEGER NOT NULL REFERENCES attendance(id), text TEXT NOT NULL);
    CREATE INDEX idx_remark_attendance ON remark(attendance_id);
    CREATE TABLE ballast (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
    CREATE TABLE tag (id INTEGER PRIMARY KEY, word TEXT NOT NULL);
    CREATE INDEX idx_tag_word ON tag(word);
    INSERT INTO remark (attendance_id, text) SELECT id, 'kept' FROM attendance WHERE id % 3 = 0;";

const DROP_INDEX: &str = "DROP INDEX IF EXISTS idx_declared;";
/// An index whose pages are half empty.
const SPARSE_INDEX: &str = "
    DELETE FROM tag;
    INSERT INTO tag (word) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2400)
        SELECT hex(randomblob(50)) FROM n;
    DELETE FROM tag WHERE id % 6 <> 0;";
/// A third of the file becomes free pages among others.
const FREE_PAGES: &str = "
    DELETE FROM ballast;
    INSERT INTO ballast (bytes) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
        SELECT randomblob(4000) FROM n;
    DELETE FROM ballast WHERE id % 2 = 0;";
const FORGET_STATISTICS: &str = "DROP TABLE IF EXISTS sqlite_stat1; DROP TABLE IF EXISTS sqlite_stat4;";
/// More than `LONG_LOG` in one transaction.
const LOG: &str = "
    DELETE FROM ballast;
    INSERT INTO ballast (bytes) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
        SELECT randomblob(4000) FROM n;";
const OLD_ROWS: &str = "
    INSERT INTO attendance (user_id, date, time_in, confidence)
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
        SELECT 1 + i % 20, date('2020-01-01', (i % 365) || ' days'), '08:00:00', 0.9 FROM n;
    INSERT INTO remark (attendance_id, text)
        SELECT a.id, 'old' FROM attendance AS a, (SELECT 1 UNION ALL SELECT 2)
        WHERE a.date < '2022-01-01' AND NOT EXISTS (SELECT 1 FROM remark WHERE attendance_id = a.id);";

const HAS_INDEX: &str = "SELECT count(*) FROM sqlite_schema WHERE name = 'idx_declared' AND type = 'index'";
// The application frees none, but may leave one or two when it splits a page.
const NO_FREE_PAGES: &str = "SELECT freelist_count < 20 FROM pragma_freelist_count";
const FULL_PAGES: &str = "SELECT sum(unused) * 5 < sum(pgsize) FROM dbstat WHERE name = 'idx_tag_word'";
const STATISTICS: &str = "
    SELECT count(*) = 2 FROM sqlite_stat1 WHERE idx IN ('idx_attendance_date', 'idx_users_name')";
const NO_OLD_ROWS: &str = "SELECT NOT EXISTS (SELECT 1 FROM attendance WHERE date < '2022-01-01')
    AND NOT EXISTS (SELECT 1 FROM remark WHERE text = 'old')";

const CLEANUP: &str = r#"
    [cleanup]
    max_share = "95%"
    [[database.attendance.cleanup.rule]]
    table = "attendance"
    column = "date"
    keep = "400d"
    children = "cascade""#;

const NONE: Chore = Chore {
    name: "",
    first_case: 0,
    verb: "maintain",
    journal_mode: "wal",
    auto_vacuum: "none",
    configuration: "",
    at_rest: false,
    says: "",
    soil: &[],
    done: &[],
    empties_log: false,
};

pub const INDEX: Chore = Chore {
    name: "CREATE INDEX",
    first_case: 1000,
    configuration: r#"
        [maintain]
        vacuum = "never"
        analyze = "never"
        reindex = "never"
        [[database.attendance.index]]
        name = "idx_declared"
        table = "attendance"
        columns = ["time_in", "date"]
        missing = "create""#,
    soil: &[DROP_INDEX],
    done: &[HAS_INDEX],
    ..NONE
};

pub const REINDEX: Chore = Chore {
    name: "REINDEX",
    first_case: 1100,
    configuration: r#"
        [maintain]
        vacuum = "never"
        analyze = "never"
        reindex = "always""#,
    soil: &[SPARSE_INDEX],
    done: &[FULL_PAGES],
    ..NONE
};

const VACUUM_ALWAYS: &str = r#"
    [maintain]
    vacuum = "always"
    analyze = "never"
    reindex = "never"
    max_block = "5m""#;

pub const VACUUM: Chore = Chore {
    name: "VACUUM",
    first_case: 1200,
    configuration: VACUUM_ALWAYS,
    soil: &[FREE_PAGES],
    done: &[NO_FREE_PAGES],
    ..NONE
};

pub const VACUUM_WITH_JOURNAL: Chore =
    Chore { name: "VACUUM in rollback mode", first_case: 1300, journal_mode: "delete", ..VACUUM };

/// Where nobody writes, by a compact copy.
pub const COMPACTION: Chore = Chore {
    name: "compaction",
    first_case: 2000,
    configuration: r#"
        [maintain]
        vacuum = "auto"
        vacuum_min_free = "1%"
        vacuum_min_size = "4KiB"
        analyze = "never"
        reindex = "never"
        max_block = "5m""#,
    at_rest: true,
    says: "by a compact copy that was put in place",
    ..VACUUM
};

pub const INCREMENTAL: Chore = Chore {
    name: "incremental VACUUM",
    first_case: 1400,
    auto_vacuum: "incremental",
    configuration: r#"
        [maintain]
        vacuum = "incremental"
        analyze = "never"
        reindex = "never""#,
    ..VACUUM
};

pub const ANALYZE: Chore = Chore {
    name: "ANALYZE",
    first_case: 1500,
    configuration: r#"
        [maintain]
        vacuum = "never"
        analyze = "always"
        reindex = "never""#,
    soil: &[FORGET_STATISTICS],
    done: &[STATISTICS],
    ..NONE
};

pub const CHECKPOINT: Chore = Chore {
    name: "checkpoint",
    first_case: 1600,
    configuration: r#"
        [maintain]
        vacuum = "never"
        analyze = "never"
        reindex = "never"
        max_wal = "64KiB""#,
    soil: &[LOG],
    empties_log: true,
    ..NONE
};

pub const CLEAN_UP: Chore = Chore {
    name: "cleanup",
    first_case: 1700,
    verb: "cleanup",
    configuration: CLEANUP,
    soil: &[OLD_ROWS],
    done: &[NO_OLD_ROWS],
    ..NONE
};

pub const CLEAN_UP_WITH_JOURNAL: Chore =
    Chore { name: "cleanup in rollback mode", first_case: 1800, journal_mode: "delete", ..CLEAN_UP };

pub const ALL: Chore = Chore {
    name: "maintenance",
    first_case: 1900,
    configuration: r#"
        [maintain]
        vacuum = "always"
        analyze = "always"
        reindex = "always"
        max_block = "5m"
        [[database.attendance.index]]
        name = "idx_declared"
        table = "attendance"
        columns = ["time_in", "date"]
        missing = "create""#,
    soil: &[DROP_INDEX, SPARSE_INDEX, FREE_PAGES, FORGET_STATISTICS],
    done: &[HAS_INDEX, FULL_PAGES, NO_FREE_PAGES, STATISTICS],
    ..NONE
};

/// Each of them.
pub const EACH: [&Chore; 11] = [
    &INDEX,
    &REINDEX,
    &VACUUM,
    &VACUUM_WITH_JOURNAL,
    &COMPACTION,
    &INCREMENTAL,
    &ANALYZE,
    &CHECKPOINT,
    &CLEAN_UP,
    &CLEAN_UP_WITH_JOURNAL,
    &ALL,
];

impl Chore {
    /// Makes it due.
    pub fn soil(&self, connection: &rusqlite::Connection) {
        if self.empties_log {
            // The connection's own checkpoints would do it.
            connection.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
        }
        let soil = self.soil.concat();
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {soil} COMMIT;")).unwrap();
    }

    /// Whether nothing of it is left to do. The application writes on.
    pub fn is_done(&self, sandbox: &Sandbox, connection: &rusqlite::Connection) -> bool {
        let number = |sql: &&str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let log = wal_bytes(&sandbox.database());
        // Where a table is missing, the work is, too.
        self.done.iter().map(number).all(|answer| answer.is_ok_and(|found| found == 1))
            && !(self.empties_log && log >= LONG_LOG)
    }
}
