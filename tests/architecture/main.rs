//! The rules of the source tree that no compiler checks: which room may use which, one SQLite, no
//! file without its purpose, nothing that users see without its line in the documents.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod uses;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use litekeeper::config::keys;
use litekeeper::error::Reason;
use litekeeper::metrics::{index_reasons, names};
use litekeeper::terms::JobKind;

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

fn document(path: &str) -> String {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&whole).unwrap_or_else(|error| panic!("{}: {error}", whole.display()))
}

/// The README and all pages of docs, by their paths from the top.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![PathBuf::from("README.md"), PathBuf::from("CHANGELOG.md")];
    for directory in ["docs", "docs/reference"] {
        for entry in fs::read_dir(root.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "md") {
                pages.push(path.strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    assert!(pages.len() > 20, "{pages:?}");
    pages
}

/// What is in the pages is for the test `reference` to say; that they lack nothing is held here as
/// well.
#[test]
fn every_key_metric_reason_and_kind_of_job_is_in_the_reference() {
    let configuration = document("docs/reference/configuration.md");
    let all = keys();
    let described = |key: &String| {
        // A database's own `pool.size` is that of `[pool]`.
        let general = key.strip_prefix("database.NAME.").filter(|general| all.iter().any(|k| k == general));
        configuration.contains(&format!("| `{}` |", general.unwrap_or(key)))
    };
    let missing: Vec<&String> = all.iter().filter(|key| !described(key)).collect();
    assert!(missing.is_empty(), "keys that the reference does not have: {missing:?}");

    let metrics = document("docs/reference/metrics.md");
    let missing: Vec<_> =
        names::ALL.iter().map(|m| m.name).filter(|name| !has_word(&metrics, name)).collect();
    assert!(missing.is_empty(), "metrics that the reference does not have: {missing:?}");

    let reasons = document("docs/reference/reasons.md");
    let words = Reason::ALL.iter().map(|r| r.as_str()).chain(index_reasons::ALL.iter().map(|r| r.word));
    let missing: Vec<_> = words.filter(|word| !reasons.contains(&format!("\n| `{word}` |"))).collect();
    assert!(missing.is_empty(), "reasons that the reference does not have: {missing:?}");

    let json = document("docs/reference/json.md");
    let kinds = JobKind::SCHEDULED.into_iter().chain([JobKind::Checkpoint, JobKind::Recover]);
    let (_, details) = json.split_once("\n## `detail` of a run\n").expect("the details of runs");
    let (details, _) = details.split_once("\n## ").expect("another part after them");
    let missing: Vec<_> = kinds.filter(|kind| !details.contains(&format!("`{kind}`"))).collect();
    assert!(missing.is_empty(), "kinds of job whose detail the reference does not have: {missing:?}");
}

#[test]
fn the_readme_is_short() {
    let bytes = document("README.md").len();
    assert!(bytes <= 14 * 1024, "README.md has {bytes} bytes: what is not for everybody belongs into docs");
}

#[test]
fn links_within_the_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for page in documents() {
        let text = document(page.to_str().unwrap());
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            seen += 1;
            let (file, anchor) = link.split_once('#').map_or((link, None), |(file, at)| (file, Some(at)));
            let target =
                if file.is_empty() { root.join(&page) } else { root.join(page.parent().unwrap()).join(file) };
            assert!(target.exists(), "{}: {link} leads nowhere", page.display());
            if let Some(anchor) = anchor {
                let headings = fs::read_to_string(&target).unwrap();
                let mut headings = headings.lines().filter(|line| line.starts_with('#')).map(anchor_of);
                assert!(headings.any(|heading| heading == anchor), "{}: {link}", page.display());
            }
        }
    }
    assert!(seen > 50, "only {seen} links were found");
}

