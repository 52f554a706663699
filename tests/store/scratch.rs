//! Scratch files of a verification.

use litekeeper::store::scratch::Scratch;
use rusqlite::Connection;
use std::fs;
use std::io::Write;
use std::process::Command;

#[test]
fn a_nameless_scratch_file_is_a_database_to_sqlite_and_nothing_to_anybody_else() {
    let base = tempfile::tempdir().unwrap();
    let made = base.path().join("made.sqlite");
    let connection = Connection::open(&made).unwrap();
    connection.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (7)").unwrap();
    drop(connection);
    let bytes = fs::read(&made).unwrap();
    fs::remove_file(made).unwrap();
    // What a run that was killed between naming and opening has left; no process has so high a
    // number.
    fs::write(base.path().join(".scratch-4194305-verify-0"), "left").unwrap();

    let listed = || fs::read_dir(base.path()).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
    let mut first = Scratch::create(base.path(), "verify").unwrap();
    first.file().write_all(&bytes).unwrap();
    let second = Scratch::create(base.path(), "verify").unwrap();
    assert!(listed().is_empty(), "{:?}", listed());
    let connection = first.open().unwrap();
    assert!(listed().is_empty(), "{:?}", listed());
    assert_eq!(connection.query_row("SELECT a FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), 7);
    drop((connection, second));
    assert!(listed().is_empty(), "{:?}", listed());
}

/// In a directory that all may write to, a name may be anything.
#[test]
fn a_link_or_a_pipe_of_that_name_is_neither_opened_nor_waited_for() {
    let base = tempfile::tempdir().unwrap();
    let elsewhere = base.path().join("elsewhere");
    fs::write(&elsewhere, "somebody's").unwrap();
    std::os::unix::fs::symlink(&elsewhere, base.path().join(".scratch-1-verify-0")).unwrap();
    let pipe = base.path().join(".scratch-2-verify-0");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    drop(Scratch::create(base.path(), "verify").unwrap());
    assert_eq!(fs::read_dir(base.path()).unwrap().count(), 3);
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "somebody's");
}
