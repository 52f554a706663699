//! That the one file of a database which nobody uses is all of it, also beside a daemon (HAZARDS
//! H30), and that a database is reached under one name (H31). The application is another process,
//! and litekeeper the real program.

use crate::support::application::{Application, create_database, script};
use crate::support::daemon::{BACKUP_EACH_SECOND, Daemon};
use crate::support::history::{newest, wait_for_run};
use crate::support::sandbox::Sandbox;
use crate::support::soundness::assert_sound;
use crate::support::{skip, wait_until};
use litekeeper::state::State;
use litekeeper::state::runs::{self, Ending};
use litekeeper::terms::{Cause, JobKind, Outcome};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// Once, at the start, as [`missed`] makes it be due.
const ONE_BACKUP: &str = "[backup]\nschedule = \"@yearly\"\ncatch_up = true\nskip_unchanged = false\n";

fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A history in which the last backup was made so long ago that one is missed.
fn missed(sandbox: &Sandbox) {
    let state = State::open(&sandbox.state()).unwrap();
    let long_ago = chrono::Utc::now() - chrono::TimeDelta::days(800);
    let ending = Ending {
        outcome: Outcome::Success,
        reason: None,
        summary: String::new(),
        detail: serde_json::Value::Null,
    };
    let run = state.now(|c| runs::begin(c, "attendance", JobKind::Backup, Cause::Manual, long_ago)).unwrap();
    let ended = state.now(|c| {
        let sql = "UPDATE run SET finished = started, outcome = ?2, summary = ?3 WHERE id = ?1";
        Ok(c.execute(sql, (run, ending.outcome.as_str(), &ending.summary))?)
    });
    assert_eq!(ended.unwrap(), 1);
}

/// A daemon that has made one backup and has nothing else to do.
fn idle_daemon(sandbox: &Sandbox, idle: &str) -> Daemon {
    missed(sandbox);
    let before = newest(sandbox);
    let daemon = Daemon::start(&sandbox.configure(&format!("{ONE_BACKUP}[pool]\nidle = \"{idle}\"\n")));
    wait_for_run(sandbox, "backup", before, "success");
    daemon
}

fn wait_until_closed(daemon: &Daemon, database: &Path) {
    let descriptors = format!("/proc/{}/fd", daemon.pid().as_raw_nonzero());
    let is_open = || {
        let targets =
            fs::read_dir(&descriptors).unwrap().filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
        targets.into_iter().any(|target| target.starts_with(database.parent().unwrap()))
    };
    wait_until("the daemon has nothing of the database open", || (!is_open()).then_some(()));
    daemon.wait_for_metrics("the pool to be empty", |metrics| {
        let of = |state| {
            metrics.get("litekeeper_pool_connections", &[("database", "attendance"), ("state", state)])
        };
        (of("idle")? + of("in_use")? < 0.5).then_some(())
    });
}

fn wait_until_emptied(database: &Path) {
    wait_until("the log is emptied", || (!beside(database, "-wal").exists()).then_some(()));
}

#[test]
fn h30_a_copy_of_the_one_file_of_a_stopped_application_is_the_whole_database_beside_the_daemon() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox.configure(&format!("{BACKUP_EACH_SECOND}[pool]\nidle = \"50ms\"\n")));
    let copy = sandbox.path().join("copy.sqlite");
    for _ in 0..3 {
        let mut application = Application::start(&sandbox.database());
        application.write_every(Duration::from_millis(1));
        // The daemon has its connection open at some of the ends, and not at others.
        wait_for_run(&sandbox, "backup", newest(&sandbox), "success");
        application.pause();
        let seen = application.stop();
        wait_until_emptied(&sandbox.database());
        fs::copy(sandbox.database(), &copy).unwrap();
        assert_eq!((assert_sound(&copy), seen.errors.clone()), (seen.last(), Vec::new()));
    }
    assert!(daemon.stop().success());
}

#[test]
fn h30_a_file_that_is_copied_over_a_stopped_applications_one_is_what_it_reads() {
    let sandbox = Sandbox::new();
    let good = sandbox.path().join("good.sqlite");
    create_database(&good, &["--rows", "77"]);
    let mut application = Application::start(&sandbox.database());
    let daemon = idle_daemon(&sandbox, "100ms");
    application.write_every(Duration::ZERO);
    application.wait_for_commits(50);
    application.pause();
    application.stop();
    wait_until_closed(&daemon, &sandbox.database());
    wait_until_emptied(&sandbox.database());

    fs::copy(&good, sandbox.database()).unwrap();
    let mut application = Application::start(&sandbox.database());
    assert_eq!(
        application.sql("SELECT (SELECT count(*) FROM attendance), (SELECT count(*) FROM journal)")[0],
        77
    );
    application.write_every(Duration::ZERO);
    application.wait_for_commits(30);
    application.pause();
    let seen = application.stop();
    assert!(daemon.stop().success());
    assert_eq!(assert_sound(&sandbox.database()), seen.last());
}

