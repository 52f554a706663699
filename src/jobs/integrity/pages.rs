//! The check `integrity`. The whole file in one pass where that keeps nobody waiting, and table by
//! table where it would, or where the pass failed or found something.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::indexes::Suspects;
use super::omissions::{Omissions, was_dropped};
use super::{indexes, search};
use crate::config::{Integrity, Reindex};
use crate::error::{Error, Reason, Result};
use crate::jobs::reading::Reader;
use crate::jobs::verdicts::{Check, INTEGRITY, met};
use crate::jobs::{Run, damage};
use crate::sqlite::checks::{self, Depth, Found};
use crate::sqlite::look::{names, refused};
use crate::sqlite::write::checkpoint::Backlog;
use crate::terms::progress::Unit;

/// In rollback mode, where writers wait for us, files up to this size are checked in one pass: a
/// second or two from a disk. Only a pass over the whole file sees the freelist, pages that nothing
/// uses, and pages that two tables use.
const SMALL: u64 = 256 << 20;

/// Problems of a kind that are named.
const NAMED: usize = 3;

pub(super) fn check(
    run: &Run,
    reader: &Reader<'_>,
    tables: &[String],
    problems: &mut Vec<Error>,
) -> Result<Check> {
    let depth = match run.database.health.integrity {
        Integrity::Quick => Depth::Quick,
        Integrity::Full => Depth::Full,
    };
    let suspects = Suspects::recall(run, reader);
    let suspects = match suspects {
        Ok(suspects) => suspects,
        Err(error) => {
            problems.push(met(run, error)?);
            Suspects::default()
        }
    };
    // Until a whole pass finds none, which may be given up for the log's length.
    let is_known_sound = matches!(damage::known(run), Ok(None));
    let mut found = Found::default();
    let mut unchecked = Omissions::default();
    let mut as_a_whole = None;
    let mut is_missing_some = false;
    let mut is_ended_early = None;
    let mut is_met_again = false;
    if reader.is_wal() || reader.facts.bytes() < SMALL {
        match pass(run, reader, depth, None, is_known_sound) {
            Ok(mut whole) => {
                as_a_whole = Some(whole.is_clean());
                // What that left out is found out, or said, of each table.
                whole.unchecked.retain(|_| !whole.is_of_structure);
                whole.is_of_structure = false;
                // Told again of the table in which it was met.
                is_ended_early = whole.has_ended.then(|| whole.structure.pop()).flatten();
                found.add(whole);
            }
            // One table that cannot be checked fails the whole pass; so does a bound. Table by
            // table more is done.
            Err(error) => {
                let error = met(run, error)?;
                is_missing_some |= !checks::cannot_be_done(&error);
            }
        }
    }
    let mut checked = BTreeSet::new();
    for (done, table) in tables.iter().enumerate() {
        run.at(done as u64, tables.len() as u64, Unit::Steps);
        let is_suspect = suspects.has_table(table);
        if as_a_whole == Some(true) && !is_suspect {
            checked.insert(table.clone());
            continue;
        }
        // The quick check does not compare the entries of an index: it could not say that one is
        // right again.
        let depth = if is_suspect { Depth::Full } else { depth };
        let so_far_sound = is_known_sound && is_ended_early.is_none() && found.structure.is_empty();
        match pass(run, reader, depth, Some(table), so_far_sound) {
            Ok(one) => {
                is_met_again |= one.has_ended;
                if !one.is_of_structure {
                    checked.insert(table.clone());
                }
                found.add(one);
            }
            Err(error) if was_dropped(reader, table, &error) => {}
            Err(error) => {
                is_missing_some |= !checks::cannot_be_done(&error);
                unchecked.add(run, table, error, problems)?;
            }
        }
    }
    found.structure.extend(is_ended_early.filter(|_| !is_met_again));
    // What reads virtual tables through damage tells nothing of them.
    if found.structure.is_empty() {
        search::check(run, reader, tables, &mut found, &mut unchecked, problems)?;
    }
    unchecked.0.append(&mut found.unchecked);
    let passed_over = match reader.read(|connection| aside(connection)) {
        Ok((passed_over, unspeakable)) => {
            // Only a pass over the whole file has seen them.
            unchecked.0.extend(unspeakable.into_iter().filter(|_| as_a_whole.is_none()));
            passed_over
        }
        Err(error) => {
            problems.push(met(run, error)?);
            Vec::new()
        }
    };
    let damaged = indexes::damaged(&found, &suspects, &checked);
    problems.extend(indexes::keep(run, &damaged).err());
    if !found.structure.is_empty() {
        problems.extend(damage::checked(run, Some(few(&found.structure))).err());
    } else if !is_missing_some {
        problems.extend(damage::checked(run, None).err());
    }
    let own = checked.iter().filter(|table| !table.starts_with("sqlite_")).count();
    let mut check = verdict(run, &found, &unchecked, own, as_a_whole.is_some());
    for one in passed_over {
        check.detail += "; ";
        check.detail += &one;
    }
    Ok(check)
}

