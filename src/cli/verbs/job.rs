//! `litekeeper maintain`, `backup`, `verify`, `cleanup` and `health`: a job now, by the same
//! runner, and so with the same lock and history, as the daemon's.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::backups::catalogue;
use crate::cli::global::{Global, block_on, database};
use crate::cli::terminal::{detail, out, progress};
use crate::cli::{exit, interrupt, log};
use crate::clock;
use crate::config::{Config, Database};
use crate::error::{Error, Reason, Result};
use crate::jobs::runner::{self, Order, RunEnd};
use crate::jobs::{self, Access, Task, registry};
use crate::pool::{self, Pool};
use crate::queries::slow_log;
use crate::schedule::blackout;
use crate::state::State;
use crate::state::runs;
use crate::terms::JobKind;
use crate::terms::{Cause, Outcome};

const HELP: &str = "\
Exit codes:
  0   ok
  1   failed, or something was found
  2   usage
  3   partly done
  10  no such database or backup
  11  locked by another run or open elsewhere
  12  damaged
  78  the configuration is not valid

With --json:
  {database, task, outcome, reason, summary, detail,
   problems: [{reason, message}], findings: [{reason, message}], left_out: [TEXT]}
`detail` is the job's own, as in `litekeeper history --json`.";

/// Vacuum, analyze and reindex a database now, by its maintain settings.
///
/// Also within `maintain.blackout`, with a note. The other jobs likewise.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::cli) struct Maintain {
    /// Name of the database in the configuration.
    #[arg(value_name = "DB")]
    database: String,
    /// Only show what each step would do, and for how long it would hold the application's writers;
    /// change nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Back up a database now, and rotate its backups.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::cli) struct Backup {
    /// Name of the database in the configuration.
    #[arg(value_name = "DB")]
    database: String,
    /// Make a backup even if the database has become much smaller or has lost tables since the last
    /// one.
    #[arg(long)]
    accept_smaller: bool,
    /// Only show which backups rotation would keep and remove after one more, and why; make and
    /// remove none.
    #[arg(long, conflicts_with = "accept_smaller")]
    dry_run: bool,
}

/// Restore a backup into scratch space now, and check it.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::cli) struct Verify {
    /// Name of the database in the configuration.
    #[arg(value_name = "DB")]
    database: String,
    /// Its file name, or the beginning of its time that only one has: 2026-11-23, 20261123T05
    /// [default: the newest good one]
    #[arg(value_name = "BACKUP")]
    backup: Option<String>,
    /// Take it from the copy of this name.
    #[arg(long, value_name = "COPY")]
    from: Option<String>,
}

/// Remove rows past their retention now, by the rules of a database.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::cli) struct Cleanup {
    /// Name of the database in the configuration.
    #[arg(value_name = "DB")]
    database: String,
    /// Only count what would go; write nothing to the database.
    #[arg(long)]
    dry_run: bool,
}

/// Check a database now: connections, declared indexes, table sizes, slow statements.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::cli) struct Health {
    /// Name of the database in the configuration.
    #[arg(value_name = "DB")]
    database: String,
    /// Also check integrity and foreign keys, which reads the whole file. With --json the output is
    /// then a list of two runs.
    #[arg(long)]
    deep: bool,
}

impl Maintain {
    pub(in crate::cli) fn run(&self, global: &Global) -> Result<u8> {
        let task =
            if self.dry_run { jobs::maintain::Preview.into() } else { jobs::maintain::Maintain.into() };
        run(global, &self.database, vec![task])
    }
}

impl Backup {
    pub(in crate::cli) fn run(&self, global: &Global) -> Result<u8> {
        let task = if self.dry_run {
            jobs::backup::preview::Preview.into()
        } else {
            jobs::backup::Backup { accept_smaller: self.accept_smaller }.into()
        };
        run(global, &self.database, vec![task])
    }
}

impl Verify {
    pub(in crate::cli) fn run(&self, global: &Global) -> Result<u8> {
        if let Some(backup) = &self.backup {
            // A name that nothing has is a mistake of the command, not a failed verification of the
            // database.
            let config = global.load()?;
            catalogue(database(&config, &self.database)?, self.from.as_deref())?.find(backup)?;
        }
        let job = jobs::verify::Verify { backup: self.backup.clone(), from: self.from.clone() };
        run(global, &self.database, vec![job.into()])
    }
}

impl Cleanup {
    pub(in crate::cli) fn run(&self, global: &Global) -> Result<u8> {
        let task = if self.dry_run { jobs::cleanup::Preview.into() } else { jobs::cleanup::Cleanup.into() };
        run(global, &self.database, vec![task])
    }
}

impl Health {
    pub(in crate::cli) fn run(&self, global: &Global) -> Result<u8> {
        // The deep checks first: health repeats what is known of damage, and they know it anew.
        let deep = self.deep.then_some(JobKind::Integrity);
        run(global, &self.database, deep.into_iter().chain([JobKind::Health]).map(registry::task).collect())
    }
}

/// What is printed of a run.
#[derive(Serialize)]
struct RunOutput<'a> {
    database: &'a str,
    #[serde(rename = "task")]
    job: JobKind,
    outcome: Outcome,
    reason: Option<Reason>,
    summary: &'a str,
    detail: &'a serde_json::Value,
    problems: Vec<exit::Fault<'a>>,
    findings: Vec<exit::Fault<'a>>,
    left_out: &'a [String],
}

