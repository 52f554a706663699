//! Gives free pages back to the filesystem, when that is worth it and harms nobody: decides in
//! which way, and does it by VACUUM where neither slices (`slices`) nor a quiet moment (`compact`)
//! will do.

use std::path::Path;
use std::time::Duration;

use super::compact::{self, Compaction};
use super::slices::{self, freed};
use super::speed::interruptible;
use super::step::{Cost, Decision, StepName, StepReport};
use crate::config::units::show_duration;
use crate::config::{Maintain, RowidPolicy, Vacuum};
use crate::error::{Error, Reason, Result};
use crate::jobs::Run;
use crate::jobs::limits::{in_step, part, within};
use crate::sqlite::files::paths::resolved;
use crate::sqlite::files::replicator;
use crate::sqlite::files::space::{Need, shortage, temp_directory};
use crate::sqlite::look::facts::Facts;
use crate::sqlite::look::rowids;
use crate::sqlite::upkeep::needs;
use crate::sqlite::upkeep::vacuum::{AutoVacuum, vacuum};
use crate::state::facts::{SPEEDS, Speeds};
use crate::words;

const STEP: StepName = StepName::Vacuum;

/// What SQLite writes beyond the pages themselves: headers of WAL frames and of the journal, pages
/// that come out less full than they were, and what the application adds meanwhile.
const MARGIN: u64 = 1 << 20;

/// What there is to know before anything is done.
struct Findings {
    facts: Facts,
    /// A replicator owns the write-ahead log.
    owned: bool,
    /// Tables whose rowids a rewrite gives out anew.
    renumbered: Vec<String>,
}

/// In which way, if in any.
enum Way {
    /// Not at all, and why.
    Not(String),
    /// Incremental VACUUM.
    Slices,
    /// The whole file, after which it has this mode of auto_vacuum.
    Rewrite(AutoVacuum),
}

pub(super) fn run(run: &Run, preview: bool) -> Result<StepReport> {
    let settings = &run.database.maintain;
    if settings.vacuum == Vacuum::Never {
        return Ok(StepReport::skipped(STEP, "VACUUM is off"));
    }
    let looked = run.sql(|c| {
        Ok(Findings {
            facts: Facts::read(c)?,
            owned: replicator::owns(c, &run.database.path),
            renumbered: rowids::renumbered_by_vacuum(c)?,
        })
    })?;
    let facts = &looked.facts;
    let step = match way(settings, &looked) {
        Way::Not(why) => StepReport::skipped(STEP, why),
        Way::Slices => slices::run(run, facts, preview)?,
        Way::Rewrite(mode) => match run.sql(|c| needs::of_vacuum(c))?.as_slice() {
            [] => rewrite(run, facts, mode, preview)?,
            lacks => StepReport::left_out(STEP, vec![impossible(lacks)]),
        },
    };
    Ok(step.found(free(facts)))
}

/// Why no rewrite of the file can be made here: tried, it would fail each night.
fn impossible(lacks: &[Error]) -> String {
    let lacks: Vec<_> = lacks.iter().map(|lack| lack.message.as_str()).collect();
    format!("VACUUM, which makes every table and index anew: {}", lacks.join("; "))
}

/// `20% of the file (1.2 GiB) is free`.
fn free(facts: &Facts) -> String {
    let share = facts.free_pages as f64 / facts.pages.max(1) as f64;
    format!("{} of the file ({}) is free", words::percent(share), words::bytes(facts.free_bytes()))
}

fn way(settings: &Maintain, looked: &Findings) -> Way {
    let Findings { facts, owned, renumbered } = looked;
    let (mode, free) = (AutoVacuum::of(facts.auto_vacuum), free(facts));
    if *owned {
        return Way::Not(String::from("VACUUM skipped: a replicator owns the database's write-ahead log"));
    }
    let wanted = match (settings.vacuum, mode) {
        (Vacuum::Never, _) => return Way::Not(String::from("VACUUM is off")),
        (Vacuum::Incremental, AutoVacuum::Full) => {
            return Way::Not(String::from("VACUUM not needed: auto_vacuum = FULL leaves no page free"));
        }
        (Vacuum::Incremental, AutoVacuum::None) => AutoVacuum::Incremental,
        (Vacuum::Incremental, AutoVacuum::Incremental) if facts.free_pages == 0 => {
            return Way::Not(String::from("VACUUM not needed: no page is free"));
        }
        (Vacuum::Auto, _)
            if (facts.free_pages as f64) < settings.vacuum_min_free * facts.pages.max(1) as f64 =>
        {
            return Way::Not(format!("VACUUM not needed: {free}"));
        }
        (Vacuum::Auto, _) if facts.free_bytes() < settings.vacuum_min_size => {
            let least = words::bytes(settings.vacuum_min_size);
            return Way::Not(format!(
                "VACUUM not needed: {free}, less than maintain.vacuum_min_size = {least}"
            ));
        }
        (Vacuum::Incremental | Vacuum::Auto, AutoVacuum::Incremental) => return Way::Slices,
        (Vacuum::Auto | Vacuum::Always, mode) => mode,
    };
    if settings.vacuum_rowids == RowidPolicy::Keep && !renumbered.is_empty() {
        return Way::Not(format!(
            "VACUUM skipped: it would renumber the rowids of {}, which have neither an INTEGER PRIMARY KEY nor an index; \
             where nothing refers to those rowids, set maintain.vacuum_rowids = \"renumber\"",
            renumbered.join(", ")
        ));
    }
    Way::Rewrite(wanted)
}

