//! Checks that need the merged values, or more than one table: each a small function that notes
//! what it finds. Limits of a single key are read with it, in `tables`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::file::Findings;
use super::same_file::FileIdentities;
use super::wrong::Mistake;
use super::wrong::Span;
use crate::config::units::show_duration;
use crate::config::{Config, Database, Rule};
use crate::terms::JobKind;

/// Who keeps rows for less may mean it.
const A_DAY: Duration = Duration::from_secs(86_400);

/// What is valid and yet perhaps not meant, over all databases.
pub(super) fn doubts(config: &Config) -> Vec<String> {
    let databases = config.databases.values();
    open_to_the_network(config)
        .into_iter()
        .chain(databases.flat_map(|database| [always_postponed(database), soon_removed(database)].concat()))
        .collect()
}

/// The window has no password.
fn open_to_the_network(config: &Config) -> Option<String> {
    let listen = config.daemon.listen.filter(|listen| !listen.ip().is_loopback())?;
    Some(format!(
        "daemon.listen = \"{listen}\": whoever reaches this machine by the network can read the status page and the \
         metrics, which have no password; for this machine only: \"127.0.0.1:{}\"",
        listen.port()
    ))
}

/// Rules that keep rows for minutes: "6m" may have been meant as months.
fn soon_removed(database: &Database) -> Vec<String> {
    let soon = |rule: &Rule| {
        let keep = rule.keep.filter(|keep| *keep < A_DAY)?;
        Some(format!(
            "database {}: the cleanup rule on {} keeps rows for {} only; `m` is minutes, and months are written in days, \
             such as \"180d\"",
            database.name,
            rule.table,
            show_duration(keep)
        ))
    };
    database.cleanup.rules.iter().filter_map(soon).collect()
}

/// Schedules that fire only when nothing may start.
fn always_postponed(database: &Database) -> Vec<String> {
    let doubt = |kind: JobKind| {
        let (when, key) = (database.when(kind), kind.blackout_key()?);
        when.blackout.covers_all_of(&when.schedule).then(|| {
            format!(
                "database {}: the schedule of {kind}, \"{}\", is due only within {key}, {}: each run waits until that ends",
                database.name, when.schedule, when.blackout
            )
        })
    };
    JobKind::SCHEDULED.into_iter().filter_map(doubt).collect()
}

/// All checks.
pub(super) fn validate(config: &Config, findings: &Findings<'_>) {
    for database in config.databases.values() {
        keeps_some_backup(database, findings);
        level_exists(database, findings);
        paths_do_not_meet(database, &config.daemon.state_dir, findings);
        copies_lie_elsewhere(database, findings);
        archives_have_a_directory(database, findings);
    }
    paths_are_different(config, findings);
}

/// Where a database's value comes from: its own table, the table for all, or the database's header.
fn place(database: &str, key: &str, findings: &Findings<'_>) -> Span {
    findings
        .span(&format!("database.{database}.{key}"))
        .or_else(|| findings.span(key))
        .or_else(|| findings.span(&format!("database.{database}")))
        .unwrap_or_default()
}

/// H26: a policy that keeps nothing would leave rotation with nothing to protect.
fn keeps_some_backup(database: &Database, findings: &Findings<'_>) {
    if database.backup.keep.is_none() {
        let wrong = Mistake::new("no backup would be kept: every `keep_` key of `backup` is 0");
        let help = "set one of keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly";
        findings.note(place(&database.name, "backup.keep_last", findings), wrong.help(help));
    }
}

/// The level may stand in the table for all databases, and the format in a database's own.
fn level_exists(database: &Database, findings: &Findings<'_>) {
    let (format, level) = (database.backup.compression, database.backup.level);
    if level > format.highest_level() {
        let highest = format.highest_level();
        let wrong = Mistake::new(format!(
            "`backup.level` must be a whole number from 1 to {highest} for {}, not {level}",
            format.as_str()
        ));
        findings.note(place(&database.name, "backup.level", findings), wrong);
    }
}

