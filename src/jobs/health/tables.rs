//! The check `table_sizes`: bytes and rows of each table. The bytes take a read of every page, so
//! they are measured only when the file has changed, and of a large file once a day.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use super::growth;
use crate::clock;
use crate::error::{Error, Reason, Result};
use crate::jobs::Run;
use crate::jobs::reading::Reader;
use crate::jobs::verdicts::{Check, met};
use crate::sqlite::files::stamp::Stamp;
use crate::sqlite::look::sizes::{self, Tree};
use crate::state::facts::{MEASURED, Measurement, SPACE, Space, TABLES};
use crate::state::status::TableStatus;
use crate::state::trends::{Measure, SAMPLED, Size};
use crate::terms::progress::Unit;
use crate::words;

pub(super) const NAME: &str = "table_sizes";

/// From this size on a file is measured once a day: 1 GiB is read in some seconds from a disk.
const LARGE: u64 = 1 << 30;
const LARGE_EVERY: TimeDelta = TimeDelta::hours(24);

/// All tables of a file are measured within this; what is left over has no size this time.
const LONGEST: Duration = Duration::from_secs(60);

/// Counting the rows of a table takes no longer; past it, its number of rows is not told.
const LONGEST_COUNT: Duration = Duration::from_millis(500);

pub(super) fn check(run: &Run) -> Result<Check> {
    match measure(run) {
        Ok(check) => Ok(check),
        Err(error) => {
            let error = met(run, error)?;
            Ok(match error.reason {
                Reason::Damaged => Check::bad(NAME, Reason::Damaged, error.message),
                _ => Check::unknown(NAME, error.message),
            })
        }
    }
}

fn measure(run: &Run) -> Result<Check> {
    let reader = Reader::new(run)?;
    let space = Space { free_bytes: reader.facts.free_bytes() };
    let stamp = Stamp::of(&run.database.path);
    run.remember(SPACE, &Some(space))?;
    let (known, tables) = (run.recall(MEASURED)?, run.recall(TABLES)?);
    if let Some(known) = known
        && is_fresh(&known, &stamp, run.started, &tables)
    {
        // What nobody wrote to is as large as it was; of a large file that is written to, only the
        // whole is known.
        let has_changed = known.stamp != stamp;
        let growth = growth::keep(run, &reader.facts, &growth::Trees::AsBefore { has_changed })?;
        return Ok(verdict(&tables, &[], &growth));
    }
    // From before the reading: what is written meanwhile is measured the next time.
    let measured = Measurement { stamp, at: run.started };
    let (tables, sizes, left_out) = of_all(run, &reader)?;
    run.remember(TABLES, &tables)?;
    run.remember(MEASURED, &Some(measured))?;
    let growth = growth::keep(run, &reader.facts, &growth::Trees::Measured(sizes))?;
    Ok(verdict(&tables, &left_out, &growth))
}

/// Whether what is known need not be measured again.
fn is_fresh(known: &Measurement, stamp: &Stamp, now: DateTime<Utc>, tables: &[TableStatus]) -> bool {
    if stamp.bytes() >= LARGE && clock::past(known.at, now).is_some_and(|at| now - at < LARGE_EVERY) {
        return true;
    }
    known.stamp == *stamp && tables.iter().all(|table| table.size_bytes.is_some())
}

/// The tables, largest first, the sizes of all that was measured, and why some are not.
fn of_all(run: &Run, reader: &Reader<'_>) -> Result<(Vec<TableStatus>, Vec<Size>, Vec<String>)> {
    let until = Instant::now() + LONGEST;
    let trees = reader.read(|connection| sizes::trees(connection))?;
    let mut tables: BTreeMap<String, TableStatus> = BTreeMap::new();
    let (mut sizes, mut left_out) = (Vec::new(), Vec::new());
    for (done, tree) in trees.iter().enumerate() {
        run.at(done as u64, trees.len() as u64, Unit::Steps);
        let bytes = if Instant::now() < until {
            reader.read(|connection| sizes::bytes(connection, tree))
        } else {
            Err(Error::new(Reason::Deadline, format!("measuring all tables took longer than {LONGEST:?}")))
        };
        let bytes = match bytes {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let error = met(run, error)?;
                if error.reason == Reason::Damaged {
                    return Err(error.context(format!("{} cannot be read", tree.name)));
                }
                left_out.push(format!("{}: {}", tree.name, error.message));
                None
            }
        };
        if let Some(bytes) = bytes.filter(|_| tree.name != tree.table) {
            sizes.push(Size { kind: Measure::Index, name: tree.name.clone(), bytes });
        }
        add(&mut tables, tree, bytes);
    }
    // No statement can count the others.
    let speakable: BTreeSet<&str> =
        trees.iter().filter(|tree| tree.is_speakable).map(|tree| tree.table.as_str()).collect();
    for table in tables.values_mut().filter(|table| speakable.contains(table.table.as_str())) {
        table.rows = rows(run, &table.table, until)?;
    }
    let mut tables: Vec<TableStatus> = tables.into_values().collect();
    tables.sort_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then_with(|| a.table.cmp(&b.table)));
    sizes.extend(tables.iter().filter_map(|table| {
        Some(Size { kind: Measure::Table, name: table.table.clone(), bytes: table.size_bytes? })
    }));
    sizes.sort_by_key(|size| std::cmp::Reverse(size.bytes));
    sizes.truncate(SAMPLED);
    Ok((tables, sizes, left_out))
}