/// What has no pages and is not read here, in words; and the tables whose names no statement can
/// have.
fn aside(connection: &Connection) -> Result<(Vec<String>, Vec<String>)> {
    let refused = refused::all(connection)?;
    let passed_over = refused.into_iter().filter(|one| !one.has_pages).map(|one| one.error.message);
    let objects = names::unspeakable_objects(connection)?;
    let tables = objects.iter().filter(|(sort, _)| sort == "table");
    let unspeakable = tables.map(|(_, shown)| names::not_utf8("table", shown).message);
    Ok((passed_over.collect(), unspeakable.collect()))
}

/// One pass over the file, or over a table, which may take long. `so_far_sound`: those before it
/// met no damage.
fn pass(
    run: &Run,
    reader: &Reader<'_>,
    depth: Depth,
    table: Option<&str>,
    so_far_sound: bool,
) -> Result<Found> {
    reader.inspect(|connection, inspector, go_on| {
        let backlog = Backlog::before(connection)?;
        let found = inspector.integrity(depth, table, go_on);
        // Nothing is written to a file that is damaged, or cannot be read.
        let is_sound = match &found {
            Ok(found) => found.structure.is_empty(),
            Err(error) => error.reason == Reason::Cancelled,
        };
        if so_far_sound && is_sound {
            backlog.settle(connection, &run.database.path);
        }
        found
    })
}

fn verdict(run: &Run, found: &Found, unchecked: &Omissions, checked: usize, as_a_whole: bool) -> Check {
    let mut parts = Vec::new();
    if !found.structure.is_empty() {
        let few = few(&found.structure);
        parts.push(format!("the file is damaged: {few}; {}", damage::what_to_do(&run.database.name)));
    }
    if !found.indexes.is_empty() {
        let names = found.indexes.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        parts.push(format!("indexes that do not agree with their tables: {names}{}", rebuild(run, found)));
    }
    if !found.rows.is_empty() {
        parts.push(format!("rows that break a constraint of their table: {}", few(&found.rows)));
    }
    if !found.virtual_tables.is_empty() {
        parts.push(format!("virtual tables at odds with their content: {}", few(&found.virtual_tables)));
    }
    let is_bad = !parts.is_empty();
    parts.extend(unchecked.in_words());
    if is_bad {
        let is_damage = !(found.structure.is_empty() && found.indexes.is_empty());
        let reason = if is_damage { Reason::Damaged } else { Reason::Sqlite };
        return Check::bad(INTEGRITY, reason, parts.join("; "));
    }
    if !parts.is_empty() {
        parts.push(format!("nothing is wrong with the other {checked} tables"));
        return Check::unknown(INTEGRITY, parts.join("; "));
    }
    let partly = if as_a_whole { "" } else { "; table by table, without the list of free pages" };
    // Named, because the quick one does not compare the entries of indexes, and passes over a few
    // kinds of damage.
    let how = match run.database.health.integrity {
        Integrity::Quick => "quick_check",
        Integrity::Full => "integrity_check",
    };
    Check::good(INTEGRITY, format!("{how} finds nothing wrong with the {checked} tables{partly}"))
}

/// What to do about indexes. REINDEX writes: not into a file that is damaged elsewhere.
fn rebuild(run: &Run, found: &Found) -> String {
    if !found.structure.is_empty() {
        String::new()
    } else if run.database.maintain.reindex == Reindex::Never {
        "; rebuild them with REINDEX".to_owned()
    } else {
        format!("; maintenance rebuilds them (litekeeper maintain {})", run.database.name)
    }
}

fn few(lines: &[String]) -> String {
    let named = lines.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join("; ");
    match lines.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named}; and {more} more"),
    }
}
