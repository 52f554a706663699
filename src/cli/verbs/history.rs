//! `litekeeper history`.

use clap::Args;

use crate::cli::exit;
use crate::cli::global::{Global, database};
use crate::cli::terminal::table::TextTable;
use crate::cli::terminal::{out, time};
use crate::error::Result;
use crate::state::State;
use crate::state::runs::{self, Run};
use crate::words;
use crate::zone::Zone;

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
  {id, database, job, cause, pid, started, finished, outcome, reason, summary,
   detail}
`cause` is schedule, catch_up, manual or upkeep; `outcome` is success, failure, skipped
or interrupted, and null while the run is at work; `finished` is null then, and
where the process ended before the run did.")]
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

fn render(runs: &[Run], zone: Zone) -> TextTable {
    let head = ["ID", "STARTED", "DATABASE", "JOB", "CAUSE", "OUTCOME", "TOOK", "SUMMARY"];
    let mut table = TextTable::new(head).right(&[0]);
    for run in runs {
        let took = run.finished.map(|finished| (finished - run.started).as_seconds_f64());
        table.row([
            run.id.to_string(),
            time::local(run.started, zone),
            run.database.clone(),
            run.job.clone(),
            run.cause.replace('_', " "),
            run.outcome.map_or_else(|| String::from("running"), |outcome| outcome.to_string()),
            took.map(words::duration).unwrap_or_default(),
            run.summary.clone(),
        ]);
    }
    table
}
