//! The benchmark of tests/bench: that it runs and prints a row for each way. No figure is judged
//! here.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::skip;

const LITEKEEPER: &str = env!("CARGO_BIN_EXE_litekeeper");

/// The benchmark on databases of one MiB, one round.
fn bench(dir: &Path, binary: &str, args: &[&str]) -> Output {
    let run = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/run");
    let dir = dir.to_str().unwrap();
    let common = ["--binary", binary, "--dir", dir, "--mixed", "1", "--text", "1", "--rounds", "1"];
    Command::new(run).args(args).args(common).output().unwrap()
}

/// The rows of all its tables that begin with this name, as cells.
fn rows(output: &Output, name: &str) -> Vec<Vec<String>> {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let cells = |row: &str| row.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows: Vec<_> =
        text.lines().map(cells).filter(|row| row.get(1).is_some_and(|cell| cell == name)).collect();
    assert!(rows.iter().all(|row| row.len() > 4), "{text}");
    rows
}

/// The number that a cell begins with.
fn number(cell: &str) -> f64 {
    cell.split(' ').next().unwrap().parse().unwrap_or_else(|e| panic!("{cell:?}: {e}"))
}

fn can_run() -> bool {
    // GNU time tells the peak memory of a run.
    let able = Path::new("/usr/bin/time").exists();
    if !able {
        skip("/usr/bin/time is missing: apt-get install time");
    }
    able
}

#[test]
fn shows_a_row_for_each_way_to_make_a_backup_and_for_the_daemon() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = bench(dir.path(), LITEKEEPER, &["backup", "--ways", "gzip 6,Python"]);
    // Both databases; for litekeeper the memory of the daemon, too.
    let (own, other) =
        (rows(&output, "litekeeper gzip 6"), rows(&output, "Connection.backup + gzip 9 (Python)"));
    assert_eq!((own.len(), other.len()), (4, 2));
    for row in [&own[0], &own[2], &other[0], &other[1]] {
        let (seconds, stored) = (number(&row[2]), number(&row[8]));
        assert!(seconds > 0.0 && stored > 0.0 && stored < 1.1, "{row:?}");
    }
    assert_eq!(own[0][3], "1.00", "the others are compared with this one: {:?}", own[0]);
    for row in [&own[1], &own[3]] {
        assert!(number(&row[2]) > 1.0 && number(&row[3]) >= number(&row[2]), "{row:?}");
    }
    let left: Vec<_> = dir.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["data"], "only the databases are kept");
}

#[test]
fn shows_a_row_for_each_way_to_restore_one() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = bench(dir.path(), LITEKEEPER, &["restore", "--ways", "restore gzip 6,gunzip"]);
    for name in ["litekeeper restore gzip 6", "gunzip"] {
        let rows = rows(&output, name);
        assert_eq!(rows.len(), 2, "{name}: one for each database");
        assert!(rows.iter().all(|row| number(&row[8]) >= 1.0), "{rows:?}");
    }
}

#[test]
fn shows_what_an_application_feels_of_each_way() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let args = ["beside", "--ways", "gzip 6,Python", "--journal", "wal", "--pause", "1", "--least", "0.3"];
    let output = bench(dir.path(), LITEKEEPER, &args);
    for name in ["litekeeper gzip 6", "Connection.backup + gzip 9 (Python)"] {
        let rows = rows(&output, name);
        assert_eq!(rows.len(), 2, "{name}");
        for row in rows {
            let (transactions, median, worst) = (number(&row[3]), number(&row[4]), number(&row[6]));
            assert!(transactions > 0.0 && median > 0.0 && worst >= median, "{row:?}");
        }
    }
}

#[test]
fn shows_what_an_application_feels_of_each_way_of_upkeep_and_what_came_of_it() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let args = ["upkeep", "--upkeep", "2", "--journal", "wal", "--ways", "DELETE,cleanup,analyze = always"];
    let output = bench(dir.path(), LITEKEEPER, &args);
    let names = ["DELETE of 30 %", "litekeeper cleanup of 30 %", "litekeeper analyze = always"];
    for name in names {
        let rows = rows(&output, name);
        let [felt, done] = rows.as_slice() else { panic!("{name}: not a row in both tables: {rows:?}") };
        // The writer, and the reader.
        for first in [2, 8] {
            let (transactions, median, worst) =
                (number(&felt[first]), number(&felt[first + 1]), number(&felt[first + 3]));
            assert!(transactions > 0.0 && median > 0.0 && worst >= median, "{felt:?}");
        }
        let removes = name != names[2];
        // There is no plain ANALYZE among these to compare with.
        assert_eq!(!felt[14].is_empty(), removes, "{felt:?}");
        // About 30 % of 2 MiB.
        assert_eq!(number(&done[6]) > 0.3, removes, "{done:?}");
    }
}

#[test]
fn a_binary_that_does_not_work_is_an_error() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = bench(dir.path(), "/bin/false", &["backup", "--ways", "gzip 6"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("/bin/false") && text.contains("exit status 1"), "{text}");
}
