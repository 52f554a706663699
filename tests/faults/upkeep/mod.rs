//! What happens to a chore: a database that an application writes all the time, in which something
//! is due. And what must hold after a fault in the middle of it, whatever the fault was.

mod chores;
mod killed;
mod power;

use crate::scene::said;
use crate::support::application::{Application, create_database};
use crate::support::history::{self, Run};
use crate::support::sandbox::Sandbox;
use crate::support::soundness::assert_sound;
use crate::support::{PATIENCE, wait_until};
use chores::{Chore, OLD, TABLES};
use rusqlite::{Connection, OpenFlags};
use rustix::process::Signal;
use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

/// What a run of it does that can be met: on the disk, and with locks.
pub const CALLS: &str = "openat,write,pwrite64,pread64,fsync,fdatasync,ftruncate,?unlink,unlinkat,fcntl";

/// Between two commits: often enough that each run meets some.
const PAUSE: Duration = Duration::from_millis(20);

pub struct Upkeep {
    pub sandbox: Sandbox,
    pub chore: &'static Chore,
    synchronous: &'static str,
    application: Option<Application>,
}

/// What was there before a fault.
pub struct Before {
    /// The last commit that the application knew of.
    committed: u64,
    /// All that no chore may change, in words.
    kept: Vec<String>,
    /// The newest run.
    run: i64,
}

impl Upkeep {
    /// In a sandbox that `adapt` has changed before anything is in it. The application commits with
    /// this `synchronous`.
    pub fn new(chore: &'static Chore, synchronous: &'static str, adapt: impl FnOnce(&Sandbox)) -> Self {
        let sandbox = Sandbox::empty();
        adapt(&sandbox);
        for directory in [sandbox.data(), sandbox.backups(), sandbox.state()] {
            fs::create_dir_all(directory).unwrap();
        }
        let options = [
            "--rows",
            "300",
            "--years",
            "1",
            "--journal-mode",
            chore.journal_mode,
            "--auto-vacuum",
            chore.auto_vacuum,
        ];
        create_database(&sandbox.database(), &options);
        // Under strace the process that looks for the application's pauses is slower than those
        // are.
        sandbox.configure(&format!("{}\n[pool]\npause_timeout = \"0s\"\n", chore.configuration));
        let mut this = Self { sandbox, chore, synchronous, application: None };
        this.connect().execute_batch(TABLES).unwrap();
        this.start_application();
        this
    }

    /// Starts the application, which must not be running.
    pub fn start_application(&mut self) {
        // Patient: that nobody waits for long is shown elsewhere, and not under strace.
        let options = ["--synchronous", self.synchronous, "--busy-timeout", "60000"];
        let mut application = Application::start_with(&self.sandbox.database(), &options, None);
        application.write_every(PAUSE);
        self.application = Some(application);
    }

    /// Lets the application do no more: it is not in the middle of a system call when this returns.
    pub fn stop_application(&self) {
        let application = self.application();
        application.signal(Signal::STOP);
        let status = format!("/proc/{}/status", application.pid());
        wait_until("the application is stopped", || {
            fs::read_to_string(&status).unwrap().contains("State:\tT").then_some(())
        });
    }

    /// Ends the application as a power cut does; gives the last commit that was acknowledged to it.
    pub fn kill_application(&mut self) -> u64 {
        self.application.take().unwrap().kill().last()
    }

    fn application(&self) -> &Application {
        self.application.as_ref().unwrap()
    }

    fn connect(&self) -> Connection {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(self.sandbox.database(), flags).unwrap();
        connection.busy_timeout(PATIENCE).unwrap();
        connection
    }

    /// The files of the database.
    pub fn files(&self) -> Vec<PathBuf> {
        let name = |end: &str| self.sandbox.data().join(format!("attendance.sqlite{end}"));
        ["", "-wal", "-shm", "-journal"].map(name).to_vec()
    }

    pub fn arguments(&self) -> [&'static str; 2] {
        [self.chore.verb, "attendance"]
    }

    pub fn run(&self) -> Output {
        self.sandbox.litekeeper(&self.arguments())
    }

    /// Makes the chore due, and looks at what is there.
    pub fn make_due(&mut self) -> Before {
        let connection = self.connect();
        self.chore.soil(&connection);
        self.go_on();
        let committed = self.application().wait_for_commits(1);
        self.rest();
        Before { committed, kept: kept(&connection), run: history::newest(&self.sandbox) }
    }

    /// The application commits nothing more before it goes on, where the chore needs that.
    fn rest(&mut self) {
        if self.chore.at_rest {
            self.application.as_mut().unwrap().pause();
        }
    }

    fn go_on(&mut self) {
        if self.chore.at_rest {
            self.application.as_mut().unwrap().write_every(PAUSE);
        }
    }

    pub fn is_done(&self) -> bool {
        self.chore.is_done(&self.sandbox, &self.connect())
    }

    /// The application goes on, and the database has all of its commits and every row that should
    /// stay.
    pub fn assert_unharmed(&mut self, before: &Before) {
        self.go_on();
        let committed = self.application().wait_for_commits(1);
        self.assert_has(before, committed);
    }

