//! `litekeeper pin` and `litekeeper unpin`.

use clap::Args;

use super::backups::catalogue;
use crate::cli::exit;
use crate::cli::global::{Global, database};
use crate::cli::terminal::out;
use crate::error::Result;

const HELP: &str = "\
Exit codes:
  0   ok
  1   failed
  2   usage
  10  no such database or backup
  11  locked by another run or open elsewhere
  78  the configuration is not valid

With --json:
  {database, backup, pinned}";

/// Keep a backup whatever rotation says, until it is unpinned.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::cli) struct Pin {
    #[command(flatten)]
    which: Which,
}

/// Leave a pinned backup to rotation again.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::cli) struct Unpin {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
struct Which {
    /// Name of the database in the configuration.
    #[arg(value_name = "DB")]
    database: String,
    /// Its file name, `latest`, or the beginning of its time that only one has: 2026-11-23,
    /// 20261123T05.
    #[arg(value_name = "BACKUP")]
    backup: String,
    /// The one in the copy of this name.
    #[arg(long, value_name = "COPY")]
    from: Option<String>,
}

impl Pin {
    pub(in crate::cli) fn run(&self, global: &Global) -> Result<u8> {
        set(global, &self.which, true)
    }
}

impl Unpin {
    pub(in crate::cli) fn run(&self, global: &Global) -> Result<u8> {
        set(global, &self.which, false)
    }
}

fn set(global: &Global, which: &Which, pinned: bool) -> Result<u8> {
    let config = global.load()?;
    let database = database(&config, &which.database)?;
    let catalogue = catalogue(database, which.from.as_deref())?;
    let backup = catalogue.pin(&catalogue.find(&which.backup)?, pinned)?;
    if global.json {
        out::json(
            &serde_json::json!({ "database": database.name, "backup": backup.name, "pinned": pinned }),
        )?;
    } else if pinned {
        out::text(&format!("{} is pinned: rotation keeps it", backup.name))?;
    } else {
        out::text(&format!(
            "{} is not pinned any more: the next backup rotates it like any other",
            backup.name
        ))?;
    }
    Ok(exit::OK)
}
