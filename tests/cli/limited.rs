//! A sound database of which a part needs what only the application has: that part is left out and
//! said once, the rest is done, and nothing is called a failure.

use super::fixture::{json, run, text};
use crate::support::application;
use crate::support::daemon::{Daemon, database, job};
use crate::support::history::wait_for_run;
use crate::support::sandbox::Sandbox;
use serde_json::{Value, json};

/// A table whose key is in an order of the application's, one that SQLite alone can treat, and
/// room that VACUUM would give back.
const THEIRS: &str = "import sqlite3, sys\n\
    c = sqlite3.connect(sys.argv[1])\n\
    c.create_collation('ours', lambda a, b: (a > b) - (a < b))\n\
    c.execute('CREATE TABLE tags (tag TEXT NOT NULL PRIMARY KEY COLLATE ours, n INTEGER) WITHOUT ROWID')\n\
    c.execute('CREATE TABLE notes (id INTEGER PRIMARY KEY, kind INTEGER, x BLOB)')\n\
    c.execute('CREATE INDEX by_kind ON notes (kind)')\n\
    c.executemany('INSERT INTO tags VALUES (?, 0)', [(f'tag {i}',) for i in range(300)])\n\
    c.executemany('INSERT INTO notes VALUES (?, ?, zeroblob(3000))', [(i, i % 9) for i in range(9000)])\n\
    c.execute('DELETE FROM notes WHERE id >= 500')\n\
    c.commit()";

const ANALYZE: &str = "ANALYZE of tags: no such collation sequence: ours";
const VACUUM: &str =
    "VACUUM, which makes every table and index anew: table tags: no such collation sequence: ours";

fn theirs(configuration: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    application::script(&sandbox.database(), THEIRS);
    sandbox.configure(configuration);
    sandbox
}

/// A database that can be looked at without what the application has.
fn statistics(sandbox: &Sandbox) -> Vec<String> {
    let connection = rusqlite::Connection::open(sandbox.database()).unwrap();
    let mut statement = connection.prepare("SELECT DISTINCT tbl FROM sqlite_stat1").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

fn step<'a>(told: &'a Value, name: &str) -> &'a Value {
    told["detail"]["steps"].as_array().unwrap().iter().find(|step| step["step"] == name).unwrap()
}

#[test]
fn maintenance_leaves_out_what_only_the_application_can_do_and_is_a_success_with_a_word_of_its_own() {
    let sandbox = theirs("");
    let planned = json(&sandbox, 0, &["maintain", "attendance", "--dry-run"]);
    assert_eq!(planned["left_out"], json!([VACUUM, ANALYZE]), "{planned:#}");
    let told = json(&sandbox, 0, &["maintain", "attendance"]);
    assert_eq!((&told["outcome"], &told["reason"]), (&"success".into(), &"unsupported".into()), "{told:#}");
    assert_eq!(told["left_out"], json!([VACUUM, ANALYZE]), "{told:#}");
    assert_eq!(step(&told, "vacuum")["decision"], "left_out");
    assert_eq!(step(&told, "analyze")["treated"], json!(["notes"]));
    assert_eq!(statistics(&sandbox), ["notes"]);
    // In the lists it is neither "success" nor "failure".
    let runs = run(&sandbox, 0, &["history", "attendance"]);
    let runs = text(&runs.stdout);
    assert!(runs.contains(" limited ") && !runs.contains(" success "), "{runs}");
    let status = run(&sandbox, 0, &["status"]);
    let status = text(&status.stdout);
    let line = status.lines().find(|line| line.trim_start().starts_with("maintain")).unwrap();
    assert!(line.contains("limited") && !status.contains("warning  maintain"), "{status}");
}

#[test]
fn what_is_left_out_is_told_once_and_not_each_night_again() {
    let sandbox = theirs("");
    let configuration =
        sandbox.configure("[maintain]\nschedule = \"* * * * * *\"\ncatch_up = false\nvacuum = \"never\"");
    let daemon = Daemon::start(&configuration);
    let first = wait_for_run(&sandbox, "maintain", 0, "success");
    let second = wait_for_run(&sandbox, "maintain", first.id, "success");
    wait_for_run(&sandbox, "maintain", second.id, "success");
    assert!(first.summary.contains(ANALYZE) && second.summary.contains(ANALYZE), "{first:?}\n{second:?}");
    let loud = |line: &String| line.contains("WARN") && line.contains(ANALYZE);
    let told: Vec<String> = daemon.log().into_iter().filter(loud).collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    let page = daemon.get("/").unwrap().body;
    assert!(page.contains(">limited</span>"), "{page}");
    let status = daemon.status();
    let maintain = job(&status, "attendance", "maintain").unwrap();
    assert_eq!(maintain["last"]["reason"], "unsupported", "{maintain}");
    assert!(database(&status, "attendance").is_some());
    assert!(daemon.stop().success());
    // A restart is no news either.
    let daemon = Daemon::start(&configuration);
    let third = wait_for_run(&sandbox, "maintain", second.id + 1, "success");
    assert!(third.summary.contains(ANALYZE), "{third:?}");
    assert!(!daemon.log().iter().any(loud), "{:#?}", daemon.log());
    assert!(daemon.stop().success());
}

