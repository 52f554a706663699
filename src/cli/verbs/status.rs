//! `litekeeper status`.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use clap::Args;

use crate::cli::exit;
use crate::cli::global::{Global, database};
use crate::cli::terminal::out;
use crate::cli::terminal::page::Page;
use crate::cli::terminal::table::TextTable;
use crate::config::Config;
use crate::error::{Error, Reason, Result};
use crate::state::State;
use crate::state::status::{
    BackupStatus, CopyStatus, DatabaseStatus, JobStatus, Measure, PoolStatus, Severity, Status as Snapshot,
    Trend,
};
use crate::survey::running::{self, Running};
use crate::survey::{disk, overview};
use crate::terms::Outcome;
use crate::words;

/// Show how the databases are: what is wrong, the newest backup, sizes, and each job's last and
/// next run.
///
/// Asks the running daemon; without one, says what the run history tells.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0   ok, whatever the status is
  1   there is no way to tell
  2   usage
  10  no such database
  78  the configuration is not valid

With --json the value of /api/status. Without a daemon its `ready` is false,
`not_ready` says so, and `pid` and `started` are null.")]
pub(in crate::cli) struct Status {
    /// Name of a database in the configuration [default: all].
    #[arg(value_name = "DB")]
    database: Option<String>,
}

impl Status {
    pub(in crate::cli) fn run(&self, global: &Global) -> Result<u8> {
        let config = global.load()?;
        if let Some(name) = &self.database {
            database(&config, name)?;
        }
        let found = running::find(&config, &global.config);
        let asked = running::status(&config, &global.config, found.as_ref());
        let is_live = asked.is_some();
        let mut status = match asked {
            Some(status) => status,
            None => without_daemon(&config, &global.config, found.as_ref())?,
        };
        if let Some(name) = &self.database {
            status.databases.retain(|database| database.name == *name);
            if status.databases.is_empty() {
                return Err(Error::new(
                    Reason::NotFound,
                    format!(
                        "the configuration has {name}, but the running daemon does not keep it yet: reload it"
                    ),
                ));
            }
        }
        if global.json {
            out::json(&status)?;
        } else {
            let mut page = out::page();
            render(&mut page, &status, is_live, config.daemon.timezone);
            out::text(page.text())?;
        }
        Ok(exit::OK)
    }
}

fn without_daemon(config: &Config, path: &Path, found: Option<&Running>) -> Result<Snapshot> {
    let state = State::view(&config.daemon.state_dir)?;
    let mut status = state
        .now(|c| overview::take(c, config, None, |database| Some(Arc::new(disk::of(database, None)))))?;
    status.config_path = path.display().to_string();
    if let Some(running) = found {
        let why = match &running.listen_error {
            Some(error) => error.as_str(),
            None if running.listen.is_some() => "it does not answer there",
            None => "its daemon.listen is \"off\"",
        };
        status.not_ready =
            vec![format!("the daemon runs as process {} and cannot be asked: {why}", running.process)];
    }
    Ok(status)
}

fn render(page: &mut Page, status: &Snapshot, is_live: bool, zone: Tz) {
    if is_live {
        if let (Some(pid), Some(started)) = (status.pid, status.started) {
            let up = words::duration((status.now - started).as_seconds_f64());
            page.line(format!("litekeeper {} has run for {up} as process {pid}", status.version));
        }
        for reason in &status.not_ready {
            page.beside("  FAILURE  ", &format!("not ready: {reason}"));
        }
        if let Some(reload) = status.config.last_reload.as_ref().filter(|reload| !reload.ok) {
            let ago = words::relative(status.now, reload.at);
            page.beside(
                "  FAILURE  ",
                &format!("the reload {ago} failed, and the configuration before it holds:"),
            );
            // Lines and carets, as they are.
            page.line(&reload.message);
        }
    } else {
        // Why nobody was asked.
        let why = words::capitalised(&status.not_ready.join("; "));
        page.paragraph(&format!("{why}; this is what the run history and the files tell."));
    }
    for database in &status.databases {
        page.line("");
        card(page, database, status.now, is_live, zone);
    }
    if status.databases.is_empty() {
        page.line("no databases are configured");
    }
}

fn card(page: &mut Page, database: &DatabaseStatus, now: DateTime<Utc>, is_live: bool, zone: Tz) {
    page.line(format!("{}  {}", database.name, database.path));
    for problem in database.problems() {
        let lead = match problem.severity {
            Severity::Failure => "  FAILURE  ",
            Severity::Warning => "  warning  ",
        };
        let ago = problem.at.map(|at| format!(" ({})", words::relative(now, at))).unwrap_or_default();
        page.beside(lead, &format!("{}: {}{ago}", problem.about, problem.text));
    }
    let backup = match &database.newest_backup {
        Some(newest) => backup(newest, database, now),
        None => String::from("none known"),
    };
    let mut facts = vec![("newest backup", backup), ("size", size(database)), ("disk free", disk(database))];
    facts.extend(database.growth().map(|growth| ("growth", self::growth(growth, database))));
    for copy in &database.copies {
        facts.push(("copy", self::copy(copy, now)));
    }
    facts.extend(database.pool.as_ref().map(|pool| ("connections", connections(pool))));
    let slow = database.slow.iter().map(|shape| shape.count).sum::<u64>();
    if slow > 0 {
        let times = words::plural(slow, "time", "times");
        facts.push(("slow statements", format!("{times} in 7 days; see: litekeeper slow {}", database.name)));
    }
    for (name, fact) in facts {
        page.beside(&format!("  {name:15}  "), &fact);
    }
    page.line("");
    page.table(2, &jobs(&database.jobs, now, is_live, zone));
}

