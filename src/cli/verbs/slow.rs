//! `litekeeper slow`.

use chrono::{DateTime, Utc};
use clap::Args;

use crate::cli::exit;
use crate::cli::global::{Global, database};
use crate::cli::terminal::out;
use crate::cli::terminal::page::Page;
use crate::cli::terminal::table::TextTable;
use crate::clock;
use crate::error::{Error, Reason, Result};
use crate::state::State;
use crate::state::slow::{self, Shape};
use crate::words;

/// Show the statements that were slower than watch.slow_threshold, by shape, those that took the
/// most time first.
///
/// Only statements that litekeeper runs itself are seen, watched queries among them; the
/// application's own are not. Of each the times of the slow executions alone are counted; P50 and
/// P95 are within 10 % of the exact ones.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0   ok
  1   failed
  2   usage
  10  no such database or shape
  78  the configuration is not valid

With --json a list of (with --shape, one):
  {database, id, shape, task, count, total_seconds, p50_seconds, p95_seconds,
   max_seconds, vm_steps, full_scan_steps, sorts, automatic_indexes,
   first_seen, last_seen, plan}")]
pub(in crate::cli) struct Slow {
    /// Name of a database in the configuration [default: all].
    #[arg(value_name = "DB")]
    database: Option<String>,
    /// How many shapes of each database.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
    /// Show all that is known of the shape with this ID, its plan included.
    #[arg(long, value_name = "ID", conflicts_with = "limit")]
    shape: Option<String>,
}

impl Slow {
    pub(in crate::cli) fn run(&self, global: &Global) -> Result<u8> {
        let config = global.load()?;
        let names = match &self.database {
            Some(name) => vec![database(&config, name)?.name.as_str()],
            None => config.databases.keys().map(String::as_str).collect(),
        };
        let limit = if self.shape.is_some() { u32::MAX } else { self.limit };
        let worst = State::view(&config.daemon.state_dir)?.now(|c| {
            let all = names.iter().map(|name| slow::worst(c, name, DateTime::UNIX_EPOCH, limit));
            all.collect::<Result<Vec<_>>>()
        })?;
        let mut shapes = worst.concat();
        shapes.sort_by(|a, b| b.total_seconds.total_cmp(&a.total_seconds));
        if let Some(id) = &self.shape {
            return one(id, &shapes, global.json);
        }
        if global.json {
            out::json(&shapes)?;
        } else if shapes.is_empty() {
            out::text("no slow statements")?;
        } else {
            let mut page = out::page();
            page.table(0, &list(&shapes, clock::now()));
            out::text(page.text())?;
        }
        Ok(exit::OK)
    }
}

fn one(id: &str, shapes: &[Shape], json: bool) -> Result<u8> {
    let Some(shape) = shapes.iter().find(|shape| shape.id == id) else {
        let text = format!("no slow statement has the ID {id}; `litekeeper slow` lists those that there are");
        return Err(Error::new(Reason::NotFound, text));
    };
    if json {
        out::json(shape)?;
    } else {
        let mut page = out::page();
        detail(&mut page, shape, clock::now());
        out::text(page.text())?;
    }
    Ok(exit::OK)
}

fn list(shapes: &[Shape], now: DateTime<Utc>) -> TextTable {
    let head = ["ID", "DATABASE", "JOB", "COUNT", "TOTAL", "P50", "P95", "LONGEST", "LAST SEEN", "STATEMENT"];
    let mut table = TextTable::new(head).right(&[3, 4, 5, 6, 7]);
    for shape in shapes {
        table.row([
            shape.id.clone(),
            shape.database.clone(),
            shape.job.clone(),
            words::count(shape.count),
            words::duration(shape.total_seconds),
            quantile(shape.p50_seconds),
            quantile(shape.p95_seconds),
            words::duration(shape.max_seconds),
            words::ago(now, shape.last_seen),
            shape.shape.clone(),
        ]);
    }
    table
}

fn quantile(seconds: Option<f64>) -> String {
    seconds.map(words::duration).unwrap_or_default()
}

fn detail(page: &mut Page, shape: &Shape, now: DateTime<Utc>) {
    page.paragraph(&shape.shape);
    let each =
        |all: u64| format!("{}, {} each time", words::count(all), words::count(all / shape.count.max(1)));
    let facts = [
        ("database", format!("{}, by {}", shape.database, shape.job)),
        (
            "seen",
            format!("first {}, last {}", words::ago(now, shape.first_seen), words::ago(now, shape.last_seen)),
        ),
        ("slow", words::plural(shape.count, "time", "times")),
        ("took in all", words::duration(shape.total_seconds)),
        ("half within", quantile(shape.p50_seconds)),
        ("95 % within", quantile(shape.p95_seconds)),
        ("at most", words::duration(shape.max_seconds)),
        ("VM steps", each(shape.vm_steps)),
        ("rows scanned", each(shape.full_scan_steps)),
        ("sorts", each(shape.sorts)),
        ("rows put into automatic indexes", each(shape.automatic_indexes)),
    ];
    for (name, fact) in facts {
        page.beside(&format!("  {name:31}  "), &fact);
    }
    page.line("plan at the last time:");
    if shape.plan.is_empty() {
        page.line("  none is known");
    }
    for line in &shape.plan {
        page.line(format!("  {line}"));
    }
}
