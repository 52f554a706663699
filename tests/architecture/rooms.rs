//! Which room may use which, which kind of job knows of which, and how large a file or folder may be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::source::{Source, below, sources};
use crate::uses;

/// Rooms from the highest to the lowest; a room uses its own and lower ones. Those of one line are
/// equals.
const RANKS: [&[&str]; 18] = [
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
    &["descriptors"],
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
    for folder in ["src", "tests"] {
        for source in below(folder) {
            let (path, lines) = (Path::new(folder).join(&source.path), source.text.lines().count());
            if lines > LONGEST {
                wrong.push(format!("{} has {lines} lines", path.display()));
            }
            *folders.entry(path.parent().unwrap().to_owned()).or_default() += 1;
        }
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
