//! What the tests of backups share: a database that takes long to copy, and what Python says of a
//! restored one.

use crate::support::application::{self, Application};
use crate::support::backups::*;
use crate::support::daemon::Daemon;
use crate::support::sandbox::Sandbox;
use crate::support::wait_until;
use litekeeper::sqlite::write::checkpoint::{Checkpoint, Mode, checkpoint};
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::time::Duration;

pub(crate) const PAUSE: Duration = Duration::from_millis(2);

pub(crate) const VERIFY_EACH_SECOND: &str = "[verify]\nschedule = \"* * * * * *\"\ncatch_up = false\n";

/// Adds so many MiB that do not compress.
pub(crate) fn ballast(application: &mut Application, mebibytes: u32) {
    application.sql("CREATE TABLE IF NOT EXISTS ballast (bytes BLOB NOT NULL)");
    application.sql(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {mebibytes}) \
         INSERT INTO ballast SELECT randomblob(1048000) FROM n"
    ));
}

pub(crate) fn python_says(database: &Path) -> String {
    let program = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\n\
                   print(c.execute('PRAGMA integrity_check').fetchone()[0], c.execute('SELECT max(seq) FROM journal').fetchone()[0])";
    application::script(database, program)
}

/// Does `act` while the daemon is stopped in the middle of a backup of what does not compress. A
/// backup that was done before it could be stopped is not counted: the next one is tried.
pub(crate) fn in_the_middle_of_a_copy(sandbox: &Sandbox, daemon: &Daemon, mut act: impl FnMut()) {
    let written = || -> Option<u64> {
        let is_data = |name: &String| name.starts_with(".tmp-") && name.contains(".sqlite");
        let name = unfinished(sandbox).into_iter().find(is_data)?;
        Some(fs::metadata(directory(sandbox).join(name)).ok()?.len())
    };
    wait_until("the copy is caught in the middle", || {
        let size = fs::metadata(sandbox.database()).unwrap().len();
        wait_until("the copy begins", || written().filter(|bytes| *bytes > 0));
        daemon.signal(Signal::STOP);
        let caught = written().is_some_and(|bytes| bytes > 0 && bytes < size / 2);
        if caught {
            act();
        }
        daemon.signal(Signal::CONT);
        caught.then_some(())
    });
}

/// What is in the log of a database that nobody but litekeeper makes a checkpoint of.
pub(crate) fn log(sandbox: &Sandbox) -> Checkpoint {
    let connection = rusqlite::Connection::open(sandbox.database()).unwrap();
    checkpoint(&connection, Mode::Noop).unwrap().unwrap()
}

/// The detail of a run of `litekeeper backup`, which must succeed.
pub(crate) fn backed_up(sandbox: &Sandbox) -> serde_json::Value {
    let output = sandbox.litekeeper(&["backup", "attendance", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let run: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    run["detail"].clone()
}