fn backup(newest: &BackupStatus, database: &DatabaseStatus, now: DateTime<Utc>) -> String {
    let verified = match (newest.is_verified, database.verified_backup) {
        (true, _) => format!("verified {}", words::ago(now, newest.verified)),
        (false, Some(taken)) => format!("newest verified: {}", words::relative(now, taken)),
        (false, None) => String::from("not verified yet"),
    };
    let current = match newest.current {
        Some(current) if newest.current > newest.taken => {
            format!(" (nothing was committed until {})", words::relative(now, current))
        }
        _ => String::new(),
    };
    let count = database.backups;
    format!(
        "{}{current}, {}, stored as {}, {verified}; {count} kept",
        words::ago(now, newest.finished),
        words::bytes(newest.raw_bytes),
        words::bytes(newest.stored_bytes)
    )
}

fn copy(copy: &CopyStatus, now: DateTime<Utc>) -> String {
    let newest = match (&copy.error, copy.newest) {
        (Some(_), _) => String::from("cannot be looked at"),
        (None, Some(taken)) => format!("newest of {}; {} kept", words::relative(now, taken), copy.backups),
        (None, None) => String::from("empty"),
    };
    format!("{}: {newest}", copy.name)
}

fn size(database: &DatabaseStatus) -> String {
    let Some(size) = database.size_bytes else {
        return String::from("unknown: the file cannot be seen");
    };
    let free = database.free_bytes.map(|free| format!(", {} of it free pages", words::bytes(free)));
    let wal = database.wal_bytes.filter(|wal| *wal > 0);
    let wal = wal.map(|wal| format!("; write-ahead log {}", words::bytes(wal)));
    format!("{}{}{}", words::bytes(size), free.unwrap_or_default(), wal.unwrap_or_default())
}

fn growth(content: &Trend, database: &DatabaseStatus) -> String {
    let full = database.disk_full_seconds;
    let full = full.map(|seconds| format!("; the disk is full in {}", words::duration(seconds)));
    let tables = database.trends.iter().filter(|trend| trend.kind == Measure::Table);
    let daily =
        tables.filter_map(|trend| Some((trend.bytes_per_day().filter(|daily| *daily >= 1.0)?, trend)));
    let most = daily.max_by(|a, b| a.0.total_cmp(&b.0));
    let most = most.map(|(daily, trend)| format!("; most of all {}, {}", trend.name, words::change(daily)));
    format!("{}{}{}", content.in_words(), most.unwrap_or_default(), full.unwrap_or_default())
}

fn disk(database: &DatabaseStatus) -> String {
    let known = |bytes: Option<u64>| bytes.map_or_else(|| String::from("unknown"), words::bytes);
    let free = &database.disk_free;
    format!("{} for the database, {} for backups", known(free.data), known(free.backup))
}

fn connections(pool: &PoolStatus) -> String {
    let waiting = if pool.waiting > 0 { format!(", {} waiting", pool.waiting) } else { String::new() };
    let timeouts = match pool.timeouts {
        0 => String::new(),
        n => format!(", {} since the start", words::plural(n, "timeout", "timeouts")),
    };
    format!("{} of {} in use, {} idle{waiting}{timeouts}", pool.in_use, pool.max, pool.idle)
}

fn jobs(jobs: &[JobStatus], now: DateTime<Utc>, is_live: bool, zone: Tz) -> TextTable {
    // Without a daemon nothing comes next.
    let next = if is_live { "NEXT" } else { "WOULD BE DUE" };
    let mut table = TextTable::new(["JOB", "LAST RUN", "TOOK", next, "SCHEDULE"]);
    for job in jobs {
        let last = job.last.as_ref();
        let took = last.and_then(|last| last.took()).map(words::duration);
        let ended = last.map(|last| {
            let word = match last.outcome {
                Outcome::Success => found(job),
                Outcome::Failure => "FAILED",
                Outcome::Interrupted => "stopped",
                Outcome::Skipped => "skipped",
            };
            format!("{word} {}", words::ago(now, last.finished))
        });
        table.row([
            job.kind.to_string(),
            ended.unwrap_or_else(|| String::from("none yet")),
            took.unwrap_or_default(),
            coming(job, now, zone),
            job.schedule.clone(),
        ]);
    }
    table
}

/// A run that did its work, and perhaps found that something is wrong, or left out what only the
/// application can do.
fn found(job: &JobStatus) -> &'static str {
    match job.found() {
        None if job.is_limited() => "limited",
        None => "ok",
        Some(reason) if reason == Reason::Damaged.as_str() => "FOUND DAMAGE",
        Some(_) => "found something",
    }
}

fn coming(job: &JobStatus, now: DateTime<Utc>, zone: Tz) -> String {
    if let Some(running) = &job.running {
        let since = words::duration((now - running.since).as_seconds_f64());
        let share = running.progress.as_ref().and_then(|p| (p.done * 100).checked_div(p.total?));
        return match share {
            Some(percent) => format!("running, {percent}%"),
            None => format!("running, {since}"),
        };
    }
    match job.next_run {
        _ if job.queued => String::from("waiting"),
        Some(at) if job.postponed => {
            let (end, today) = (at.with_timezone(&zone), now.with_timezone(&zone));
            let form = if end.date_naive() == today.date_naive() { "%H:%M" } else { "%a %H:%M" };
            format!("waits until {} (blackout)", end.format(form))
        }
        Some(at) if at > now => words::relative(now, at),
        Some(_) => String::from("now"),
        None => String::from("never"),
    }
}
