//! Every job of the real daemon, again and again, beside an application in another process that
//! writes all the time: none of its commits is lost, it sees no error, and what is restored is a
//! state that existed.

use std::time::Duration;

use crate::support::application::Application;
use crate::support::backups::{manifests, restored};
use crate::support::daemon::Daemon;
use crate::support::history::runs;
use crate::support::sandbox::Sandbox;
use crate::support::soundness::assert_sound;
use crate::support::wait_until;

const PAUSE: Duration = Duration::from_millis(5);

/// How often each job must have succeeded.
const TIMES: usize = 3;

const JOBS: [&str; 7] = ["backup", "verify", "cleanup", "maintain", "health", "integrity", "watch"];

/// Each job each second and at its hardest; those that exclude each other take turns.
const EVERYTHING: &str = r#"
[backup]
schedule = "* * * * * *"
[verify]
schedule = "* * * * * *"
[cleanup]
schedule = "* * * * * *"
max_share = "100%"
[maintain]
schedule = "* * * * * *"
vacuum = "always"
analyze = "always"
reindex = "always"
max_wal = "64KiB"
[health]
schedule = "* * * * * *"
integrity_schedule = "* * * * * *"
integrity = "full"
[watch]
schedule = "* * * * * *"
[[database.attendance.cleanup.rule]]
table = "attendance"
column = "date"
keep = "365d"
[database.attendance.watch.today]
sql = "SELECT count(*) FROM attendance WHERE date = CURRENT_DATE"
"#;

#[test]
fn an_application_that_writes_all_the_time_loses_nothing_to_any_job() {
    for journal_mode in ["wal", "delete"] {
        let sandbox = Sandbox::with_database(&["--journal-mode", journal_mode]);
        let mut application = Application::start(&sandbox.database());
        application.write_every(PAUSE);
        let before = application.wait_for_commits(10);
        sandbox.configure(EVERYTHING);
        // So that the first verification has something to verify.
        assert!(sandbox.litekeeper(&["backup", "attendance"]).status.success());
        let daemon = Daemon::start(&sandbox.configuration());
        for job in JOBS {
            wait_until(&format!("{job} has succeeded {TIMES} times in {journal_mode} mode"), || {
                let of_job = runs(&sandbox, "attendance", job);
                let succeeded = of_job.iter().filter(|run| run.outcome == "success").count();
                let failed = of_job.iter().find(|run| run.outcome == "failure");
                assert!(failed.is_none(), "{job} failed in {journal_mode} mode: {failed:?}");
                (succeeded >= TIMES).then_some(())
            });
        }
        application.wait_for_commits(10);
        assert!(daemon.stop().success());

        let seen = application.stop();
        assert!(seen.errors.is_empty(), "{journal_mode}: the application saw {:?}", seen.errors);
        assert_eq!(assert_sound(&sandbox.database()), seen.last(), "{journal_mode}");
        let manifests = manifests(&sandbox);
        assert!(manifests.len() >= TIMES, "{journal_mode}: {} backups", manifests.len());
        for (n, manifest) in manifests.iter().enumerate() {
            let target = sandbox.path().join(format!("restored-{n}.sqlite"));
            restored(&sandbox, manifest["file"].as_str().unwrap(), &target).unwrap();
            let commit = assert_sound(&target);
            assert!((before..=seen.last()).contains(&commit), "{journal_mode}: {commit} never was the last");
        }
    }
}
