//! What a run that only looks says, and that it changes nothing.

use std::fs;
use std::path::Path;

use litekeeper::config::{Analyze, Index, Missing, Reindex, Vacuum};
use litekeeper::state::facts::{self, DAMAGED_INDEXES};
use serde_json::Value;

use crate::fixture::{Ran, as_application, database, fill, maintain, number, preview, state};
use crate::support::application::Application;
use crate::support::history::runs;
use crate::support::sandbox::Sandbox;

/// The database and what is beside it; of the `-shm`, which every reader writes to, only that it is
/// there.
fn bytes(sandbox: &Sandbox) -> Vec<(String, Vec<u8>)> {
    // Read by another process: one that closes a file of a database loses its own locks on it.
    let read = |path: &Path| std::process::Command::new("cat").arg(path).output().unwrap().stdout;
    let entries = fs::read_dir(sandbox.data()).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let content = |path: &Path| if name(path).ends_with("-shm") { Vec::new() } else { read(path) };
    let mut all: Vec<_> = entries.map(|path| (name(&path), content(&path))).collect();
    all.sort();
    all
}

fn seconds(ran: &Ran, step: &str) -> f64 {
    ran.step(step)["expected"]["hold_seconds"].as_f64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_tells_every_decision_with_its_cost_and_changes_nothing() {
    for (auto_vacuum, vacuum, why) in [
        ("none", Vacuum::Auto, "would put a compact copy in place"),
        ("none", Vacuum::Always, "would run VACUUM"),
        ("none", Vacuum::Incremental, "would run VACUUM to convert the file to auto_vacuum = INCREMENTAL"),
        ("incremental", Vacuum::Auto, "would free "),
    ] {
        let sandbox = Sandbox::with_database(&["--auto-vacuum", auto_vacuum]);
        let path = sandbox.database();
        fill(&path, 4);
        // As long as it is open the log stays.
        let mut application = Application::start(&path);
        application.sql("PRAGMA wal_autocheckpoint = 0");
        as_application(&path, "c.execute('PRAGMA user_version = 3')");
        let (state, before) = (state(&sandbox), bytes(&sandbox));
        let database = database(&path, |d| {
            d.maintain.vacuum = vacuum;
            d.maintain.analyze = if vacuum == Vacuum::Auto { Analyze::Auto } else { Analyze::Always };
            d.maintain.reindex = Reindex::Always;
            d.indexes = vec![Index {
                name: String::from("wanted"),
                table: String::from("users"),
                columns: vec![String::from("email")],
                missing: Missing::Create,
            }];
        });
        let ran = preview(&state, &database).await;
        assert_eq!(ran.detail()["dry_run"], true);
        for step in ["indexes", "reindex", "vacuum", "analyze", "checkpoint"] {
            assert_eq!(ran.decision(step), "planned", "{}", ran.step(step));
            assert_ne!(ran.step(step)["found"], Value::Null, "{}", ran.step(step));
            assert_eq!(ran.step(step)["held"]["times"], 0, "a preview holds nobody: {}", ran.step(step));
        }
        assert!(ran.why("vacuum").starts_with(why), "{}", ran.why("vacuum"));
        assert!(seconds(&ran, "vacuum") > 0.0 && seconds(&ran, "analyze") > 0.0);
        let rewrites = auto_vacuum == "none";
        assert_eq!(
            ran.step("vacuum")["expected"]["needed_bytes"].as_u64().is_some_and(|b| b > 1 << 20),
            rewrites
        );
        assert_eq!(ran.step("reindex")["expected"]["hold_seconds"], Value::Null, "never done before");
        assert!(before == bytes(&sandbox), "a preview changed the database");
        assert_eq!(runs(&sandbox, "attendance", "maintain"), []);

        let done = maintain(&state, &database).await;
        for step in ["indexes", "reindex", "vacuum", "analyze", "checkpoint"] {
            assert_eq!(done.decision(step), "done", "{}", done.step(step));
        }
        assert!(done.step("reindex")["held"]["times"].as_u64().is_some_and(|times| times > 5));
        let known = preview(&state, &database).await;
        assert!(seconds(&known, "reindex") > 0.0, "measured");
        application.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_to_do_every_step_says_why_it_does_nothing() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    let auto = database(&path, |d| {
        d.maintain.vacuum = Vacuum::Auto;
        d.maintain.analyze = Analyze::Auto;
        d.maintain.reindex = Reindex::Auto;
    });
    let state = state(&sandbox);
    maintain(&state, &auto).await;
    let pages = number(&path, "PRAGMA page_count");
    for ran in [maintain(&state, &auto).await, preview(&state, &auto).await] {
        assert_eq!(["reindex", "vacuum", "analyze"].map(|step| ran.decision(step)), ["skipped"; 3]);
        assert!(ran.why("vacuum").starts_with("VACUUM not needed: "), "{}", ran.why("vacuum"));
        assert_eq!(ran.why("analyze"), "ANALYZE not needed");
        assert_eq!(ran.step("reindex")["found"], "no index that a check found wrong");
    }
    assert_eq!(number(&path, "PRAGMA page_count"), pages);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_indexes_that_a_check_found_wrong_are_planned_to_be_rebuilt() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    let state = state(&sandbox);
    let found = ["idx_users_name", "dropped_since"].map(str::to_owned).into();
    state.now(|c| facts::remember(c, "attendance", DAMAGED_INDEXES, &found)).unwrap();
    let ran = preview(&state, &database(&path, |d| d.maintain.reindex = Reindex::Auto)).await;
    assert_eq!(ran.why("reindex"), "would rebuild idx_users_name, one after the other");
}

#[test]
fn the_command_shows_it() {
    let sandbox = Sandbox::new();
    fill(&sandbox.database(), 4);
    sandbox.configure("[maintain]\nvacuum_min_size = \"1MiB\"");
    let before = bytes(&sandbox);
    let output = sandbox.litekeeper(&["maintain", "attendance", "--dry-run"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["would put a compact copy in place", "would run ANALYZE", "planned", "of the file ("] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    assert!(before == bytes(&sandbox), "a preview changed the database");
}
