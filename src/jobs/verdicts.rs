//! What checks found: kept for the status and the metrics, and told in the report. Decides nothing.

use serde::Serialize;

use super::{Report, Run};
use crate::clock;
use crate::error::{Error, Reason, Result};
use crate::metrics::events::CheckChanged;
use crate::state::facts::HEALTH;
pub use crate::state::status::APPLICATION_SQLITE;
use crate::state::status::CheckStatus;
use crate::terms::Verdict;

/// The check of the file's pages, tables and indexes.
pub const INTEGRITY: &str = "integrity";

/// What one check found.
#[derive(Debug, Clone)]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// Whether all is well.
    pub verdict: Verdict,
    /// In words, without a final full stop.
    pub detail: String,
    /// Why it is bad, as one word.
    reason: Reason,
}

impl Check {
    /// All is well.
    pub fn good(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Good, detail: detail.into(), reason: Reason::Sqlite }
    }

    /// All is well, but its operator should know something.
    pub fn warning(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warning, detail: detail.into(), reason: Reason::Sqlite }
    }

    /// Something is wrong with the database.
    pub fn bad(name: &'static str, reason: Reason, detail: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Bad, detail: detail.into(), reason }
    }

    /// It cannot be told.
    pub fn unknown(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Unknown, detail: detail.into(), reason: Reason::Sqlite }
    }
}

/// The error that a check met, where the run shall go on: not when it was told to stop or is late.
pub fn met(run: &Run, error: Error) -> Result<Error> {
    run.go_on()?;
    if error.reason == Reason::Cancelled { Err(error) } else { Ok(error) }
}

/// Keeps what was found in place of what the same checks found before. The checks of other jobs
/// stay.
pub fn keep(run: &Run, checks: &[Check]) -> Result<()> {
    let at = Some(clock::now());
    let new = checks.iter().map(|c| CheckStatus {
        check: c.name.to_owned(),
        result: c.verdict,
        detail: c.detail.clone(),
        at,
    });
    // Both jobs may be at work on the same list.
    let changed = run.update(HEALTH, |all| {
        let mut changed = Vec::new();
        for check in new {
            let old = all.iter_mut().find(|old| old.check == check.check);
            let before = old.as_ref().map_or(Verdict::Good, |old| old.result);
            let same =
                old.as_ref().is_some_and(|old| old.detail == check.detail) || check.result == Verdict::Good;
            if check.result != before || !same {
                changed.push(check.clone());
            }
            match old {
                Some(old) => *old = check,
                None => all.push(check),
            }
        }
        changed
    })?;
    for CheckStatus { check, result, detail, .. } in &changed {
        CheckChanged { database: &run.database.name, check, verdict: *result, detail }.emit();
    }
    Ok(())
}

/// The report on these checks: each bad one is a finding.
pub fn report(checks: &[Check]) -> Report {
    #[derive(Serialize)]
    struct Line<'a> {
        check: &'a str,
        result: Verdict,
        detail: &'a str,
    }
    let lines: Vec<_> =
        checks.iter().map(|c| Line { check: c.name, result: c.verdict, detail: &c.detail }).collect();
    let mut report = Report::new(summary(checks), &serde_json::json!({ "checks": lines }));
    report.findings = checks
        .iter()
        .filter(|c| c.verdict == Verdict::Bad)
        .map(|c| Error::new(c.reason, format!("{}: {}", c.name, c.detail)))
        .collect();
    report
}

fn summary(checks: &[Check]) -> String {
    let named = |verdict, word: &'static str| {
        checks
            .iter()
            .filter(move |c| c.verdict == verdict)
            .map(move |c| format!("{} {word}: {}", c.name, c.detail))
    };
    let rest: Vec<String> = named(Verdict::Bad, "is bad")
        .chain(named(Verdict::Warning, "warns"))
        .chain(named(Verdict::Unknown, "cannot be told"))
        .collect();
    let good = checks.iter().filter(|c| c.verdict == Verdict::Good).count();
    match (good == checks.len(), good) {
        (true, _) => format!("all {good} checks are good"),
        (false, 0) => rest.join("; "),
        (false, _) => format!("{good} of {} checks are good; {}", checks.len(), rest.join("; ")),
    }
}
