//! What is wrong, by what a snapshot holds: the judgement that the page, `status` and `/readyz`
//! share. Looks at nothing.

use chrono::{DateTime, Utc};

use super::{APPLICATION_SQLITE, CheckStatus, DatabaseStatus, HandedOver, JobStatus, WalPinned};
use crate::error::Reason;
use crate::terms::{JobKind, Outcome, Verdict};
use crate::words;

/// A disk that is full within this is worth a warning: time enough to order another.
const SOON: f64 = 14.0 * 86_400.0;

/// Something that an operator should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// What it is about: a job, a check, `pool`, `disk`, `backup`.
    pub about: String,
    /// In words.
    pub text: String,
    /// When it was found, where that is one moment.
    pub at: Option<DateTime<Utc>>,
}

/// How bad a [`Problem`] is; the worse sorts first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something failed or is damaged.
    Failure,
    /// Something cannot be told, or will fail if nobody acts.
    Warning,
}

impl DatabaseStatus {
    /// What is wrong with this database, the worst first.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found: Vec<Problem> = self.jobs.iter().filter_map(JobStatus::problem).collect();
        found.extend(self.health.iter().filter_map(CheckStatus::problem));
        found.extend(self.warnings());
        found.sort_by_key(|p| p.severity);
        found
    }

    fn warnings(&self) -> Vec<Problem> {
        let warning = |about: &str, text: &str| Problem {
            severity: Severity::Warning,
            about: about.to_owned(),
            text: text.to_owned(),
            at: None,
        };
        let mut found = Vec::new();
        let failure = |text: String| Problem {
            severity: Severity::Failure,
            about: "backup".to_owned(),
            text,
            at: None,
        };
        if let Some(since) = self.disk_silent_since {
            let text = "the disk of the database, or of its backups, does not answer; its jobs wait, and run when it does: see \
                        the kernel's log (dmesg), or whether the server of a network filesystem is up";
            found.push(Problem { about: "disk".to_owned(), at: Some(since), ..failure(text.to_owned()) });
        } else if self.size_bytes.is_none() {
            let text = format!(
                "the file cannot be seen: it does not exist, or a directory above it may not be searched; correct path, \
                 mount the disk that it is on, or restore a backup (litekeeper restore {})",
                self.name
            );
            found.push(Problem { about: "database".to_owned(), ..failure(text) });
        }
        if let Some(second) = &self.second_name {
            found.push(Problem { about: "database".to_owned(), ..failure(second.clone()) });
        }
        let job = self.jobs.iter().find(|j| j.kind == JobKind::Backup);
        match (&self.backups_error, &self.newest_backup, job) {
            (Some(error), ..) => found.push(failure(format!("the backups cannot be looked at: {error}"))),
            (None, None, Some(job)) if job.last_success.is_some() => found.push(failure(
                "backups were made and no good one is there now; is the disk mounted where they lie?"
                    .to_owned(),
            )),
            (None, None, Some(job)) if job.next_run.is_some() => {
                found.push(warning("backup", "there is no backup yet"));
            }
            _ => {}
        }
        if self.damaged_backups > 0 {
            let backups = words::plural(self.damaged_backups, "backup is damaged", "backups are damaged");
            found.push(failure(format!("{backups}; `litekeeper backups {}` names them", self.name)));
        }
        for (copy, error) in self.copies.iter().filter_map(|c| Some((&c.name, c.error.as_ref()?))) {
            found.push(failure(format!("the copy {copy} cannot be looked at: {error}")));
        }
        if let Some(WalPinned { since, by }) = &self.wal_pinned {
            let text = "the write-ahead log cannot be emptied, because a transaction that reads stays open";
            let text = if by.is_empty() { text.to_owned() } else { format!("{text}: {by}") };
            found.push(Problem { at: Some(*since), ..warning("wal", &text) });
        }
        if let Some(HandedOver { by, since }) = &self.handed_over {
            let text = format!("{by} replaces the database; its jobs wait, and run when that has ended");
            found.push(Problem { at: Some(*since), ..warning("restore", &text) });
        }
        if self.pool.is_some_and(|p| p.waiting > 0 && p.in_use >= p.max) {
            found.push(warning("pool", "all connections are in use and callers wait for one"));
        }
        // VACUUM writes the whole database anew before it gives the old pages back.
        if let (Some(free), Some(size)) = (self.disk_free.data, self.size_bytes)
            && free < size
        {
            found.push(warning("disk", "less is free beside the database than its size: VACUUM has no room"));
        }
        if let (Some(seconds), Some(growth)) = (self.disk_full_seconds.filter(|s| *s < SOON), self.growth()) {
            let text = format!("full in {}: the database {}", words::duration(seconds), growth.in_words());
            found.push(warning("disk", &text));
        }
        if let (Some(free), Some(newest)) = (self.disk_free.backup, &self.newest_backup)
            && free < newest.stored_bytes
        {
            found.push(warning("disk", "less is free than the newest backup took: the next one has no room"));
        }
        found
    }
}

impl JobStatus {
    /// What is wrong when the last run did not end well.
    fn problem(&self) -> Option<Problem> {
        let last = self.last.as_ref()?;
        let (severity, verb) = match last.outcome {
            Outcome::Failure => (Severity::Failure, "failed"),
            // The operator wanted it so.
            Outcome::Interrupted if last.reason.as_deref() == Some(Reason::Blackout.as_str()) => return None,
            Outcome::Interrupted if last.reason.as_deref() == Some(Reason::NoPause.as_str()) => {
                (Severity::Warning, "gave way")
            }
            Outcome::Interrupted => (Severity::Warning, "was interrupted"),
            Outcome::Success | Outcome::Skipped => return None,
        };
        let about = self.kind.to_string();
        Some(Problem { severity, text: format!("{verb}: {}", last.summary), about, at: last.finished })
    }
}

impl CheckStatus {
    fn problem(&self) -> Option<Problem> {
        let (severity, text) = match self.result {
            Verdict::Good => return None,
            Verdict::Bad => (Severity::Failure, self.detail.clone()),
            Verdict::Warning => (Severity::Warning, self.detail.clone()),
            // In the unit nobody sees other users' processes: that is no trouble of this
            // database's.
            Verdict::Unknown if self.check == APPLICATION_SQLITE => return None,
            Verdict::Unknown => (Severity::Warning, format!("cannot be checked: {}", self.detail)),
        };
        Some(Problem { severity, about: self.check.clone(), text, at: self.at })
    }
}
