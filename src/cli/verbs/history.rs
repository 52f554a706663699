//! `litekeeper history`.

use chrono_tz::Tz;
use clap::Args;

use crate::cli::exit;
use crate::cli::global::{Global, database};
use crate::cli::terminal::table::TextTable;
use crate::cli::terminal::{out, time};
use crate::error::Result;
use crate::state::State;
use crate::state::runs::{self, Run};
use crate::words;

/// Show past runs, the newest first.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0   ok
  1   failed
  2   usage
  10  no such database
  78  the configuration is not valid

With --json a list of:
  {id, database, task, cause, pid, started, finished, outcome, reason, summary,
   detail}
`cause` is schedule, catch_up, manual or upkeep; `outcome` is success, failure, skipped
or interrupted, and null while the run is at work; `finished` is null then, and
where the process ended before the run did. `started` and `finished` are null
where the clock was ahead: then nobody knows when that was. A success with
the reason unsupported, `limited` in the list, left out what only the application
can do.")]
pub(in crate::cli) struct History {
    /// Name of a database in the configuration [default: all].
    #[arg(value_name = "DB")]
    database: Option<String>,
    /// How many runs.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
}

impl History {
    pub(in crate::cli) fn run(&self, global: &Global) -> Result<u8> {
        let config = global.load()?;
        let name = self.database.as_deref().map(|name| database(&config, name)).transpose()?;
        let name = name.map(|database| database.name.as_str());
        let runs = State::view(&config.daemon.state_dir)?.now(|c| runs::history(c, name, self.limit))?;
        if global.json {
            out::json(&runs)?;
        } else if runs.is_empty() {
            out::text("no runs yet")?;
        } else {
            let mut page = out::page();
            page.table(0, &render(&runs, config.daemon.timezone));
            out::text(page.text())?;
        }
        Ok(exit::OK)
    }
}

/// Success has a word of its own where something was left out.
fn outcome(run: &Run) -> String {
    match run.outcome {
        None => String::from("running"),
        Some(_) if run.is_limited() => String::from("limited"),
        Some(outcome) => outcome.to_string(),
    }
}

fn render(runs: &[Run], zone: Tz) -> TextTable {
    let head = ["ID", "STARTED", "DATABASE", "JOB", "CAUSE", "OUTCOME", "TOOK", "SUMMARY"];
    let mut table = TextTable::new(head).right(&[0]);
    for run in runs {
        let took = run.finished.zip(run.started).map(|(to, from)| (to - from).as_seconds_f64());
        table.row([
            run.id.to_string(),
            run.started.map_or_else(|| String::from("unknown"), |started| time::local(started, zone)),
            run.database.clone(),
            run.job.clone(),
            run.cause.replace('_', " "),
            outcome(run),
            took.map(words::duration).unwrap_or_default(),
            run.summary.clone(),
        ]);
    }
    table
}
