//! The rules of the source tree that no compiler checks: which room may use which, one SQLite, no file without its
//! purpose, nothing that users see without its line in the README.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

use litekeeper::config::keys;
use litekeeper::metrics::names;

/// Rooms from the highest to the lowest; a room uses its own and lower ones. Those of one line are equals.
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

/// Lines of code in a file; past this it is two rooms.
const LONGEST: usize = 400;

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// `jobs` for `src/jobs/backup/mod.rs`.
    fn room(&self) -> &str {
        let first = self.path.components().next().unwrap().as_os_str().to_str().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Without comments and without the tests at the end.
    fn code(&self) -> impl Iterator<Item = &str> {
        let code = self.text.split("\n#[cfg(test)]").next().unwrap();
        code.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"))
    }

    /// `pool` for each `crate::pool…` in the code, those of `use crate::{pool, state}` included.
    fn uses(&self) -> Vec<String> {
        let code = self.code().collect::<Vec<_>>().join(" ");
        let mut uses = Vec::new();
        for (at, _) in code.match_indices("crate::") {
            let after = &code[at + "crate::".len()..];
            let name = |text: &str| {
                text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_owned()
            };
            match after.strip_prefix('{') {
                None => uses.push(name(after)),
                Some(list) => uses.extend(top_level(list).into_iter().map(name)),
            }
        }
        uses
    }
}

/// The parts of `a, b::{c, d}, e};…` up to its closing brace.
fn top_level(list: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&list[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn sources() -> Vec<Source> {
    fn collect(dir: &Path, root: &Path, into: &mut Vec<Source>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, root, into);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                into.push(Source { path: path.strip_prefix(root).unwrap().to_owned(), text });
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    collect(&root, &root, &mut sources);
    assert!(sources.len() > 50, "the sources are not found in {}", root.display());
    sources
}

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

#[test]
fn kinds_of_job_know_nothing_of_each_other() {
    let sources = sources();
    let kinds: Vec<String> = sources
        .iter()
        .filter_map(|source| source.path.strip_prefix("jobs").ok())
        .filter(|path| path.components().count() > 1)
        .map(|path| path.components().next().unwrap().as_os_str().to_str().unwrap().to_owned())
        .collect();
    assert!(kinds.iter().any(|kind| kind == "backup"), "{kinds:?}");
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
    for source in sources() {
        let name = source.path.display().to_string();
        let free = ["jobs/registry.rs", "jobs/mod.rs"].contains(&name.as_str());
        if free || source.room() == "cli" || source.path.components().count() > 2 && source.room() == "jobs" {
            continue;
        }
        for kind in ["backup", "verify", "cleanup", "maintain"] {
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
fn no_file_is_longer_than_one_room() {
    for source in sources() {
        let lines = source.code().count();
        assert!(lines <= LONGEST, "{} has {lines} lines of code", source.path.display());
    }
}

#[test]
fn only_what_sqlite_calls_is_unsafe_and_only_the_pool_names_deadpool() {
    for source in sources() {
        for line in source.code() {
            let path = source.path.display();
            assert!(
                [
                    "sqlite/copy/sink.rs",
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

/// A write to a live database holds off checkpoints (HAZARDS H29) and is counted as a hold. Connections to one only read until
/// `hold` lends them, so that what is left to see to is that no other is opened, lent or written to past its SQL.
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
                "sqlite/copy/sink.rs",
                "sqlite/upkeep/overwrite.rs",
            ],
        ),
        // Live ones; under the exclusive lock, and never committed to; all others are files of our own.
        (
            "Connection::open",
            &[
                "sqlite/open/",
                "sqlite/copy/sink.rs",
                // In memory: to set a bound of the whole process, and in the place of one that is closed.
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

#[test]
fn the_readme_has_every_metric_and_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{} must list every metric and every key: {e}", path.display()));
    let metrics = names::ALL.iter().map(|metric| metric.name).filter(|name| !has_word(&readme, name));
    assert_eq!(metrics.collect::<Vec<_>>(), Vec::<&str>::new(), "metrics that the README does not have");
    // `pool.busy_timeout` is found in the table of [pool] as `busy_timeout`.
    let keys: Vec<String> =
        keys().into_iter().filter(|key| !has_word(&readme, key.rsplit('.').next().unwrap())).collect();
    assert_eq!(keys, Vec::<String>::new(), "keys that the README does not have");
}

/// Not as a part of a longer name.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].chars().next_back().is_some_and(part)
            && !text[at + word.len()..].chars().next().is_some_and(part)
    })
}