/// The cure of many manuals, and a move: what is committed afterwards is all there.
#[test]
fn h30_after_files_were_removed_and_moved_between_two_jobs_no_later_commit_is_lost() {
    let sandbox = Sandbox::new();
    let mut application = Application::start(&sandbox.database());
    application.write_every(Duration::from_millis(1));
    application.wait_for_commits(5);
    let daemon = Daemon::start(&sandbox.configure(&format!("{BACKUP_EACH_SECOND}[pool]\nidle = \"50ms\"\n")));
    wait_for_run(&sandbox, "backup", newest(&sandbox), "success");
    application.pause();
    application.stop();
    wait_until_emptied(&sandbox.database());
    for suffix in ["-wal", "-shm"] {
        // A backup may be under way.
        let _ = fs::remove_file(beside(&sandbox.database(), suffix));
    }
    let moved = sandbox.data().join("moved.sqlite");
    fs::rename(sandbox.database(), &moved).unwrap();
    create_database(&sandbox.database(), &["--rows", "7"]);
    let mut application = Application::start(&sandbox.database());
    application.write_every(Duration::from_millis(1));
    // One may have been stopped by it.
    let mark = newest(&sandbox);
    wait_until("a backup of what is there now", || {
        crate::support::history::runs(&sandbox, "attendance", "backup")
            .into_iter()
            .find(|run| run.id > mark + 1 && run.outcome == "success")
    });
    application.pause();
    let seen = application.stop();
    assert!(daemon.stop().success());
    assert_eq!((assert_sound(&sandbox.database()), seen.errors.clone()), (seen.last(), Vec::new()));
    assert!(assert_sound(&moved) >= 5);
}

#[test]
fn h30_beside_an_idle_daemon_an_application_may_have_the_file_to_itself() {
    let sandbox = Sandbox::new();
    let daemon = idle_daemon(&sandbox, "100ms");
    wait_until_closed(&daemon, &sandbox.database());
    let program = "import sqlite3, sys\n\
         def run(*statements):\n    c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)\n    \
         [c.execute(s).fetchall() for s in statements]\n    c.close()\n\
         run('PRAGMA locking_mode = exclusive', 'BEGIN IMMEDIATE', 'UPDATE users SET name = 1', 'COMMIT')\n\
         run('PRAGMA journal_mode = delete', 'BEGIN EXCLUSIVE', 'COMMIT')\nprint('done')";
    assert_eq!(script(&sandbox.database(), program), "done");
    assert!(daemon.stop().success());
}

#[test]
fn h30_a_command_leaves_the_one_file_whole_when_it_ends() {
    let sandbox = Sandbox::new();
    sandbox.configure("");
    let mut application = Application::start(&sandbox.database());
    application.write_every(Duration::ZERO);
    application.wait_for_commits(20);
    application.pause();
    let last = application.kill().last();
    assert!(beside(&sandbox.database(), "-wal").exists(), "a crash leaves its log");
    for command in [&["health", "attendance"][..], &["advise", "attendance"]] {
        let output = sandbox.litekeeper(command);
        assert!(output.status.success(), "{output:?}");
        assert!(!beside(&sandbox.database(), "-wal").exists(), "{command:?}");
    }
    assert_eq!(assert_sound(&sandbox.database()), last);
}

/// The configuration names `alias`, which is made a second name of the application's database by
/// `link`.
struct TwoNames {
    sandbox: Sandbox,
    application: Application,
    real: PathBuf,
    alias: PathBuf,
}

impl TwoNames {
    fn new(journal_mode: &str) -> Self {
        let sandbox = Sandbox::empty();
        let (real, alias) = (sandbox.path().join("real"), sandbox.database());
        fs::create_dir(&real).unwrap();
        let real = real.join("app.sqlite");
        create_database(&real, &["--journal-mode", journal_mode]);
        sandbox.configure(
            "[maintain]\nvacuum = \"always\"\nanalyze = \"always\"\n\
             [[database.attendance.cleanup.rule]]\ntable = \"attendance\"\ncolumn = \"date\"\nkeep = \"365d\"\n",
        );
        let mut application = Application::start(&real);
        application.sql("UPDATE users SET email = 'in the log'");
        Self { sandbox, application, real, alias }
    }

    fn linked(journal_mode: &str) -> Self {
        let this = Self::new(journal_mode);
        fs::hard_link(&this.real, &this.alias).unwrap();
        this
    }

