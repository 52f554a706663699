//! The rules of the source tree that no compiler checks: which room and which file may use which,
//! no file without its purpose, one door to a live database. Beside it, those of what the program
//! is linked with and of the documents.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod dependencies;
mod documents;
mod sources;
mod uses;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sources::{Source, sources};

/// Rooms from the highest to the lowest; a room uses its own and lower ones. Those of one line are
/// equals.
const RANKS: [&[&str]; 17] = [
    &["cli"],
    &["demo"],
    &["supervisor"],
    &["survey"],
    &["http"],
    &["schedule"],
    &["jobs"],
    &["advice"],
    &["queries"],
    &["store"],
    &["pool"],
    &["state"],
    &["sqlite"],
    &["config"],
    &["metrics"],
    &["sql", "terms"],
    &["clock", "words", "priority", "rights", "error"],
];

/// Lines in a file, its tests and comments included; past this it has two subjects.
const LONGEST: usize = 400;

/// Files in a folder; past this nobody sees at a glance what is in it.
const MOST_FILES: usize = 15;

fn rank(room: &str) -> Option<usize> {
    RANKS.iter().position(|rooms| rooms.contains(&room))
}

#[test]
fn a_room_uses_only_lower_rooms() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for source in sources().iter().filter(|source| !matches!(source.room(), "main" | "lib")) {
        let Some(own) = rank(source.room()) else {
            wrong.push(format!("{}: this room has no rank", source.path.display()));
            continue;
        };
        for used in source.uses() {
            seen += 1;
            let allowed = used == source.room() || rank(&used).is_some_and(|lower| lower > own);
            if !allowed {
                wrong.push(format!("{}: uses crate::{used}", source.path.display()));
            }
        }
    }
    assert!(seen > 100, "only {seen} uses were found");
    assert!(wrong.is_empty(), "against the direction of imports:\n{}", wrong.join("\n"));
}

/// The folders of `jobs`, one for each kind.
fn kinds(sources: &[Source]) -> BTreeSet<String> {
    let kinds: BTreeSet<String> = sources
        .iter()
        .filter_map(|source| source.path.strip_prefix("jobs").ok())
        .filter(|path| path.components().count() > 1)
        .map(|path| path.components().next().unwrap().as_os_str().to_str().unwrap().to_owned())
        .collect();
    assert!(kinds.contains("backup") && kinds.len() > 6, "{kinds:?}");
    kinds
}

#[test]
fn kinds_of_job_know_nothing_of_each_other() {
    let sources = sources();
    let kinds = kinds(&sources);
    for source in &sources {
        let Ok(path) = source.path.strip_prefix("jobs") else { continue };
        if path.components().count() < 2 {
            continue;
        }
        let own = path.components().next().unwrap().as_os_str().to_str().unwrap();
        let code = source.code().collect::<Vec<_>>().join(" ");
        for other in kinds.iter().filter(|kind| *kind != own) {
            for way in
                [format!("jobs::{other}"), format!("super::{other}::"), format!("super::super::{other}")]
            {
                assert!(!code.contains(&way), "{} uses {way}", source.path.display());
            }
        }
    }
}

#[test]
fn only_the_registry_and_the_commands_name_kinds_of_job() {
    let sources = sources();
    let kinds = kinds(&sources);
    for source in &sources {
        let name = source.path.display().to_string();
        let free = ["jobs/registry.rs", "jobs/mod.rs"].contains(&name.as_str());
        if free || source.room() == "cli" || source.path.components().count() > 2 && source.room() == "jobs" {
            continue;
        }
        for kind in &kinds {
            let code = source.code().collect::<Vec<_>>().join(" ");
            assert!(!code.contains(&format!("jobs::{kind}::")), "{name} names the kind {kind}");
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for source in sources() {
        let first = source.text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! ") && first.len() > 20, "{}: {first:?}", source.path.display());
    }
}

#[test]
fn no_file_is_too_long_and_no_folder_too_full() {
    let mut folders: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > LONGEST {
            wrong.push(format!("{} has {lines} lines", source.path.display()));
        }
        *folders.entry(source.path.parent().unwrap().to_owned()).or_default() += 1;
    }
    assert!(folders.len() > 30, "{folders:?}");
    folders.retain(|_, files| *files > MOST_FILES);
    wrong.extend(folders.iter().map(|(folder, files)| format!("{} has {files} files", folder.display())));
    assert!(wrong.is_empty(), "split these by what is done:\n{}", wrong.join("\n"));
}

/// Files that use each other can only be understood together, whatever their folders say.
#[test]
fn no_file_uses_one_that_uses_it() {
    let uses = uses_of_files();
    let circles = uses::circles(&uses);
    let mut wrong = Vec::new();
    for circle in &circles {
        for file in circle {
            for (used, thing) in uses[*file].iter().filter(|(used, _)| circle.contains(&used.as_path())) {
                wrong.push(format!("{} uses {thing} of {}", file.display(), used.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "files that use each other:\n{}", wrong.join("\n"));
}

/// The same of the folders in a room: one stands on the other.
#[test]
fn no_folder_uses_one_that_uses_it() {
    // `sqlite/open` for all that is in it.
    let folder = |file: &Path| file.iter().take(2).collect::<PathBuf>();
    let mut folders = uses::Uses::new();
    for (file, used) in uses_of_files() {
        let own = folders.entry(folder(&file)).or_default();
        for (other, thing) in used {
            own.entry(folder(&other)).or_insert_with(|| format!("{thing} in {}", file.display()));
        }
        own.remove(&folder(&file));
    }
    let mut wrong = Vec::new();
    for circle in uses::circles(&folders) {
        // Of files alone, it is one of the test above.
        if circle.iter().all(|part| part.extension().is_some()) {
            continue;
        }
        for part in &circle {
            for (other, thing) in folders[*part].iter().filter(|(other, _)| circle.contains(&other.as_path()))
            {
                wrong.push(format!("{} uses {}: {thing}", part.display(), other.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "folders that use each other:\n{}", wrong.join("\n"));
}

fn uses_of_files() -> uses::Uses {
    let sources = sources();
    let uses = uses::uses(sources.iter().map(|source| (source.path.as_path(), source.text.as_str())));
    let seen: usize = uses.values().map(BTreeMap::len).sum();
    assert!(seen > 500, "only {seen} uses were found");
    uses
}

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
                ]
                .iter()
                .any(|room| source.path.ends_with(room))
                    || !line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == "unsafe"),
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
                "state/mod.rs",
                "jobs/recover/salvage.rs",
                "jobs/cleanup/archive/sqlite.rs",
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
