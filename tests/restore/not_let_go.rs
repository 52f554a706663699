//! `restore --in-place` where somebody else has the database: an application, a daemon that does
//! not let go, or one that cannot be asked.

use super::fixture::{
    Traced, assert_done, assert_undisturbed, at_work, busy, in_place, scene, wait_for_next, wait_until_open,
};
use crate::support::application::{APPLICATION, Application};
use crate::support::daemon::Daemon;
use crate::support::restoring::{assert_restored, can_trace, kept, stderr};
use crate::support::sandbox::{Sandbox, copy_for_all, program};
use crate::support::soundness::assert_sound;
use crate::support::{PATIENCE, skip, wait_until};
use litekeeper::error::Reason;
use litekeeper::state::State;
use litekeeper::state::handover::Handover;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn h18_an_application_that_has_the_database_open_is_named_and_the_daemon_is_not_even_asked() {
    for journal_mode in ["wal", "delete"] {
        let (sandbox, states, backup) = scene(&["--journal-mode", journal_mode]);
        let daemon = at_work(&sandbox);
        let application = Application::start(&sandbox.database());
        wait_until("no job of the daemon is in the way as well", || {
            let output = sandbox.litekeeper(&in_place(&backup));
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(11), "{said}");
            assert!(said.contains(&format!("process {} (", application.pid())), "{said}");
            assert!(!said.contains(&format!("process {} (", daemon.pid().as_raw_nonzero())), "{said}");
            Some(())
        });
        wait_for_next(&sandbox, "backup");
        assert!(!daemon.log().iter().any(|line| line.contains("a restore wants")));
        application.stop();
        assert_undisturbed(&sandbox, &daemon);
        assert_done(&sandbox.litekeeper(&in_place(&backup)));
        assert_restored(&sandbox, states);
        assert!(daemon.stop().success());
    }
}

#[test]
fn h18_an_application_that_opens_the_database_meanwhile_is_named_and_the_daemon_goes_on() {
    if !can_trace() {
        return skip("strace is missing or may not trace");
    }
    let (sandbox, states, backup) = scene(&[]);
    let daemon = at_work(&sandbox);
    let restore = Traced::stopped_before_the_lock(&sandbox, &backup);
    let application = Application::start(&sandbox.database());
    let (code, said) = restore.go_on();
    assert_eq!(code, Some(11), "{said}");
    assert!(said.contains("is locked") || said.contains(&application.pid().to_string()), "{said}");
    for job in ["backup", "health", "watch"] {
        wait_for_next(&sandbox, job);
    }
    application.stop();
    assert_eq!(assert_sound(&sandbox.database()), states.now);
    assert_undisturbed(&sandbox, &daemon);
    assert!(daemon.stop().success());
}

