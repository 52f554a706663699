//! Schemas that the application reads, and this SQLite does not read as a whole: one that trusts
//! nothing and has the file alone refuses a part, or a name is no text. Pages are copied whatever
//! the schema says, and only what is concerned is left out, by name.

use crate::support::application;
use crate::support::backups::manifests;
use crate::support::sandbox::{Sandbox, said};
use crate::support::sql;
use std::fs;
use std::path::Path;

/// What may be left out of these is nothing of theirs.
const RULES: &str = "[maintain]\nvacuum = \"always\"\nanalyze = \"always\"\nreindex = \"always\"\n\
    vacuum_rowids = \"renumber\"\n[health]\nintegrity = \"full\"\n\
    [[database.attendance.cleanup.rule]]\ntable = \"queue\"\nkeep_rows = 60\n";

const QUEUE: &str = "CREATE TABLE queue (id INTEGER PRIMARY KEY, x, y);
    CREATE INDEX queue_x ON queue (x);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
    INSERT INTO queue (x) SELECT i FROM n;";

/// As Datasette counts the rows of each table, those of a full-text index too.
const COUNTS: &str =
    "CREATE VIRTUAL TABLE words USING fts5 (title); INSERT INTO words VALUES ('one'), ('two');
    CREATE TABLE counts (name TEXT PRIMARY KEY, n INTEGER);
    CREATE TRIGGER count_data AFTER INSERT ON words_data BEGIN
      INSERT OR REPLACE INTO counts VALUES ('words', 1); END;";

fn sandbox(schema: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    sql::edit(&sandbox.database(), &format!("{QUEUE} {schema}"));
    sandbox.configure(RULES);
    sandbox
}

/// As Tracker has it: each file is attached under a name of its own, which its views have.
fn attached(schema: &str) -> Sandbox {
    let sandbox = sandbox("CREATE TABLE document (id INTEGER PRIMARY KEY, title TEXT); CREATE TABLE log (n)");
    let program = format!(
        "import sqlite3, sys\nc = sqlite3.connect(':memory:', isolation_level=None)\n\
         c.execute('ATTACH ? AS tracker', (sys.argv[1],))\nc.execute('''{schema}''')"
    );
    application::script(&sandbox.database(), &program);
    sandbox
}

/// Runs a command to its end.
#[track_caller]
fn ends(sandbox: &Sandbox, command: &[&str], code: i32) -> String {
    let output = sandbox.litekeeper(command);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {}", said(&output));
    assert!(code == 12 || !said(&output).contains("damaged"), "{command:?}: {}", said(&output));
    said(&output)
}

/// Every job does what it does with any other database.
fn is_kept_well(sandbox: &Sandbox, named: &[&str]) {
    let copy = sandbox.path().join("copy.sqlite");
    ends(sandbox, &["backup", "attendance"], 0);
    assert!(ends(sandbox, &["verify", "attendance"], 0).contains("restored, checked, good"));
    ends(sandbox, &["restore", "attendance", "--to", copy.to_str().unwrap()], 0);
    assert_eq!(pages(&copy), pages(&sandbox.database()));
    assert_eq!(manifests(sandbox)[0]["damage"], serde_json::Value::Null);
    assert!(ends(sandbox, &["cleanup", "attendance"], 0).contains("removed 40 rows"));
    let maintained = ends(sandbox, &["maintain", "attendance"], 0);
    assert!(maintained.contains("VACUUM freed") && maintained.contains("ANALYZE of"), "{maintained}");
    let health = ends(sandbox, &["health", "attendance", "--deep"], 0);
    for name in named {
        assert!(health.contains(name), "{name:?} is not in {health}");
    }
    let new = sandbox.path().join("new.sqlite");
    let recovered = ends(sandbox, &["recover", "attendance", "--to", new.to_str().unwrap()], 0);
    assert!(recovered.contains("the database is sound"), "{recovered}");
    let rest: String = ends(sandbox, &["advise", "attendance"], 0);
    assert!(!rest.contains("utf-8"), "{rest}");
}

