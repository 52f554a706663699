//! `status` as a monitoring system asks it: one line, an exit code from 0 to 3, and the state of
//! the whole.

use super::fixture::{json, kept, run, text};
use crate::support::daemon::Daemon;
use crate::support::sandbox::Sandbox;
use crate::support::wait_until;
use serde_json::Value;
use std::fs;

/// What `status --exit-code` says, once it ends with this code.
fn wait_for_code(sandbox: &Sandbox, code: i32) -> String {
    wait_until(&format!("status --exit-code ends with {code}"), || {
        let output = sandbox.litekeeper(&["status", "--exit-code"]);
        (output.status.code() == Some(code)).then(|| text(&output.stdout).to_owned())
    })
}

#[test]
fn the_exit_code_of_status_is_that_of_a_monitoring_plugin() {
    let sandbox = Sandbox::new();
    sandbox.configure("[backup]\nschedule = \"0 0 1 1 *\"\n");
    let silent = text(&run(&sandbox, 3, &["status", "--exit-code"]).stdout).to_owned();
    assert!(silent.starts_with("LITEKEEPER UNKNOWN - no daemon with this configuration answers"), "{silent}");

    let daemon = Daemon::start(&sandbox.configuration());
    let fresh = wait_for_code(&sandbox, 1);
    let first = "LITEKEEPER WARNING - 1 of 1 database needs attention: attendance | databases=1 attention=1 ";
    assert!(fresh.starts_with(first), "{fresh}");
    assert!(fresh.contains("\nWARNING attendance: backup: there is no backup yet\n"), "{fresh}");
    for job in ["backup", "verify", "health"] {
        run(&sandbox, 0, &[job, "attendance"]);
    }
    let well = wait_for_code(&sandbox, 0);
    let line = "LITEKEEPER OK - the database is well | databases=1 attention=0 failures=0 warnings=0\n";
    assert_eq!(well, line);
    assert_eq!(text(&run(&sandbox, 0, &["status", "attendance", "--exit-code"]).stdout), line);

    fs::rename(sandbox.database(), sandbox.path().join("away")).unwrap();
    let gone = wait_for_code(&sandbox, 2);
    assert!(
        gone.starts_with("LITEKEEPER CRITICAL - 1 of 1 database needs attention: attendance |"),
        "{gone}"
    );
    assert!(gone.contains("\nCRITICAL attendance: database: the file cannot be seen"), "{gone}");
    // Who does not ask for it is not told by the code.
    run(&sandbox, 0, &["status"]);
    assert!(daemon.stop().success());
    run(&sandbox, 3, &["status", "--exit-code"]);
}

#[test]
fn what_cannot_be_told_is_unknown_to_a_monitoring_system() {
    let sandbox = kept();
    for args in [&["status", "--exit-code", "nosuch"][..], &["status", "--exit-code", "--nosuch"]] {
        run(&sandbox, 3, args);
    }
    sandbox.configure_as("[daemon]\nlisten = 1\n");
    let wrong = run(&sandbox, 3, &["status", "--exit-code"]);
    assert_eq!(
        text(&wrong.stdout),
        "LITEKEEPER UNKNOWN - the configuration is not valid: see litekeeper check\n"
    );
    run(&sandbox, 78, &["status"]);
}

#[test]
fn the_status_has_the_state_of_the_whole_and_counts_databases_not_findings() {
    let sandbox = kept();
    let daemon = Daemon::start(&sandbox.configuration());
    for job in ["backup", "verify", "health"] {
        run(&sandbox, 0, &[job, "attendance"]);
    }
    wait_until("all is well", || (daemon.status()["state"] == "ok").then_some(()));
    assert_eq!(daemon.status()["problems"], Value::Array(Vec::new()));
    let shown = run(&sandbox, 0, &["status"]);
    assert!(text(&shown.stdout).contains("\nall is well with the databases\n"), "{}", text(&shown.stdout));

    // One cause: the file is gone, and so a job fails as well.
    fs::rename(sandbox.database(), sandbox.path().join("away")).unwrap();
    sandbox.litekeeper(&["backup", "attendance"]);
    let status = wait_until("both findings", || {
        let status = daemon.status();
        (status["problems"].as_array().unwrap().len() >= 2).then_some(status)
    });
    assert_eq!(status["state"], "critical");
    let worst = &status["problems"][0];
    assert_eq!((&worst["database"], &worst["severity"]), (&"attendance".into(), &"failure".into()));
    assert!(worst["about"].is_string() && worst["text"].is_string(), "{worst}");
    let page = daemon.get("/").unwrap().body;
    assert!(page.contains("<title>1 of 1 database needs attention · litekeeper</title>"), "{page}");
    let shown = run(&sandbox, 0, &["status"]);
    assert!(text(&shown.stdout).contains("\n1 of 1 database needs attention\n"), "{}", text(&shown.stdout));
    assert!(daemon.stop().success());
    let alone = json(&sandbox, 0, &["status"]);
    assert_eq!((&alone["state"], &alone["problems"][0]["about"]), (&"unknown".into(), &"daemon".into()));
}