/// The name under which a heading is linked.
fn anchor_of(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_hazard_that_the_code_speaks_of_has_its_section_and_its_proof() {
    let page = document("docs/HAZARDS.md");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    for directory in ["src", "tests"] {
        read_all(&root.join(directory), &mut code);
    }
    let tests: BTreeSet<&str> = code
        .match_indices("fn h")
        .map(|(at, _)| code[at + 3..].split('(').next().unwrap())
        .filter(|name| !hazards(&name.to_uppercase().replace('_', " ")).is_empty())
        .collect();
    let mut named = hazards(&code);
    named.extend(tests.iter().flat_map(|name| hazards(&name.to_uppercase().replace('_', " "))));
    assert!(named.len() > 30, "only {named:?} were found");

    let sections: BTreeMap<u32, &str> = page
        .split("\n## ")
        .skip(1)
        .map(|section| {
            let (heading, text) = section.split_once('\n').unwrap();
            let number = heading.split_once(": ").and_then(|(number, _)| number.strip_prefix('H'));
            (number.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{heading}")), text)
        })
        .collect();
    let missing: Vec<_> = named.iter().filter(|number| !sections.contains_key(number)).collect();
    assert!(missing.is_empty(), "hazards without a section in docs/HAZARDS.md: {missing:?}");
    for (number, text) in &sections {
        let proof = text.split_once("Proof:").unwrap_or_else(|| panic!("H{number} has no proof")).1;
        let proofs: Vec<&str> =
            proof.split('`').skip(1).step_by(2).filter(|name| name.starts_with('h')).collect();
        assert!(!proofs.is_empty(), "H{number} names no test");
        for name in proofs {
            assert!(tests.contains(name), "H{number}: there is no test {name}");
        }
    }
}

/// The numbers of the hazards that a text names: a whole word of H and one or two digits.
fn hazards(text: &str) -> BTreeSet<u32> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    let numbers = words.filter_map(|word| word.strip_prefix('H'));
    numbers.filter(|digits| digits.len() <= 2).filter_map(|digits| digits.parse().ok()).collect()
}

fn read_all(directory: &Path, into: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// What cargo knows of the program and all of its dependencies on Linux.
fn packages() -> Vec<serde_json::Value> {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "only {} packages", packages.len());
    packages.clone()
}

fn is_ours(package: &serde_json::Value) -> bool {
    package["name"] == "litekeeper"
}

/// Cargo refuses an older compiler with that version's name, in place of an error in the middle of
/// a build.
#[test]
fn the_rust_that_is_asked_for_is_the_highest_that_a_dependency_asks_for() {
    let packages = packages();
    let version = |package: &serde_json::Value| -> Option<(u32, u32)> {
        let mut parts = package["rust_version"].as_str()?.split('.').map(|part| part.parse().unwrap());
        Some((parts.next()?, parts.next().unwrap_or(0)))
    };
    let ours = packages.iter().find(|package| is_ours(package)).and_then(version);
    let highest = packages.iter().filter(|package| !is_ours(package)).filter_map(version).max();
    assert_eq!(ours, highest, "rust-version, and the highest among the dependencies");
    let (major, minor) = ours.unwrap();
    let words = format!("{major}.{minor} or later");
    for page in ["README.md", "docs/installation.md", "docs/CONTRIBUTING.md"] {
        assert!(document(page).contains(&words), "{page} does not say Rust {words}");
    }
}

/// `tests/run licences` asks cargo-deny, where it is installed; this much is held everywhere.
#[test]
fn dependencies_have_the_licences_of_deny_toml_and_come_from_crates_io() {
    let deny: toml::Table = document("deny.toml").parse().unwrap();
    let allowed: Vec<&str> =
        deny["licenses"]["allow"].as_array().unwrap().iter().filter_map(toml::Value::as_str).collect();
    for package in packages().iter().filter(|package| !is_ours(package)) {
        let name = &package["name"];
        let licence = package["license"].as_str().unwrap_or_else(|| panic!("{name} names no licence"));
        assert!(is_allowed(licence, &allowed), "{name}: {licence}");
        let source = package["source"].as_str().unwrap_or_default();
        assert_eq!(source, "registry+https://github.com/rust-lang/crates.io-index", "{name}");
    }
    for (licence, is) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("GPL-3.0-only OR MIT", true),
        ("MIT/GPL-3.0-only", true),
        ("MIT AND GPL-3.0-only", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(MIT OR Apache-2.0) AND GPL-3.0-only", false),
    ] {
        assert_eq!(is_allowed(licence, &allowed), is, "{licence}");
    }
}

/// Of an SPDX expression as crates have it: alternatives, perhaps in parentheses, of which all must
/// hold.
fn is_allowed(licence: &str, allowed: &[&str]) -> bool {
    licence.split(" AND ").all(|part| {
        let alternatives = part.trim_matches(['(', ')']).replace('/', " OR ");
        alternatives.split(" OR ").any(|one| allowed.contains(&one.trim()))
    })
}

/// Not as a part of a longer name.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].chars().next_back().is_some_and(part)
            && !text[at + word.len()..].chars().next().is_some_and(part)
    })
}