#[test]
fn an_index_that_only_the_application_can_make_is_left_out_and_one_that_nobody_can_is_a_problem_of_the_preview()
 {
    let declared = |name: &str, table: &str, column: &str| {
        format!(
            "[[database.attendance.index]]\nname = \"{name}\"\ntable = \"{table}\"\ncolumns = [\"{column}\"]\n\
             missing = \"create\"\n"
        )
    };
    let never = "[maintain]\nvacuum = \"never\"\nanalyze = \"never\"\n";
    let sandbox = theirs(&(never.to_owned() + &declared("by_tag", "tags", "tag")));
    let expected =
        json!(["CREATE INDEX by_tag: no such collation sequence: ours; only the application has that, so \
                           only the application can do this"]);
    for how in [&["maintain", "attendance", "--dry-run"][..], &["maintain", "attendance"]] {
        let told = json(&sandbox, 0, how);
        assert_eq!(told["left_out"], expected, "{how:?}: {told:#}");
    }
    sandbox.configure(&(never.to_owned() + &declared("by_colour", "notes", "colour")));
    for how in [&["maintain", "attendance", "--dry-run"][..], &["maintain", "attendance"]] {
        let told = json(&sandbox, 3, how);
        let message = told["problems"][0]["message"].as_str().unwrap();
        assert_eq!(message, "CREATE INDEX by_colour: table notes has no column colour", "{how:?}");
    }
}

#[test]
fn a_backup_that_only_the_application_can_check_in_part_does_not_fail_each_day() {
    let sandbox = theirs("");
    run(&sandbox, 0, &["backup", "attendance"]);
    for _ in 0..2 {
        let told = json(&sandbox, 0, &["verify", "attendance"]);
        assert_eq!(
            (&told["outcome"], &told["reason"]),
            (&"success".into(), &"unsupported".into()),
            "{told:#}"
        );
        assert_eq!(told["left_out"], json!(["table tags: no such collation sequence: ours"]), "{told:#}");
        assert_eq!(told["findings"], json!([]));
    }
    let status = run(&sandbox, 0, &["status"]);
    let status = text(&status.stdout);
    let line = status.lines().find(|line| line.trim_start().starts_with("verify")).unwrap();
    assert!(line.contains("limited"), "{status}");
}

#[test]
fn a_watched_query_that_needs_the_applications_function_is_known_to_check_and_fails_no_run() {
    let watched = "[database.attendance.watch.titles]\nsql = \"SELECT title_sort(kind) FROM notes\"\n\
                   [database.attendance.watch.plain]\nsql = \"SELECT count(*) FROM notes\"\n";
    let sandbox = theirs(watched);
    let checked = json(&sandbox, 0, &["check"]);
    let [warning] = &checked["warnings"].as_array().unwrap()[..] else { panic!("{checked:#}") };
    let warning = warning.as_str().unwrap();
    assert!(
        warning.starts_with("database.attendance.watch.titles needs the function title_sort, "),
        "{warning}"
    );
    let daemon =
        Daemon::start(&sandbox.configure(&format!("[watch]\nschedule = \"* * * * * *\"\n{watched}")));
    let first = wait_for_run(&sandbox, "watch", 0, "success");
    let second = wait_for_run(&sandbox, "watch", first.id, "success");
    let expected = "query titles: no such function: title_sort";
    for run in [&first, &second] {
        assert_eq!(run.reason, "unsupported");
        assert!(run.summary.starts_with("1 of 2 queries timed") && run.summary.contains(expected), "{run:?}");
    }
    let loud = |line: &&String| line.contains("WARN") && line.contains(expected);
    assert_eq!(daemon.log().iter().filter(loud).count(), 1, "{:#?}", daemon.log());
    assert!(daemon.stop().success());
}

#[test]
fn an_empty_table_without_a_key_does_not_keep_vacuum_away() {
    let sandbox = Sandbox::empty();
    let program = "import sqlite3, sys\n\
        c = sqlite3.connect(sys.argv[1])\n\
        c.execute('CREATE TABLE waiting (user TEXT NOT NULL)')\n\
        c.execute('CREATE TABLE event (id INTEGER PRIMARY KEY, x BLOB)')\n\
        c.executemany('INSERT INTO event (x) VALUES (zeroblob(4000))', [()] * 8000)\n\
        c.execute('DELETE FROM event WHERE id > 500')\n\
        c.commit()";
    application::script(&sandbox.database(), program);
    sandbox.configure("");
    let before = std::fs::metadata(sandbox.database()).unwrap().len();
    let told = json(&sandbox, 0, &["maintain", "attendance"]);
    assert_eq!(step(&told, "vacuum")["decision"], "done", "{told:#}");
    assert!(std::fs::metadata(sandbox.database()).unwrap().len() < before / 2);
    // One row has a rowid that something may refer to.
    application::script(
        &sandbox.database(),
        "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.execute(\"INSERT INTO waiting VALUES ('a')\")\n\
         c.execute('CREATE TABLE gone AS SELECT zeroblob(30000000)')\nc.execute('DROP TABLE gone')\nc.commit()",
    );
    let told = json(&sandbox, 0, &["maintain", "attendance"]);
    let why = step(&told, "vacuum")["why"].as_str().unwrap();
    assert!(why.contains("would renumber the rowids of waiting"), "{told:#}");
}