fn rewrite(run: &Run, facts: &Facts, mode: AutoVacuum, preview: bool) -> Result<StepReport> {
    let settings = &run.database.maintain;
    let needed = needed(facts);
    if let Some(problem) = no_room(&run.database.path, needed)? {
        return Ok(StepReport::refused(STEP, problem));
    }
    let (used, has_log) = (facts.used_bytes(), facts.journal_mode == "wal");
    let speeds = run.recall(SPEEDS)?;
    let limit = settings.max_block.as_secs_f64();
    let cost = |seconds: f64| Cost {
        hold_seconds: Some(seconds),
        longest_hold_seconds: limit,
        needed_bytes: Some(needed),
    };
    // `always` is VACUUM as it is written.
    let waits_for_quiet = settings.vacuum == Vacuum::Auto && mode == AutoVacuum::None && has_log;
    let mut not_now = String::new();
    if waits_for_quiet && speeds.of_overwrite(used) <= limit {
        if preview {
            let why = "would put a compact copy in place, if the application does not write while it is made";
            return Ok(StepReport::planned(STEP, why, cost(speeds.of_overwrite(used))));
        }
        match part(run, "VACUUM", compact::run(run, lasting(speeds.of_overwrite(used))))? {
            Ok(Compaction::Done(took, number)) => {
                run.update(SPEEDS, |speeds| speeds.learn_overwrite(used, took))?;
                let how = format!(" by a compact copy that was put in place, at attempt {number}");
                return freed(run, facts, &how);
            }
            Ok(Compaction::NotNow(why)) => {
                not_now = format!("; a compact copy could not be put in place: {why}");
            }
            Ok(Compaction::TooLong) => {
                run.update(SPEEDS, |speeds| speeds.learn_overwrite_is_slower(used, settings.max_block))?;
                let late = Error::new(Reason::Deadline, "");
                return Ok(StepReport::failed(STEP, in_step("VACUUM", run, late)));
            }
            Err(problem) => return Ok(StepReport::failed(STEP, problem)),
        }
    }
    let expected = speeds.of_vacuum(used);
    if expected > limit {
        return Ok(StepReport::refused(STEP, too_slow(run, used, &speeds, &not_now)));
    }
    if preview {
        let why = if mode == AutoVacuum::of(facts.auto_vacuum) {
            "would run VACUUM"
        } else {
            "would run VACUUM to convert the file to auto_vacuum = INCREMENTAL"
        };
        return Ok(StepReport::planned(STEP, why, cost(expected)));
    }
    let done = in_place(run, facts, mode, speeds)?;
    Ok(if done.decision == Decision::Done { StepReport { why: done.why + &not_now, ..done } } else { done })
}

/// By VACUUM itself.
fn in_place(run: &Run, facts: &Facts, mode: AutoVacuum, speeds: Speeds) -> Result<StepReport> {
    let max_block = run.database.maintain.max_block;
    let used = facts.used_bytes();
    let first_part = interruptible(max_block, used, &speeds, facts.journal_mode == "wal");
    let was = AutoVacuum::of(facts.auto_vacuum);
    let expected = lasting(speeds.of_vacuum(used));
    let took = match within(run, first_part, "VACUUM", expected, |c| vacuum(c, &run.holds, was, mode))? {
        Ok(took) => took,
        Err(problem) => {
            if problem.reason == Reason::Deadline {
                run.update(SPEEDS, |speeds| speeds.learn_vacuum_is_slower(used, max_block))?;
            }
            return Ok(StepReport::failed(STEP, problem));
        }
    };
    run.update(SPEEDS, |speeds| speeds.learn_vacuum(used, took))?;
    let converted = mode != was;
    let how = if converted { " and converted the file to auto_vacuum = INCREMENTAL" } else { "" };
    let mut step = freed(run, facts, how)?;
    // The application's load may have made the second part longer than it was measured to be.
    if took > max_block {
        step.why = format!(
            "{} but held writers up for {}, longer than maintain.max_block = {}: its last part cannot be interrupted",
            step.why,
            words::duration(took.as_secs_f64()),
            show_duration(max_block)
        );
    }
    Ok(step)
}

fn lasting(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

fn too_slow(run: &Run, used: u64, speeds: &Speeds, not_now: &str) -> Error {
    let seconds = speeds.of_vacuum(used);
    let text = format!(
        "VACUUM would hold the application's writers for about {} ({} in use, {}), longer than maintain.max_block = {} \
         allows{not_now}; where the application may wait so long at this time, set max_block = \"{:.0}s\", or \
         vacuum = \"never\" where it may not",
        words::duration(seconds),
        words::bytes(used),
        speeds.vacuum_basis(),
        show_duration(run.database.maintain.max_block),
        (seconds * 1.5).ceil()
    );
    Error::new(Reason::Refused, text)
}

/// A rewrite puts all live pages into a temporary file, and then over the beginning of the
/// database: through the WAL, or with as many pages as were there before in the rollback journal.
/// What lies behind them is only cut off.
fn needed(facts: &Facts) -> u64 {
    let live = facts.used_bytes();
    live + live / 20 + MARGIN
}

fn no_room(database: &Path, bytes: u64) -> Result<Option<Error>> {
    let directory = resolved(database).parent().unwrap_or(Path::new("/")).to_owned();
    let needs = [directory, temp_directory()].map(|directory| Need { directory, bytes });
    Ok(shortage(&needs)?.map(|shortage| {
        let mut error = shortage.error("VACUUM");
        error.message +=
            "; make room there, or name a roomier directory for temporary files with SQLITE_TMPDIR";
        error
    }))
}