/// As a daemon that hangs.
#[test]
fn a_daemon_that_does_not_let_go_in_time_is_named_with_what_to_do() {
    let sandbox = Sandbox::empty();
    let state = State::open(&sandbox.state()).unwrap();
    let _daemon = state.lock_daemon().unwrap();
    let open = state.lock_open("attendance").unwrap().unwrap();
    let mut handover = Handover::begin(&sandbox.state(), "attendance").unwrap();
    assert_eq!(handover.daemon(), Some(std::process::id()));
    let mut asked = Vec::new();
    let error = handover
        .complete(Duration::from_millis(120), &mut |whom| {
            asked.push(whom.to_owned());
            // It is seen by the daemon, which may not come back while it is.
            assert!(state.wanted("attendance").unwrap().unwrap().starts_with("restore (process "));
            assert!(state.lock_open("attendance").unwrap().is_err());
            Ok(())
        })
        .unwrap_err();
    assert_eq!(error.reason, Reason::Locked);
    let daemon = format!("the daemon (process {})", std::process::id());
    assert!(error.message.contains(&daemon) && error.message.contains("stop the daemon"), "{error}");
    assert!(!asked.is_empty() && asked.iter().all(|whom| *whom == daemon), "{asked:?}");
    // The one who waits may be told not to.
    let cancelled = litekeeper::error::Error::new(Reason::Cancelled, "enough");
    let error = handover.complete(Duration::from_secs(600), &mut |_| Err(cancelled.clone())).unwrap_err();
    assert_eq!(error.reason, Reason::Cancelled);
    drop(handover);
    // A process that another test starts has our files until it is the other program.
    wait_until("nobody wants it", || state.wanted("attendance").unwrap().is_none().then_some(()));

    // A daemon that has let go does not take it back from under the one who waits.
    let mut open = Some(open);
    let mut handover = Handover::begin(&sandbox.state(), "attendance").unwrap();
    let waited = handover.complete(Duration::from_secs(600), &mut |_| {
        drop(open.take());
        assert!(state.lock_open("attendance").unwrap().is_err());
        Ok(())
    });
    waited.unwrap();
    assert!(open.is_none());
    drop(handover);

    let mut handover = wait_until("no daemon has it", || {
        let handover = Handover::begin(&sandbox.state(), "attendance").unwrap();
        handover.daemon().is_none().then_some(handover)
    });
    handover.complete(PATIENCE, &mut |_| Ok(())).unwrap();
    assert!(state.lock_open("attendance").unwrap().is_err());
    drop(handover);
    wait_until("it is free", || state.lock_open("attendance").unwrap().is_ok().then_some(()));
}

#[test]
fn a_daemon_with_a_state_of_its_own_cannot_be_asked_and_is_named() {
    let (sandbox, states, backup) = scene(&[]);
    let state = sandbox.path().join("another-state");
    let apart = format!(
        "[daemon]\nstate_dir = \"{}\"\n[watch]\nschedule = \"* * * * * *\"\n[database.attendance.watch.users]\nsql = \"SELECT 1 FROM users\"\n",
        state.display()
    );
    let daemon = Daemon::start(&sandbox.configure(&apart));
    wait_until_open(&daemon, &sandbox);
    sandbox.configure("");
    let output = sandbox.litekeeper(&in_place(&backup));
    let said = stderr(&output).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(output.status.code(), Some(11), "{said}");
    assert!(said.contains(&format!("process {} (", daemon.pid().as_raw_nonzero())), "{said}");
    assert!(said.contains("litekeeper's own daemon"), "{said}");
    assert!(daemon.stop().success());
    assert_eq!(assert_sound(&sandbox.database()), states.now);
}

#[test]
fn root_restores_beside_a_daemon_of_another_user_which_goes_on() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can play several users");
    }
    let owner = APPLICATION;
    let (sandbox, states, backup) = scene(&[]);
    sandbox.give_data_to(owner);
    for place in [sandbox.state(), sandbox.backups()] {
        let chown = Command::new("chown").args(["-R", "4711:4711"]).arg(place).output().unwrap();
        assert!(chown.status.success());
    }
    let binary = sandbox.path().join("litekeeper");
    copy_for_all(Path::new(program().get_program()), &binary);
    let configuration = sandbox.configure(busy(&sandbox).split("[database.other]").next().unwrap());
    let daemon = Daemon::spawn(&configuration, |command| {
        let mut other = Command::new("setpriv");
        other.args(["--reuid=4711", "--regid=4711", "--clear-groups", "--"]).arg(&binary);
        other.arg("--config").arg(&configuration).arg("run");
        other.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        *command = other;
    });
    for n in 1..=2 {
        wait_for_next(&sandbox, "backup");
        wait_until_open(&daemon, &sandbox);
        assert_done(&sandbox.litekeeper(&in_place(&backup)));
        assert_eq!(assert_sound(&sandbox.database()), states.backup);
        assert_eq!(kept(&sandbox).len(), n);
    }
    for job in ["backup", "health", "watch"] {
        wait_for_next(&sandbox, job);
    }
    assert_undisturbed(&sandbox, &daemon);
    assert!(daemon.stop().success());
}
