//! What may be called only at few places: SQLite past its safe interface, what blocks, what writes.

use std::fs;
use std::path::Path;

use crate::source::{Source, sources};

#[test]
fn only_what_sqlite_calls_is_unsafe_and_only_the_pool_names_deadpool() {
    for source in sources() {
        for line in source.code() {
            let path = source.path.display();
            assert!(
                [
                    "sqlite/copy/sink/mod.rs",
                    "sqlite/copy/sink/vfs.rs",
                    "sqlite/write/checkpoint_lock.rs",
                    "sqlite/files/system_calls.rs",
                    "sqlite/files/descriptor.rs",
                    "state/ranges.rs",
                    "sqlite/failed_reads.rs",
                ]
                .iter()
                .any(|room| source.path.ends_with(room))
                    || !outside_texts(line)
                        .split(|c: char| !c.is_alphanumeric() && c != '_')
                        .any(|w| w == "unsafe"),
                "{path}: {line}"
            );
            assert!(source.room() == "pool" || !line.contains("deadpool_sqlite"), "{path}: {line}");
            assert!(
                source.path.ends_with("schedule/ticks.rs") || !line.contains("tokio_cron_scheduler"),
                "{path}: {line}"
            );
        }
    }
}

/// A line without what is between quotes: SQLite says "unsafe" as well.
fn outside_texts(line: &str) -> String {
    line.split('"').step_by(2).collect()
}

/// What waits for a disk, a lock or another process.
const BLOCKING: [&str; 20] = [
    "fs::",
    "File::",
    "metadata(",
    "thread::sleep",
    "Config::load",
    "wal_bytes(",
    "file_bytes(",
    "disk_free(",
    "resolved(",
    "access::",
    "disk::of",
    "holders::",
    "Command::new",
    "State::open",
    ".lock_",
    "state.lock(",
    ".now(|",
    "recv_timeout",
    "blocking_",
    "pool.run(",
];

/// Without what is handed to a thread that may wait.
fn on_workers(code: &str) -> String {
    const HANDED_OVER: &str = "spawn_blocking(";
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find(HANDED_OVER) {
        let (before, after) = rest.split_at(at + HANDED_OVER.len());
        kept += before;
        let mut open = 1;
        let end = after.find(|c: char| {
            open += i32::from(c == '(') - i32::from(c == ')');
            open == 0
        });
        rest = &after[end.expect("a call that is not closed")..];
    }
    kept + rest
}

/// A worker of the runtime that waits for a disk keeps all others waiting, too: the loop, its
/// watchdog, the page.
#[test]
fn nothing_blocks_a_worker_of_the_runtime() {
    // `ask` is the other side: the commands that ask a daemon.
    let is_asynchronous = |source: &&Source| {
        let path = source.path.to_str().unwrap();
        matches!(source.room(), "supervisor" | "http") && path != "http/ask.rs" || path == "jobs/runner.rs"
    };
    let mut seen = 0;
    for source in sources().iter().filter(is_asynchronous) {
        let code = source.code().filter(|line| !line.starts_with("use ")).collect::<Vec<_>>().join("\n");
        let code = on_workers(&code).replace("TcpListener::bind(address).await", "");
        for name in BLOCKING {
            let line = code.lines().find(|line| line.contains(name)).unwrap_or_default();
            assert!(line.is_empty(), "{}: {line}", source.path.display());
        }
        seen += 1;
    }
    assert!(seen > 15, "only {seen} files were looked at");
    assert_eq!(on_workers("a spawn_blocking(f(x)); b"), "a spawn_blocking(); b");
}

/// A write to a live database holds off checkpoints (HAZARDS H29) and is counted as a hold.
/// Connections to one only read until `hold` lends them, so that what is left to see to is that no
/// other is opened, lent or written to past its SQL.
#[test]
fn a_live_database_is_written_through_one_door() {
    let ways: [(&str, &[&str]); 6] = [
        ("query_only", &["sqlite/write/hold.rs"]),
        // Where it is made to read only.
        ("pool.run(", &["jobs/run.rs", "advice/ask.rs"]),
        ("CheckpointLock::take(", &["sqlite/write/hold.rs"]),
        ("hold::elsewhere(", &["sqlite/upkeep/vacuum.rs", "sqlite/checks/"]),
        // Out of a live one into the sink, and into a live one under the lock of `hold`.
        (
            "Backup::new(",
            &[
                "sqlite/copy/snapshot.rs",
                "sqlite/copy/mod.rs",
                "sqlite/copy/sink/",
                "sqlite/upkeep/overwrite.rs",
            ],
        ),
        // Live ones; under the exclusive lock, and never committed to; all others are files of our
        // own.
        (
            "Connection::open",
            &[
                "sqlite/open/",
                "sqlite/copy/sink/",
                // In memory: to set a bound of the whole process, and in the place of one that is
                // closed.
                "pool/files.rs",
                "state/memory/",
                "jobs/recover/salvage.rs",
                "jobs/cleanup/archive/sqlite.rs",
                // In memory, in a test.
                "jobs/cleanup/dates/tests.rs",
                // A temporary file without a name.
                "jobs/cleanup/graph/known.rs",
                "advice/",
                "demo/",
            ],
        ),
    ];
    for (way, files) in ways {
        let mut seen = 0;
        for source in sources().iter().filter(|source| source.code().any(|line| line.contains(way))) {
            let path = source.path.to_str().unwrap();
            assert!(files.iter().any(|file| path.starts_with(file)), "{path}: {way}");
            seen += 1;
        }
        assert!(seen >= files.len(), "{way} is only in {seen} files");
    }
}

/// Two in one process break each other's locks.
#[test]
fn h02_one_sqlite_is_linked() {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    let lock: toml::Table = lock.parse().unwrap();
    let packages = lock["package"].as_array().unwrap();
    let named = |name: &str| packages.iter().filter(|p| p["name"].as_str() == Some(name)).count();
    assert_eq!(named("libsqlite3-sys"), 1);
    assert_eq!(named("rusqlite"), 1);
    let bindings = packages.iter().filter_map(|p| p["name"].as_str());
    let bindings: Vec<_> = bindings.filter(|n| n.contains("sqlite") && n.ends_with("-sys")).collect();
    assert_eq!(bindings, ["libsqlite3-sys"]);
}
