//! The card of one database: facts, jobs, checks, tables, slow statements.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::time::when;
use crate::error::Reason;
use crate::state::status::{
    BackupStatus, DatabaseStatus, JobStatus, Measure, PoolStatus, RunStatus, Severity, SlowShape,
    TableStatus, Trend,
};
use crate::terms::Outcome;
use crate::terms::Verdict;
use crate::words;

pub(super) fn card(db: &DatabaseStatus, now: DateTime<Utc>) -> Markup {
    html! {
        section.card id={ "db-" (db.name) } {
            div.head {
                h2 { (db.name) }
                (badge(db))
                p.path { code { (db.path) } }
            }
            (facts(db, now))
            (jobs(&db.jobs, now))
            (checks(db, now))
            div.pair {
                (tables(db))
                (slow(&db.slow))
            }
        }
    }
}

fn badge(db: &DatabaseStatus) -> Markup {
    let problems = db.problems();
    let failures = problems.iter().filter(|p| p.severity == Severity::Failure).count() as u64;
    let warnings = problems.len() as u64 - failures;
    html! {
        @if problems.is_empty() { span.tag.good { "well" } }
        @if failures > 0 { span.tag.bad { (words::plural(failures, "failure", "failures")) } }
        @if warnings > 0 { span.tag.warn { (words::plural(warnings, "warning", "warnings")) } }
    }
}

fn facts(db: &DatabaseStatus, now: DateTime<Utc>) -> Markup {
    html! {
        dl.facts {
            div {
                dt { "Newest backup" }
                @match &db.newest_backup {
                    Some(newest) => (backup(newest, db, now)),
                    None => { dd { "none" } },
                }
            }
            @for copy in &db.copies {
                div {
                    dt { "Copy " (copy.name) }
                    @match (&copy.error, copy.newest) {
                        (Some(_), _) => { dd { "cannot be looked at" } },
                        (None, Some(taken)) => {
                            dd { (when(now, taken)) }
                            dd.quiet { (words::count(copy.backups)) " kept" }
                        },
                        (None, None) => { dd { "empty" } },
                    }
                }
            }
            div {
                dt { "Size" }
                dd { (bytes(db.size_bytes)) }
                dd.quiet {
                    @if let Some(free) = db.free_bytes { (words::bytes(free)) " in free pages" }
                    @if let Some(wal) = db.wal_bytes { ", " (words::bytes(wal)) " write-ahead log" }
                }
            }
            @if let Some(growth) = db.growth() {
                div {
                    dt { "Growth" }
                    @if growth.bytes_per_day().is_some() {
                        dd { (growth.in_words()) }
                    } @else {
                        dd { "–" }
                        dd.quiet { (growth.in_words()) }
                    }
                    @if let Some(seconds) = db.disk_full_seconds {
                        dd.quiet { "the disk is full in " (words::duration(seconds)) }
                    }
                }
            }
            div {
                dt { "Connections" }
                @match &db.pool {
                    Some(p) => (pool(p)),
                    None => { dd { "none opened yet" } },
                }
            }
            div {
                dt { "Disk free" }
                dd { (bytes(db.disk_free.data)) }
                @if let Some(free) = db.disk_free.backup {
                    dd.quiet { (words::bytes(free)) " where the backups lie" }
                }
            }
        }
    }
}

fn backup(newest: &BackupStatus, db: &DatabaseStatus, now: DateTime<Utc>) -> Markup {
    html! {
        dd { (when(now, newest.finished)) }
        @if newest.taken.is_some() && newest.current > newest.taken {
            dd.quiet { "nothing was committed from then to " (when(now, newest.current)) }
        }
        dd.quiet {
            (words::bytes(newest.stored_bytes)) " stored, "
            @match (newest.is_verified, db.verified_backup) {
                (true, _) => { "verified " (when(now, newest.verified)) },
                (false, Some(taken)) => { "newest verified: " (when(now, taken)) },
                (false, None) => "not verified yet",
            }
            ", " (words::count(db.backups)) " kept"
        }
    }
}

fn pool(pool: &PoolStatus) -> Markup {
    html! {
        dd { (pool.in_use) " of " (pool.max) " in use" }
        dd.quiet {
            (pool.idle) " idle, " (pool.waiting) " waiting, "
            (words::plural(pool.timeouts, "timeout", "timeouts")) ", "
            (words::count(pool.recycled)) " replaced"
        }
    }
}

fn jobs(jobs: &[JobStatus], now: DateTime<Utc>) -> Markup {
    html! {
        @if !jobs.is_empty() {
            table.jobs {
                caption { "Jobs" }
                thead { tr { th scope="col" { "Task" } th scope="col" { "Last run" } th scope="col" { "Next run" } } }
                tbody { @for job in jobs { (row(job, now)) } }
            }
        }
    }
}

