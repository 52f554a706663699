//! What is wrong with an index alone, and is no damage of the file.

use std::path::Path;

use super::damaged::WRITING;
use crate::support::application;
use crate::support::backups::{manifests, restored};
use crate::support::sandbox::{Sandbox, said};
use crate::support::sql;

#[test]
fn rotation_waits_for_damaged_indexes_to_be_rebuilt() {
    let sandbox = Sandbox::new();
    let database = sandbox.database();
    let backup = || {
        let output = sandbox.litekeeper(&["backup", "attendance"]);
        assert!(output.status.success(), "{}", said(&output));
        (said(&output), manifests(&sandbox).len())
    };
    sandbox.configure("[backup]\nkeep_last = 1\nskip_unchanged = false\n[health]\nintegrity = \"full\"\n");
    backup();
    // An entry less: the index forgets a row.
    application::script(
        &database,
        "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.execute('PRAGMA writable_schema = ON')\n\
         root = c.execute(\"SELECT rootpage FROM sqlite_schema WHERE name = 'idx_users_name'\").fetchone()[0]\n\
         c.execute(\"DELETE FROM sqlite_schema WHERE name = 'idx_users_name'\")\nc.commit(); c.close()\n\
         c = sqlite3.connect(sys.argv[1])\nc.execute(\"DELETE FROM users WHERE id = (SELECT max(id) FROM users) AND id NOT IN \
         (SELECT user_id FROM attendance)\")\nc.execute(\"INSERT INTO users SELECT max(id) + 1, 'Zoe', '', '' FROM users\")\n\
         c.execute('PRAGMA writable_schema = ON')\nc.execute(\"INSERT INTO sqlite_schema VALUES ('index', 'idx_users_name', \
         'users', ?, 'CREATE INDEX idx_users_name ON users(name)')\", (root,))\nc.commit()",
    );
    let output = sandbox.litekeeper(&["health", "attendance", "--deep"]);
    assert_eq!(output.status.code(), Some(12), "{}", said(&output));
    let (words, kept) = backup();
    assert!(words.contains("removed no good one") && words.contains("idx_users_name"), "{words}");
    assert_eq!(kept, 2);
    let output = sandbox.litekeeper(&["maintain", "attendance"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(backup().1, 1, "the index is right again");
}

#[test]
fn a_full_text_index_at_odds_with_its_content_is_no_damage_of_the_file() {
    let sandbox = Sandbox::new();
    let database = sandbox.database();
    sql::edit(
        &database,
        "CREATE VIRTUAL TABLE note USING fts5 (body); INSERT INTO note VALUES ('a b'); UPDATE note_content SET c0 = 'c';
         CREATE VIRTUAL TABLE place USING rtree (id, west, east); INSERT INTO place VALUES (1, 2, 3);
         UPDATE place_rowid SET nodeno = 7;",
    );
    sandbox.configure(&format!("{WRITING}[health]\nintegrity = \"full\"\n"));
    let output = sandbox.litekeeper(&["health", "attendance", "--deep"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let words = said(&output);
    assert!(
        words.contains("full-text table note") && words.contains("main.place") && words.contains("'rebuild'"),
        "{words}"
    );
    assert!(!words.contains("recover"), "nothing is to be salvaged: {words}");
    for verb in ["backup", "verify", "maintain", "cleanup"] {
        let output = sandbox.litekeeper(&[verb, "attendance"]);
        assert!(output.status.success(), "{verb}: {}", said(&output));
    }
    assert_eq!(manifests(&sandbox)[0]["verification"]["ok"], true);
    let target = sandbox.path().join("restored.sqlite");
    restored(&sandbox, "latest", &target).unwrap();
    let rows = |path: &Path| sql::value::<u64>(path, "SELECT count(*) FROM attendance");
    assert!(rows(&target) > rows(&database), "the backup is from before the cleanup");
    sql::edit(&database, "INSERT INTO note (note) VALUES ('rebuild'); UPDATE place_rowid SET nodeno = 1");
    assert!(sandbox.litekeeper(&["health", "attendance", "--deep"]).status.success());
}