    /// The same of a database in which `committed` was acknowledged.
    pub fn assert_has(&self, before: &Before, committed: u64) {
        let last = assert_sound(&self.sandbox.database());
        let committed = committed.max(before.committed);
        assert!(last >= committed, "the database ends at {last}, {committed} was acknowledged");
        let connection = self.connect();
        let now = kept(&connection);
        let missing: Vec<_> = before.kept.iter().filter(|row| !now.contains(row)).take(5).collect();
        assert!(now == before.kept, "what should stay is not as it was: {missing:?}");
        let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        let halves = format!(
            "SELECT count(*) FROM attendance AS a WHERE a.date < '{OLD}'
             AND (SELECT count(*) FROM remark WHERE attendance_id = a.id) <> 2"
        );
        assert_eq!(number(&halves), 0, "rows stayed of which the children went");
        let foreign = "SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_stat4'";
        assert_eq!(number(foreign), 0, "there is a table that the application's SQLite need not know");
    }

    /// No run since is called a success whose work is not done, and none is said to be at work.
    pub fn assert_honest(&self, before: &Before) {
        let runs = self.runs_since(before);
        assert!(runs.len() <= 1, "{runs:?}");
        let Some(run) = runs.first() else { return };
        match run.outcome.as_str() {
            "success" => assert!(self.is_done(), "{run:?}, and it is not"),
            "running" => {
                assert_eq!(self.told(run.id), "interrupted", "of a process that is gone");
                assert!(!self.is_told_at_work(), "a process that is gone");
            }
            _ => panic!("{run:?}"),
        }
    }

    fn runs_since(&self, before: &Before) -> Vec<Run> {
        let mut runs = history::runs(&self.sandbox, "attendance", self.chore.verb);
        runs.retain(|run| run.id > before.run);
        runs
    }

    /// The outcome that `litekeeper history` shows.
    fn told(&self, id: i64) -> String {
        let runs = self.json("history");
        let run = runs.as_array().unwrap().iter().find(|run| run["id"] == id).expect("a run is missing");
        run["outcome"].as_str().unwrap_or("running").to_owned()
    }

    /// Whether `litekeeper status` shows a run at work.
    fn is_told_at_work(&self) -> bool {
        let status = self.json("status");
        let jobs = status["databases"][0]["jobs"].as_array().unwrap();
        !jobs.iter().find(|job| job["task"] == self.chore.verb).unwrap()["running"].is_null()
    }

    fn json(&self, verb: &str) -> serde_json::Value {
        let output = self.sandbox.litekeeper(&["--json", verb, "attendance"]);
        assert!(output.status.success(), "{}", said(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The next run finishes the work, and the one before it is known to have been interrupted.
    pub fn assert_next_run_finishes(&mut self, before: &Before) {
        let cut_short: Vec<_> = self
            .runs_since(before)
            .into_iter()
            .filter(|run| run.outcome != "success")
            .map(|run| run.id)
            .collect();
        self.rest();
        let output = self.run();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert!(self.is_done(), "{}", said(&output));
        let runs = self.runs_since(before);
        assert_eq!(runs.last().map(|run| run.outcome.as_str()), Some("success"), "{runs:?}");
        for run in runs.iter().filter(|run| cut_short.contains(&run.id)) {
            assert_eq!((run.outcome.as_str(), run.reason.as_str()), ("interrupted", "died"), "{run:?}");
        }
        assert_eq!(runs.len(), cut_short.len() + runs.iter().filter(|run| run.outcome == "success").count());
        self.assert_unharmed(before);
    }

    /// The application saw no error, and its database has every commit.
    pub fn end(self) {
        self.end_on(());
    }

    /// The same; what it lies `on` is dropped before the sandbox is.
    pub fn end_on<T>(mut self, on: T) {
        let seen = self.application.take().unwrap().stop();
        assert_eq!(seen.errors, Vec::<String>::new());
        assert_eq!(assert_sound(&self.sandbox.database()), seen.last());
        drop(on);
    }
}

/// Rows that stay, the schema but for what a chore makes, and what persists in the file.
fn kept(connection: &Connection) -> Vec<String> {
    let mut kept = Vec::new();
    for sql in [
        &format!(
            "SELECT concat_ws(':', 'a', id, user_id, date, time_in, time_out, confidence) FROM attendance
             WHERE source IS NULL AND date >= '{OLD}' ORDER BY id"
        ),
        "SELECT concat_ws(':', 'r', id, attendance_id, text) FROM remark WHERE text = 'kept' ORDER BY id",
        "SELECT concat_ws(':', 't', id, word) FROM tag ORDER BY id",
        "SELECT concat_ws(':', 'u', id, name, email, created_at) FROM users ORDER BY id",
        "SELECT concat_ws(':', 'f', id, user_id, hex(embedding), captured_at) FROM face_samples ORDER BY id",
        "SELECT concat_ws(':', 'b', id, hex(bytes)) FROM ballast ORDER BY id",
        "SELECT concat_ws(':', 's', type, name, sql) FROM sqlite_schema
         WHERE name NOT LIKE 'sqlite_stat%' AND name <> 'idx_declared' ORDER BY name",
    ] {
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        kept.extend(rows.map(Result::unwrap));
    }
    for pragma in ["journal_mode", "auto_vacuum", "page_size"] {
        let value =
            connection.pragma_query_value(None, pragma, |row| row.get::<_, rusqlite::types::Value>(0));
        kept.push(format!("{pragma}: {:?}", value.unwrap()));
    }
    kept
}
