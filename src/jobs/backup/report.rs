//! What a backup says of itself: the structure kept in the history and printed as JSON, and its
//! sentences.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::capture::Capture;
use super::rotate::RotationReport;
use super::{copies, unchanged};
use crate::error::Result;
use crate::jobs::Report;
use crate::store::{self, BackupOutcome};
use crate::words;

/// What a run did.
#[derive(Debug, Serialize)]
struct Detail {
    name: String,
    /// No file was made: the newest backup, `name`, holds what the database holds.
    unchanged: bool,
    /// As of when `name` is known to hold what the database holds.
    current: DateTime<Utc>,
    raw_bytes: u64,
    stored_bytes: u64,
    pages: u64,
    read_transaction_seconds: f64,
    /// How long the application's writers had to wait for the read transaction; 0 in WAL mode.
    writers_held_seconds: f64,
    /// How long it took to read the new file back from where it lies.
    read_back_seconds: f64,
    removed: Vec<String>,
    /// Why no good one was to be removed.
    spared: Option<String>,
    /// Copies of the damaged database that are kept.
    #[serde(skip_serializing_if = "is_none")]
    damaged_copies: usize,
    copies: Vec<copies::CopiedPlace>,
}

/// The report of a run; `taken` is what was read, where anything was.
pub(super) fn report(
    started: DateTime<Utc>,
    newest: &store::Backup,
    taken: Option<&Capture>,
    rotated: Result<RotationReport>,
    copied: copies::CopyReport,
    spared: Option<String>,
) -> Report {
    let manifest = newest.manifest.as_ref();
    let unchanged = taken.is_none_or(|taken| matches!(taken.made, BackupOutcome::Same(_)));
    let done = Detail {
        name: newest.name.clone(),
        unchanged,
        current: started,
        raw_bytes: manifest.map_or(0, |m| m.raw_bytes),
        stored_bytes: newest.size,
        pages: taken.map_or_else(|| manifest.map_or(0, |m| m.page_count), |taken| taken.facts.pages),
        read_transaction_seconds: taken.map_or(0.0, |taken| taken.held.as_secs_f64()),
        writers_held_seconds: taken.map_or(0.0, |taken| taken.writers_held_seconds),
        read_back_seconds: match taken.map(|taken| &taken.made) {
            Some(BackupOutcome::Made(made)) => made.read_back.as_secs_f64(),
            _ => 0.0,
        },
        removed: rotated.as_ref().map(|r| r.removed.clone()).unwrap_or_default(),
        spared,
        damaged_copies: rotated.as_ref().map_or(0, |r| r.damaged_copies),
        copies: copied.places,
    };
    let mut report = Report::new(summary(&done, newest), &done);
    match rotated {
        Ok(rotation) => report.problems.extend(rotation.problems),
        // The backup is made and counts; only the old ones stay longer than they should.
        Err(error) => report.problems.push(error.context("old backups were not removed")),
    }
    report.problems.extend(copied.problems);
    report
}

fn summary(done: &Detail, newest: &store::Backup) -> String {
    let what = if done.unchanged {
        unchanged::summary(newest, done.current)
    } else {
        format!(
            "{}: {}, stored as {}",
            done.name,
            words::bytes(done.raw_bytes),
            words::bytes(done.stored_bytes)
        )
    };
    let held = if done.writers_held_seconds > 0.0 {
        let held = words::duration(done.writers_held_seconds);
        format!("; writers had to wait for {held}, as the database is not in WAL mode")
    } else {
        String::new()
    };
    let removed = match (done.removed.len(), &done.spared) {
        (_, Some(why)) => format!("; removed no good one, because {why}{}", damaged_copies(done)),
        (0, None) => String::new(),
        (1, None) => String::from("; removed 1 old one"),
        (n, None) => format!("; removed {n} old ones"),
    };
    let brought = done.copies.iter().filter(|place| !place.brought.is_empty());
    let brought: Vec<&str> = brought.map(|place| place.copy.as_str()).collect();
    let copied =
        if brought.is_empty() { String::new() } else { format!("; copied to {}", brought.join(", ")) };
    format!("{what}{held}{removed}{copied}")
}

/// So that nobody has to count them, nor fears for the disk.
fn damaged_copies(done: &Detail) -> String {
    if done.damaged_copies == 0 {
        return String::new();
    }
    let kept = words::plural(done.damaged_copies as u64, "damaged copy is", "damaged copies are");
    let removed = match done.removed.len() {
        0 => String::new(),
        n => format!(", {n} older removed"),
    };
    format!("; {kept} kept{removed}")
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_none(count: &usize) -> bool {
    *count == 0
}