/// A copy beside its original would be rotated twice and protect from nothing.
fn copies_lie_elsewhere(database: &Database, findings: &Findings<'_>) {
    for copy in database.backup.copies.iter().filter(|copy| copy.dir == database.backup.dir) {
        let wrong = Mistake::new(format!("the copy `{}` lies where the backups themselves do", copy.name));
        let help = format!("{} is `backup.dir`: name another place", copy.dir);
        findings.note(place(&database.name, "backup.copy", findings), wrong.help(help));
    }
}

/// Only a directory can be appended to.
fn archives_have_a_directory(database: &Database, findings: &Findings<'_>) {
    let archives = |rule: &&Rule| rule.archive.is_some() && rule.archive_dir.is_none();
    let in_a_bucket = database.backup.dir.directory().is_none();
    if let Some(rule) = database.cleanup.rules.iter().find(archives).filter(|_| in_a_bucket) {
        let wrong = Mistake::new(format!("the archive of table {:?} has no place", rule.table));
        let help = format!(
            "backups are in {}, and an archive needs a directory: set archive_dir in the rule",
            database.backup.dir
        );
        findings.note(place(&database.name, "cleanup.rule", findings), wrong.help(help));
    }
}

fn paths_are_different(config: &Config, findings: &Findings<'_>) {
    let paths = config.databases.values().map(|database| database.path.clone());
    let files = FileIdentities::look(paths.filter(|path| path.has_root()).collect());
    // The first database of each path, and of each file.
    let (mut by_path, mut by_file) = (BTreeMap::new(), BTreeMap::new());
    for database in config.databases.values() {
        let twin = *by_path.entry(database.path.as_path()).or_insert(database);
        let twin = match files.of(&database.path) {
            Some(file) => std::cmp::min_by_key(twin, *by_file.entry(file).or_insert(database), |d| &d.name),
            None => twin,
        };
        let twin = Some(twin).filter(|twin| twin.name != database.name);
        // One whose path was missing or wrong has an empty one, which is noted already.
        if let Some(twin) = twin.filter(|twin| twin.path.has_root()) {
            let wrong =
                Mistake::new(format!("databases `{}` and `{}` are the same file", twin.name, database.name));
            let help = "two sets of jobs would work on it at the same time: remove one";
            findings.note(place(&database.name, "path", findings), wrong.help(help));
        }
    }
}

/// A database in the place of litekeeper's own files, or litekeeper's files in the place of a
/// database.
fn paths_do_not_meet(database: &Database, state_dir: &Path, findings: &Findings<'_>) {
    let (name, path) = (&database.name, &database.path);
    if !path.has_root() {
        return;
    }
    if *path == state_dir.join("state.db") {
        let wrong = Mistake::new(format!("database `{name}` is litekeeper's own state, {}", path.display()));
        findings.note(place(name, "path", findings), wrong.help("litekeeper keeps that file itself"));
    }
    if state_dir.starts_with(path) {
        let wrong =
            Mistake::new(format!("`daemon.state_dir` lies inside database `{name}`, which is a file"));
        findings.note(findings.span("daemon.state_dir").unwrap_or_default(), wrong);
    }
    let copies = database.backup.copies.iter().map(|copy| ("backup.copy", &copy.dir));
    for (key, dir) in std::iter::once(("backup.dir", &database.backup.dir)).chain(copies) {
        let Some(dir) = dir.directory() else { continue };
        if dir.starts_with(path) {
            let wrong = Mistake::new(format!("`{key}` lies inside database `{name}`, which is a file"));
            findings.note(place(name, key, findings), wrong);
        }
        if path.starts_with(dir.join(name)) {
            let wrong =
                Mistake::new(format!("database `{name}` lies inside the directory of its own backups"));
            let help =
                format!("{} is for litekeeper's files only: choose another {key}", dir.join(name).display());
            findings.note(place(name, "path", findings), wrong.help(help));
        }
    }
}