    /// Each that reads and each that writes, with the exit codes that may be.
    fn assert_left_alone(mut self, program: impl Fn(&[&str]) -> Output, what: &str, remedy: &str) {
        let before = fs::read(&self.real).unwrap();
        for command in ["backup", "health", "maintain", "cleanup"] {
            let output = program(&["--json", command, "attendance"]);
            assert_eq!(output.status.code(), Some(1), "{command}: {output:?}");
            let told = String::from_utf8_lossy(&output.stdout);
            assert!(
                told.contains("second_name") && told.contains(what) && told.contains(remedy),
                "{command}: {told}"
            );
        }
        let output = program(&["check", "--environment"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains("problem") && told.contains(what) && told.contains(remedy), "{told}");
        let told = String::from_utf8(program(&["status"]).stdout).unwrap();
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains("FAILURE database:") && told.contains(remedy), "{told}");
        assert!(fs::read(&self.real).unwrap() == before, "something was written");
        for suffix in ["-wal", "-shm", "-journal"] {
            assert!(!beside(&self.alias, suffix).exists(), "{suffix}");
        }
        self.application.write_every(Duration::ZERO);
        self.application.wait_for_commits(10);
        self.application.pause();
        let seen = self.application.stop();
        assert_eq!((assert_sound(&self.real), seen.errors.clone()), (seen.last(), Vec::new()));
    }
}

#[test]
fn h31_a_database_in_wal_mode_that_has_a_hard_link_is_neither_read_nor_written_and_everybody_says_so() {
    let names = TwoNames::linked("wal");
    let configuration = names.sandbox.configuration();
    let program = move |args: &[&str]| {
        crate::support::sandbox::litekeeper(&[&["--config", configuration.to_str().unwrap()], args].concat())
    };
    names.assert_left_alone(program, "2 hard links", "remove the other links");
}

#[test]
fn h31_a_database_in_wal_mode_that_is_mounted_alone_is_neither_read_nor_written_and_everybody_says_so() {
    let may = Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success());
    if !may {
        return skip("only root may mount");
    }
    let names = TwoNames::new("wal");
    fs::write(&names.alias, "").unwrap();
    let configuration = names.sandbox.configuration();
    let (real, alias) = (names.real.clone(), names.alias.clone());
    let program = move |args: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"", "sh"]);
        command.arg(&real).arg(&alias).arg(env!("CARGO_BIN_EXE_litekeeper"));
        command.arg("--config").arg(&configuration).args(args).env("NO_COLOR", "1");
        command.output().unwrap()
    };
    names.assert_left_alone(program, "mount of the single file", "mount the directory");
}

/// POSIX locks are the file's, whatever its name; a `-journal` is not.
#[test]
fn h31_outside_wal_mode_a_database_under_a_second_name_is_read_but_not_written() {
    let names = TwoNames::linked("delete");
    let before = fs::read(&names.real).unwrap();
    let run = |command: &str| names.sandbox.litekeeper(&["--json", command, "attendance"]);
    assert!(run("backup").status.success());
    for command in ["health", "maintain", "cleanup"] {
        let output = run(command);
        assert_eq!(output.status.code(), Some(1), "{command}: {output:?}");
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.contains("second_name") && told.contains("2 hard links"), "{command}: {told}");
    }
    assert!(fs::read(&names.real).unwrap() == before, "something was written");
    let told = names.sandbox.litekeeper(&["check", "--environment"]);
    assert!(String::from_utf8_lossy(&told.stdout).contains("2 hard links"), "{told:?}");
    let told = names.sandbox.litekeeper(&["status"]);
    assert!(String::from_utf8_lossy(&told.stdout).contains("FAILURE  database"), "{told:?}");
}

#[test]
fn h31_a_database_whose_other_name_was_removed_is_kept_again() {
    let names = TwoNames::linked("wal");
    let TwoNames { sandbox, application, real, .. } = names;
    assert_eq!(sandbox.litekeeper(&["backup", "attendance"]).status.code(), Some(1));
    application.stop();
    fs::remove_file(real).unwrap();
    for command in ["backup", "health", "maintain"] {
        let output = sandbox.litekeeper(&[command, "attendance"]);
        assert!(output.status.success(), "{command}: {output:?}");
    }
}

#[test]
fn h31_two_names_of_one_file_are_refused_as_the_same_path_twice_is() {
    let sandbox = Sandbox::new();
    let other = sandbox.path().join("other.sqlite");
    let both = format!("[database.other]\npath = \"{}\"\n", other.display());
    let configuration = sandbox.configure(&both);
    // Not there yet, and so no reason to refuse.
    let daemon = Daemon::start(&configuration);
    let links: [fn(&Path, &Path) -> std::io::Result<()>; 2] =
        [|real, other| symlink(real, other), |real, other| fs::hard_link(real, other)];
    for link in links {
        link(&sandbox.database(), &other).unwrap();
        let output = sandbox.litekeeper(&["check"]);
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("databases `attendance` and `other` are the same file"), "{told}");
        let mark = daemon.mark();
        daemon.signal(Signal::HUP);
        daemon.wait_for_log_from(mark, "the refusal", |line| line.contains("are the same file"));
        fs::remove_file(&other).unwrap();
    }
    assert!(sandbox.litekeeper(&["check"]).status.success());
    assert!(daemon.stop().success());
}