/// A table whose trees are not all measured has no size rather than a wrong one.
fn add(tables: &mut BTreeMap<String, TableStatus>, tree: &Tree, bytes: Option<u64>) {
    let table = tables.entry(tree.table.clone()).or_insert_with(|| TableStatus {
        table: tree.table.clone(),
        size_bytes: Some(0),
        rows: None,
    });
    table.size_bytes = table.size_bytes.zip(bytes).map(|(all, more)| all + more);
}

/// Rows of a table; `None` where counting them takes too long or cannot be done.
fn rows(run: &Run, table: &str, until: Instant) -> Result<Option<u64>> {
    let limit = LONGEST_COUNT.min(until.saturating_duration_since(Instant::now()));
    let limit = limit.min(run.database.maintain.max_block);
    match run.read_within(limit, |connection| sizes::rows(connection, table)) {
        Ok(rows) => Ok(Some(rows)),
        Err(error) => {
            let error = met(run, error)?;
            if error.reason == Reason::Damaged { Err(error) } else { Ok(None) }
        }
    }
}

fn verdict(tables: &[TableStatus], left_out: &[String], growth: &str) -> Check {
    let all: u64 = tables.iter().filter_map(|table| table.size_bytes).sum();
    let detail = match tables {
        [] => "there are no tables".to_owned(),
        [one] => format!("1 table, {} with its indexes", words::bytes(one.size_bytes.unwrap_or(0))),
        [largest, ..] => format!(
            "{} tables, {} with their indexes; the largest is {} with {}",
            tables.len(),
            words::bytes(all),
            largest.table,
            words::bytes(largest.size_bytes.unwrap_or(0))
        ),
    };
    match left_out {
        [] => Check::good(NAME, format!("{detail}; {growth}")),
        [first, ..] => Check::unknown(NAME, format!("{} not measured; {first}", left_out.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Of a file of that many bytes, none of which takes room.
    fn stamp(directory: &Path, bytes: u64) -> Stamp {
        let path = directory.join(bytes.to_string());
        std::fs::File::create(&path).unwrap().set_len(bytes).unwrap();
        Stamp::of(&path)
    }

    #[test]
    fn a_large_file_that_changes_all_the_time_is_measured_once_a_day() {
        let directory = tempfile::tempdir().unwrap();
        let at = DateTime::UNIX_EPOCH;
        let fresh = |size, hours, measured| {
            let known = Measurement { stamp: stamp(directory.path(), 1), at };
            let table = TableStatus { table: "t".to_owned(), size_bytes: measured, rows: None };
            is_fresh(&known, &stamp(directory.path(), size), at + TimeDelta::hours(hours), &[table])
        };
        assert!(!fresh(LARGE - 1, 1, Some(1)));
        assert!(fresh(LARGE, 23, Some(1)));
        assert!(fresh(LARGE, 23, None), "one that took too long is not tried again at once");
        assert!(!fresh(LARGE, 24, Some(1)));
    }

    #[test]
    fn what_was_left_out_of_a_small_file_is_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let stamp = stamp(directory.path(), 4096);
        let known = Measurement { stamp: stamp.clone(), at: DateTime::UNIX_EPOCH };
        let table = |size_bytes| [TableStatus { table: "t".to_owned(), size_bytes, rows: None }];
        assert!(is_fresh(&known, &stamp, known.at, &table(Some(1))));
        assert!(!is_fresh(&known, &stamp, known.at, &table(None)));
    }
}
