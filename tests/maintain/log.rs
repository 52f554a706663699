//! The write-ahead log after a run.

use std::time::Duration;

use litekeeper::terms::Outcome;

use crate::fixture::{database, maintain, state};
use crate::support::application::Application;
use crate::support::sandbox::Sandbox;
use crate::support::soundness::assert_sound;
use crate::support::sql::wal_bytes;

#[tokio::test(flavor = "multi_thread")]
async fn h12_a_truncating_checkpoint_is_tried_past_max_wal_alone() {
    for (max_wal, truncates) in [(1 << 40, false), (0, true)] {
        let sandbox = Sandbox::new();
        let path = sandbox.database();
        let mut application = Application::start(&path);
        application.write_every(Duration::ZERO);
        application.wait_for_commits(3);
        application.pause();
        assert!(wal_bytes(&path) > 0);
        let ran = maintain(&state(&sandbox), &database(&path, |d| d.maintain.max_wal = max_wal)).await;
        assert_eq!(ran.decision("checkpoint"), "done");
        assert!(ran.ran("wal_checkpoint(PASSIVE)"));
        assert_eq!(ran.ran("wal_checkpoint(TRUNCATE)"), truncates);
        assert_eq!(wal_bytes(&path) == 0, truncates);
        application.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h12_a_slow_reader_is_not_waited_for() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    let mut writer = Application::start_with(&path, &["--busy-timeout", "10000"], None);
    writer.write_every(Duration::from_millis(1));
    writer.wait_for_commits(2);
    let mut reader = Application::start(&path);
    reader.hold_read();
    writer.wait_for_commits(2);
    let ran = maintain(&state(&sandbox), &database(&path, |d| d.maintain.max_wal = 0)).await;
    assert_eq!(ran.finished.outcome, Outcome::Success, "{:?}", ran.finished.result);
    assert_eq!(ran.step("checkpoint")["checkpoint"]["busy"], true, "{:?}", ran.step("checkpoint"));
    let why = ran.why("checkpoint");
    assert!(why.contains("because of an open transaction of the application"), "{why}");
    assert!(why.contains(&format!("process {} (", reader.pid())), "{why}: {:?}", ran.step("checkpoint"));
    writer.wait_for_commits(2);
    let seen = writer.stop();
    assert_eq!(seen.errors, Vec::<String>::new());
    reader.release();
    reader.stop();
    assert_eq!(assert_sound(&path), seen.last());
}
