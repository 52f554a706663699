//! `litekeeper slow`.

use chrono::{DateTime, Utc};
use clap::Args;

use super::table::Table;
use super::{Global, database, exit, out};
use crate::clock;
use crate::error::Result;
use crate::state::State;
use crate::state::slow::{self, Shape};
use crate::words;

/// Show the statements that were slower than watch.slow_threshold, by shape, those that took the most time first.
///
/// Only statements that litekeeper runs itself are seen, watched queries among them; the application's own are not.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0   ok
  1   failed
  2   usage
  10  no such database
  78  the configuration is not valid

With --json a list of:
  {database, shape, job, count, total_seconds, max_seconds, vm_steps,
   full_scan_steps, first_seen, last_seen}")]
pub(super) struct Slow {
    /// Name of a database in the configuration [default: all].
    #[arg(value_name = "DB")]
    database: Option<String>,
    /// How many shapes of each database.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
}

impl Slow {
    pub(super) fn run(&self, global: &Global) -> Result<u8> {
        let config = global.load()?;
        let names = match &self.database {
            Some(name) => vec![database(&config, name)?.name.as_str()],
            None => config.databases.keys().map(String::as_str).collect(),
        };
        let worst = State::view(&config.daemon.state_dir)?.now(|c| {
            let all = names.iter().map(|name| slow::worst(c, name, DateTime::UNIX_EPOCH, self.limit));
            all.collect::<Result<Vec<_>>>()
        })?;
        let mut shapes = worst.concat();
        shapes.sort_by(|a, b| b.total_seconds.total_cmp(&a.total_seconds));
        if global.json {
            out::json(&shapes)?;
        } else if shapes.is_empty() {
            out::text("no slow statements")?;
        } else {
            let mut page = out::page();
            page.table(0, &render(&shapes, clock::now()));
            out::text(page.text())?;
        }
        Ok(exit::OK)
    }
}

fn render(shapes: &[Shape], now: DateTime<Utc>) -> Table {
    let head = ["DATABASE", "JOB", "COUNT", "TOTAL", "LONGEST", "LAST SEEN", "STATEMENT"];
    let mut table = Table::new(head).right(&[2, 3, 4]);
    for shape in shapes {
        table.row([
            shape.database.clone(),
            shape.job.clone(),
            words::count(shape.count),
            words::duration(shape.total_seconds),
            words::duration(shape.max_seconds),
            words::relative(now, shape.last_seen),
            shape.shape.clone(),
        ]);
    }
    table
}
