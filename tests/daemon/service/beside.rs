//! Commands beside the daemon: they find it by what it told them, not by what the file says now.

use crate::support::daemon::Daemon;
use crate::support::sandbox::{Sandbox, program, said};

#[test]
fn a_check_before_a_reload_refuses_what_needs_a_restart_and_status_finds_the_daemon_all_the_same() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox.configure(""));
    let process = daemon.pid().as_raw_nonzero().to_string();
    let elsewhere = sandbox.path().join("elsewhere");
    let changes =
        [("listen", "127.0.0.1:1"), ("log_format", "json"), ("state_dir", elsewhere.to_str().unwrap())];
    for (key, value) in changes {
        sandbox.configure(&format!("[daemon]\n{key} = \"{value}\"\n"));
        let mut check = program();
        check.arg("--config").arg(sandbox.configuration()).args(["check", "--reload"]);
        // As systemd tells it to the commands of ExecReload=.
        let output = check.env("MAINPID", &process).output().unwrap();
        let text = said(&output);
        assert_eq!(output.status.code(), Some(78), "{key}: {text}");
        assert!(text.contains(&format!("daemon.{key} (from ")) && text.contains("restart it"), "{text}");
    }
    for (key, value) in &changes[..2] {
        sandbox.configure(&format!("[daemon]\n{key} = \"{value}\"\n"));
        // Valid, as it will be in force after a restart.
        let output = sandbox.litekeeper(&["check"]);
        let text = said(&output);
        assert!(output.status.success() && text.contains("a reload will be refused"), "{text}");
        let status = said(&sandbox.litekeeper(&["status"]));
        assert!(status.contains(&format!("as process {process}")), "{status}");
    }
    sandbox.configure("");
    assert!(sandbox.litekeeper(&["check", "--reload"]).status.success());
    assert!(daemon.stop().success());
    // Of a daemon that is gone, nothing is believed.
    sandbox.configure("[daemon]\nlog_format = \"json\"\n");
    assert!(sandbox.litekeeper(&["check", "--reload"]).status.success());
}