fn row(job: &JobStatus, now: DateTime<Utc>) -> Markup {
    html! {
        tr {
            th scope="row" { (job.kind) }
            td data-label="Last run" {
                @match &job.last {
                    None => span.quiet { "none yet" },
                    Some(last) => {
                        p {
                            (outcome(last.outcome, job)) " " (when(now, last.finished))
                            @if let Some(took) = last.took() { span.quiet { " in " (words::duration(took)) } }
                        }
                        @if !last.summary.is_empty() { p.summary { (last.summary) } }
                        @if last.outcome != Outcome::Success {
                            p.quiet {
                                @match job.last_success {
                                    Some(at) => { "last went well " (when(now, at)) },
                                    None => "has never gone well",
                                }
                            }
                        }
                    },
                }
            }
            td data-label="Next run" {
                @if let Some(running) = &job.running {
                    (progress(running, now))
                } @else if job.queued {
                    p { span.tag { "waiting" } " for its turn" }
                } @else {
                    @match job.next_run {
                        Some(at) if job.postponed => p { span.tag { "waiting" } " until " (when(now, at)) " (blackout)" },
                        Some(at) => p { (when(now, at)) },
                        None => p.quiet { "not scheduled" },
                    }
                }
                @if job.next_run.is_some() { p.quiet { code { (job.schedule) } } }
            }
        }
    }
}

fn outcome(outcome: Outcome, job: &JobStatus) -> Markup {
    let found = job.found();
    let (class, word) = match outcome {
        Outcome::Success if found == Some(Reason::Damaged.as_str()) => ("tag bad", "found damage"),
        Outcome::Success if found.is_some() => ("tag warn", "found something"),
        Outcome::Success if job.is_limited() => ("tag good", "limited"),
        Outcome::Success => ("tag good", "done"),
        Outcome::Failure => ("tag bad", "failed"),
        Outcome::Interrupted => ("tag warn", "interrupted"),
        Outcome::Skipped => ("tag", "skipped"),
    };
    html! { span class=(class) { (word) } }
}

fn progress(running: &RunStatus, now: DateTime<Utc>) -> Markup {
    let amount = |count: u64, unit: &str| match unit {
        "bytes" => words::bytes(count),
        unit => format!("{} {unit}", words::count(count)),
    };
    html! {
        p { span.tag.busy { "running" } span.quiet { " for " (words::duration((now - running.since).as_seconds_f64())) } }
        @if let Some(progress) = &running.progress {
            @match progress.total {
                Some(total) if total > 0 => {
                    @let share = progress.done.min(total).saturating_mul(100) / total;
                    progress max="100" value=(share) aria-label="progress" {}
                    p.quiet { (share) " %: " (amount(progress.done, &progress.unit)) " of " (amount(total, &progress.unit)) }
                },
                _ => p.quiet { (amount(progress.done, &progress.unit)) " so far" },
            }
        }
    }
}

fn checks(db: &DatabaseStatus, now: DateTime<Utc>) -> Markup {
    html! {
        @if !db.health.is_empty() {
            section.checks {
                h3 { "Health" }
                ul {
                    @for check in &db.health {
                        li {
                            @match check.result {
                                Verdict::Good => span.tag.good { "good" },
                                Verdict::Warning => span.tag.warn { "warning" },
                                Verdict::Bad => span.tag.bad { "bad" },
                                Verdict::Unknown => span.tag.warn { "unknown" },
                            }
                            div { b { (check.check) } " " (check.detail) " " span.quiet { (when(now, check.at)) } }
                        }
                    }
                }
            }
        }
    }
}

fn tables(db: &DatabaseStatus) -> Markup {
    html! {
        @if !db.tables.is_empty() {
            table.figures {
                caption { "Largest tables" }
                thead { tr { th scope="col" { "Table" } th scope="col" { "Size" } th scope="col" { "Rows" } th scope="col" { "A day" } } }
                tbody {
                    @for table in &db.tables {
                        tr {
                            th scope="row" { (table.table) }
                            td { (bytes(table.size_bytes)) }
                            td { (table.rows.map_or_else(|| "–".to_owned(), words::count)) }
                            td { (daily(db, table)) }
                        }
                    }
                }
            }
        }
    }
}

fn daily(db: &DatabaseStatus, table: &TableStatus) -> String {
    let trend = db.trends.iter().find(|trend| trend.kind == Measure::Table && trend.name == table.table);
    trend.and_then(Trend::bytes_per_day).map_or_else(|| "–".to_owned(), words::change)
}

fn slow(shapes: &[SlowShape]) -> Markup {
    html! {
        @if !shapes.is_empty() {
            table.figures {
                caption { "Slow statements" }
                thead { tr { th scope="col" { "Statement" } th scope="col" { "Times" } th scope="col" { "95 % within" } th scope="col" { "Longest" } th scope="col" { "Total" } } }
                tbody {
                    @for slow in shapes {
                        tr {
                            th scope="row" { code { (slow.shape) } }
                            td { (words::count(slow.count)) }
                            td { (slow.p95_seconds.map_or_else(|| "–".to_owned(), words::duration)) }
                            td { (words::duration(slow.max_seconds)) }
                            td { (words::duration(slow.total_seconds)) }
                        }
                    }
                }
            }
        }
    }
}

fn bytes(count: Option<u64>) -> String {
    count.map_or_else(|| "unknown".to_owned(), words::bytes)
}