/// All but the header, which a backup writes anew.
fn pages(database: &Path) -> Vec<u8> {
    fs::read(database).unwrap().split_off(100)
}

#[test]
fn a_trigger_on_a_shadow_table_keeps_no_job_away_and_is_no_damage() {
    let sandbox = sandbox(COUNTS);
    is_kept_well(&sandbox, &["count_data", "cannot create triggers on shadow tables"]);
    let program = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\n\
        c.execute(\"INSERT INTO words VALUES ('three')\")\nc.commit()\n\
        assert c.execute('PRAGMA integrity_check').fetchall() == [('ok',)]\n\
        print(c.execute('SELECT n FROM counts').fetchone()[0])";
    assert_eq!(application::script(&sandbox.database(), program).trim(), "1", "the trigger is still there");
}

#[test]
fn a_view_of_the_schema_under_which_the_file_is_attached_keeps_no_job_away_and_is_no_damage() {
    let sandbox = attached("CREATE VIEW tracker.titles AS SELECT title FROM tracker.document");
    is_kept_well(&sandbox, &["titles", "cannot reference objects in database tracker"]);
    let program = "import sqlite3, sys\nc = sqlite3.connect(':memory:', isolation_level=None)\n\
         c.execute('ATTACH ? AS tracker', (sys.argv[1],))\n\
         print(c.execute('SELECT count(*) FROM tracker.titles').fetchone()[0])";
    assert_eq!(application::script(&sandbox.database(), program).trim(), "0", "the view is still there");
}

#[test]
fn a_trigger_that_is_not_read_here_keeps_its_own_table_from_cleanup_and_no_other() {
    let sandbox = attached(
        "CREATE TRIGGER tracker.counted AFTER DELETE ON document BEGIN \
         INSERT INTO log SELECT count(*) FROM tracker.document; END",
    );
    sql_by_its_application(&sandbox, "INSERT INTO tracker.document SELECT id, x FROM tracker.queue");
    let rule =
        "[[database.attendance.cleanup.rule]]\ntable = \"document\"\nkeep_rows = 60\ntriggers = \"allow\"\n";
    sandbox.configure(&format!("{RULES}{rule}"));
    let cleaned = ends(&sandbox, &["cleanup", "attendance"], 3);
    assert!(cleaned.contains("removed 40 rows") && cleaned.contains("rule on document"), "{cleaned}");
    assert!(cleaned.contains("the trigger counted"), "{cleaned}");
    let left = sql_by_its_application(&sandbox, "SELECT count(*) FROM tracker.document");
    assert_eq!(left, "100");
}

/// By the application, which has the file attached.
fn sql_by_its_application(sandbox: &Sandbox, sql: &str) -> String {
    let program = format!(
        "import sqlite3, sys\nc = sqlite3.connect(':memory:', isolation_level=None)\n\
         c.execute('ATTACH ? AS tracker', (sys.argv[1],))\nrow = c.execute('''{sql}''').fetchone()\n\
         print(row[0] if row else '')"
    );
    application::script(&sandbox.database(), &program).trim().to_owned()
}

#[test]
fn damage_of_a_schema_is_not_passed_over_with_what_is_refused_here() {
    let sandbox = sandbox(COUNTS);
    sql::edit(
        &sandbox.database(),
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE INDEX queue_x ON' WHERE name = 'queue_x'",
    );
    ends(&sandbox, &["health", "attendance", "--deep"], 12);
    let cleaned = ends(&sandbox, &["cleanup", "attendance"], 12);
    assert!(cleaned.contains("damaged"), "{cleaned}");
}

/// `QZ` in every name and text of the schema becomes one byte of Latin-1.
fn in_latin_1(sandbox: &Sandbox) {
    sql::edit(
        &sandbox.database(),
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET name = replace(name, 'QZ', CAST(x'e9' AS TEXT)), \
         tbl_name = replace(tbl_name, 'QZ', CAST(x'e9' AS TEXT)), sql = replace(sql, 'QZ', CAST(x'e9' AS TEXT))",
    );
}

const LATIN_1: &str = "CREATE TABLE cafQZ (id INTEGER PRIMARY KEY, prQZnom, nom UNIQUE REFERENCES counts (n));
    INSERT INTO cafQZ VALUES (1, 'a', NULL), (2, 'b', NULL);
    CREATE TABLE counts (n INTEGER PRIMARY KEY, x /* QZ */ DEFAULT 'QZ', annQZe); CREATE INDEX indQZ ON counts (annQZe);
    CREATE INDEX queue_QZ ON queue (y); CREATE VIEW vuQZ AS SELECT n, x FROM counts;
    CREATE TRIGGER dQZclencheur AFTER INSERT ON counts BEGIN DELETE FROM counts WHERE annQZe = 1; END;";

#[test]
fn a_name_that_is_not_utf8_keeps_nothing_but_itself_from_its_work() {
    let sandbox = sandbox(LATIN_1);
    in_latin_1(&sandbox);
    is_kept_well(&sandbox, &["table caf\u{FFFD}: its name is not UTF-8"]);
    let program = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.text_factory = bytes\n\
        print(sorted(row[0] for row in c.execute('SELECT name FROM sqlite_schema') if 0xe9 in row[0]))";
    let names = application::script(&sandbox.database(), program);
    for name in [r"b'caf\xe9'", r"b'd\xe9clencheur'", r"b'ind\xe9'", r"b'queue_\xe9'", r"b'vu\xe9'"] {
        assert!(names.contains(name), "{name} is not in {names}");
    }
    // All that can be known of the table is: what it takes in the file.
    let health = ends(&sandbox, &["health", "attendance"], 0);
    assert!(health.contains("3 tables"), "{health}");
}

#[test]
fn rows_are_not_removed_where_a_table_whose_name_is_not_utf8_may_point_at_them() {
    let sandbox = sandbox(LATIN_1);
    sql::edit(&sandbox.database(), "DROP TRIGGER dQZclencheur; INSERT INTO counts (n) SELECT x FROM queue");
    in_latin_1(&sandbox);
    let rule = "[[database.attendance.cleanup.rule]]\ntable = \"counts\"\nkeep_rows = 60\n";
    sandbox.configure(&format!("{RULES}{rule}"));
    let cleaned = ends(&sandbox, &["cleanup", "attendance"], 3);
    assert!(cleaned.contains("removed 40 rows") && cleaned.contains("rule on counts"), "{cleaned}");
    assert!(cleaned.contains("a table refers to counts: table caf\u{FFFD}"), "{cleaned}");
    assert_eq!(sql::value::<u64>(&sandbox.database(), "SELECT count(*) FROM counts"), 100);
}

#[test]
fn recover_saves_the_rows_of_a_table_whose_name_is_not_utf8_under_the_name_that_is_shown() {
    let sandbox = sandbox(LATIN_1);
    in_latin_1(&sandbox);
    let root: u64 =
        sql::value(&sandbox.database(), "SELECT rootpage FROM sqlite_schema WHERE name = 'queue_x'");
    let size: u64 = sql::value(&sandbox.database(), "PRAGMA page_size");
    let mut bytes = fs::read(sandbox.database()).unwrap();
    let at = usize::try_from((root - 1) * size).unwrap();
    bytes[at..at + 100].fill(0xA5);
    fs::write(sandbox.database(), bytes).unwrap();
    let new = sandbox.path().join("new.sqlite");
    let recovered = sandbox.litekeeper(&["recover", "attendance", "--to", new.to_str().unwrap()]);
    assert!(said(&recovered).contains("table caf\u{FFFD}"), "{}", said(&recovered));
    assert_eq!(
        sql::value::<u64>(&new, "SELECT count(*) FROM \"caf\u{FFFD}\" WHERE \"pr\u{FFFD}nom\" < 'c'"),
        2
    );
    assert_eq!(sql::value::<u64>(&new, "SELECT count(*) FROM queue"), 100);
}
