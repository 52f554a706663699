//! `litekeeper recover`: of a database in the configuration through the runner, of any other file
//! without.

use std::path::PathBuf;

use clap::Args;

use super::job;
use crate::cli::global::Global;
use crate::cli::terminal::progress;
use crate::cli::{interrupt, log};
use crate::config::LogFormat;
use crate::error::{Error, Result};
use crate::jobs::recover;
use crate::jobs::runner::RunEnd;
use crate::pool::Call;
use crate::terms::{JobKind, Outcome};

/// Save what can be read of a damaged database into a new file.
///
/// Checks the database first. Sound, or only rows that break a constraint: says so, and makes no
/// file. Only indexes damaged: rebuilds them in place, and makes no file, but where one has other
/// values than single rows. Otherwise every row that can be read goes into the new file, then
/// indexes, views and triggers are made, full-text tables that lost rows are made anew, and the
/// file is checked. Rows that are not sure, or whose table is not known, go to its table
/// lost_and_found; what only an index knows goes to lost_and_found_by_index. The database itself is
/// not changed and not replaced.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0   ok: sound, or nothing is known to be lost
  1   failed, refused, not all could be checked, or rows break constraints
  2   usage
  3   partly done: the new file is there, and some rows are lost or in doubt
  10  no such database or file
  11  the database is in use by another run, or the file is open in a process
  12  the new file is not sound, or nothing can be read
  78  the configuration is not valid

With --json:
  {database, task, outcome, reason, summary, detail: {result, to, damage: [TEXT],
   rebuilt: [INDEX], tables: [{name, kept, set_aside, unreadable, pages_lost,
   pages_found, rows_by_index, rows_by_columns, expected, only_in_index,
   in_doubt, invalid_texts, left_out}], lost_and_found, lost_and_found_rows,
   lost_and_found_by_index, lost_and_found_by_index_rows, invalid_texts,
   stale_indexes: [INDEX], schema_lost, left_out: [TEXT],
   rebuilt_search: [TABLE], foreign_keys: [TEXT], unchecked: [TEXT],
   alternative: {backup, until, loses}, warnings: [TEXT]},
   problems: [{reason, message}], findings: [{reason, message}]}
`result` is sound, rows (that break constraints), unknown, reindexed or
salvaged. `set_aside` are rows in lost_and_found whose table is known,
`expected` how many rows its indexes know of. `rows_by_index` and
`rows_by_columns` are rows to which nothing led any more, by why they are this
table's. `only_in_index` are lost rows of which an index has columns, `in_doubt`
rows of which it has other values. What is empty or not known is
left out.")]
pub(in crate::cli) struct Recover {
    /// Name of the database in the configuration. Its application may go on.
    #[arg(value_name = "DB", required_unless_present = "file", conflicts_with = "file")]
    database: Option<String>,
    /// A database file that nobody has open, with its -wal and -journal beside it. Needs no
    /// configuration. It is not changed.
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// The new file. Neither it nor a -wal, -shm or -journal file beside it may exist. Its
    /// directory needs room for two copies.
    #[arg(long, value_name = "PATH")]
    to: PathBuf,
    /// Put what lies on free pages into lost_and_found as well: rows that were deleted.
    #[arg(long)]
    freelist: bool,
    /// Make the new file even if nothing is damaged, or only an index.
    #[arg(long)]
    always: bool,
}

impl Recover {
    pub(in crate::cli) fn run(&self, global: &Global) -> Result<u8> {
        let to =
            std::path::absolute(&self.to).map_err(|e| Error::io("cannot find the current directory", &e))?;
        let work = recover::Recover { to, with_free: self.freelist, always: self.always };
        if let Some(database) = &self.database {
            return job::run(global, database, vec![work.into()]);
        }
        let file = self.file.clone().unwrap_or_default();
        log::start_quietly(global, LogFormat::Text);
        let call = Call::new("recover", &interrupt::token()?, None);
        let watch = progress::Follower::new(&call, format!("recover of {}", file.display()));
        let result = work.run_on_file(&file, &watch);
        drop(watch);
        let outcome = match &result {
            Ok(report) if report.problems.is_empty() => Outcome::Success,
            _ => Outcome::Failure,
        };
        job::tell(global, &file.display().to_string(), &[JobKind::Recover], &[RunEnd { outcome, result }])
    }
}