/// Makes these runs, one after the other, and shows them.
pub(super) fn run(global: &Global, name: &str, tasks: Vec<Task>) -> Result<u8> {
    let config = global.load()?;
    let database = Arc::clone(database(&config, name)?);
    log::start_quietly(global, config.daemon.log_format);
    let kinds: Vec<JobKind> = tasks.iter().map(|task| task.kind).collect();
    let finished = block_on(work(&config, &database, tasks))?;
    tell(global, name, &kinds, &finished)
}

/// Shows runs; the exit code.
pub(in crate::cli) fn tell(
    global: &Global,
    name: &str,
    kinds: &[JobKind],
    finished: &[RunEnd],
) -> Result<u8> {
    let runs: Vec<_> = kinds.iter().copied().zip(finished).collect();
    if global.json {
        let told: Vec<_> = runs.iter().map(|(kind, finished)| told(name, *kind, finished)).collect();
        match told.as_slice() {
            [only] => out::json(only)?,
            all => out::json(&all)?,
        }
    }
    for (kind, finished) in &runs {
        match &finished.result {
            Ok(report) if !global.json => {
                let mut page = out::page();
                if runs.len() > 1 {
                    page.line(format!("{kind}:"));
                }
                detail::render(&mut page, report);
                out::text(page.text())?;
            }
            Ok(_) => {}
            Err(error) => exit::tell(&error.clone().context(format!("{kind} of {name}")), false),
        }
    }
    // The worst of several: damage goes before everything else.
    let codes: Vec<u8> = finished.iter().map(code).collect();
    let first_bad = codes.iter().copied().find(|code| *code != exit::OK);
    Ok(codes.iter().copied().find(|code| *code == exit::DAMAGED).or(first_bad).unwrap_or(exit::OK))
}

async fn work(config: &Config, database: &Arc<Database>, tasks: Vec<Task>) -> Result<Vec<RunEnd>> {
    let cancel = interrupt::token()?;
    let state = State::open_or_go_without(&config.daemon.state_dir)?;
    // A command that was killed has left its run open, and perhaps no daemon has started since.
    state.with(|c| runs::end_those_of_dead_processes(c)).await?;
    let (slow, statements) = pool::slow_statements(pool::MOST_WAITING);
    let kept = tokio::spawn(slow_log::keep(state.clone(), statements));
    let pool = Pool::new(database, slow)?;

    let mut finished = Vec::new();
    for task in tasks {
        if cancel.is_cancelled() {
            let result = Err(Error::new(Reason::Cancelled, "stopped before it began"));
            finished.push(RunEnd { outcome: Outcome::Interrupted, result });
            continue;
        }
        if task.access != Access::Preview {
            tell_of_blackout(config, database, task.kind);
        }
        let (progress, mut watched) = watch::channel(None);
        let mut line = progress::Line::new(format!("{} of {}", task.kind, database.name));
        let order = Order {
            task,
            database: Arc::clone(database),
            pool: pool.clone(),
            cause: Cause::Manual,
            zone: config.daemon.timezone,
            cancel: cancel.clone(),
            blackout: CancellationToken::new(),
            progress,
        };
        let mut run = std::pin::pin!(runner::run(&state, order));
        let ended = loop {
            tokio::select! {
                ended = &mut run => break ended,
                Ok(()) = watched.changed() => {
                    let now = *watched.borrow_and_update();
                    if let Some(now) = now {
                        line.show(now);
                    }
                }
            }
        };
        finished.push(ended);
    }
    pool.end().await;
    drop(pool);
    // The last slow statements; only a run that was given up keeps the channel open.
    let _ = tokio::time::timeout(Duration::from_secs(2), kept).await;
    Ok(finished)
}

/// Whoever asks for a run by hand may not have the time in mind.
fn tell_of_blackout(config: &Config, database: &Database, kind: JobKind) {
    let (windows, key) = (&database.when(kind).blackout, kind.blackout_key());
    if let Some(key) = key.filter(|_| blackout::holds(windows, config.daemon.timezone, clock::now())) {
        out::say(&format!("litekeeper: within {key} ({windows}); it runs all the same, as you asked for it"));
    }
}

fn told<'a>(database: &'a str, job: JobKind, finished: &'a RunEnd) -> RunOutput<'a> {
    let outcome = finished.outcome;
    match &finished.result {
        Ok(report) => RunOutput {
            database,
            job,
            outcome,
            reason: report.reason(),
            summary: &report.summary,
            detail: &report.detail,
            problems: report.problems.iter().map(Into::into).collect(),
            findings: report.findings.iter().map(Into::into).collect(),
            left_out: &report.left_out,
        },
        Err(error) => RunOutput {
            database,
            job,
            outcome,
            reason: Some(error.reason),
            summary: &error.message,
            detail: &serde_json::Value::Null,
            problems: Vec::new(),
            findings: Vec::new(),
            left_out: &[],
        },
    }
}

fn code(finished: &RunEnd) -> u8 {
    let report = match &finished.result {
        Ok(report) => report,
        Err(error) => return exit::code(error.reason),
    };
    let damaged = |error: &Error| error.reason == Reason::Damaged;
    if report.problems.iter().chain(&report.findings).any(damaged) {
        return exit::DAMAGED;
    }
    match (report.problems.is_empty(), report.findings.is_empty()) {
        (false, _) => exit::PARTLY,
        (true, false) => exit::FAILED,
        (true, true) => exit::OK,
    }
}
