//! `litekeeper backups`.

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;

use crate::cli::exit;
use crate::cli::global::{Global, database};
use crate::cli::terminal::out;
use crate::cli::terminal::table::TextTable;
use crate::config::{Database, Keep, Place};
use crate::error::{Error, Reason, Result};
use crate::store::rotation::Decision;
use crate::store::{self, Catalogue, Verification};
use crate::{clock, words};

/// List the backups of a database, the newest first, and why each is kept.
#[derive(Debug, Args)]
#[command(after_help = "\
STATE is `verified` of a backup that was restored and checked, and `unverified` of
one that reads back as it was written.

Exit codes:
  0   ok
  1   failed
  2   usage
  10  no such database, or it never had a backup
  78  the configuration is not valid

With --json a list of:
  {name, path, time, stored_bytes, raw_bytes, state, why,
   verification: null or {started, at, ok, message}, pinned, keep, reasons: [TEXT]}
`state` is good, incomplete, unconfirmed, damaged or unknown, and `why` says why;
`keep` is whether rotation keeps it.")]
pub(in crate::cli) struct Backups {
    /// Name of the database in the configuration.
    #[arg(value_name = "DB")]
    database: String,
    /// List those in the copy of this name.
    #[arg(long, value_name = "COPY")]
    from: Option<String>,
}

/// What is printed of a backup.
#[derive(Serialize)]
struct BackupOutput<'a> {
    name: &'a str,
    path: String,
    /// When it began.
    time: Option<DateTime<Utc>>,
    stored_bytes: u64,
    raw_bytes: Option<u64>,
    state: &'static str,
    /// What is wrong with it.
    why: Option<&'a str>,
    verification: Option<&'a Verification>,
    pinned: bool,
    keep: bool,
    reasons: Vec<String>,
}

/// Where the backups of a database, or its copies of that name, lie, and which of them rotation
/// keeps.
fn place<'a>(database: &'a Database, from: Option<&str>) -> Result<(&'a Place, Keep)> {
    database.place(from).ok_or_else(|| {
        let names: Vec<_> = database.backup.copies.iter().map(|copy| copy.name.as_str()).collect();
        let has = if names.is_empty() { String::from("none") } else { names.join(", ") };
        let text = format!("{} has no copy {}; it has {has}", database.name, from.unwrap_or_default());
        Error::new(Reason::NotFound, text)
    })
}

/// The backups of a database, or its copies `from` there; `not_found` where none was ever made.
pub(super) fn catalogue(database: &Database, from: Option<&str>) -> Result<Catalogue> {
    let (place, _) = place(database, from)?;
    let name = &database.name;
    let store = store::open(place, name).map_err(|error| match error.reason {
        Reason::NotFound => {
            let text = format!("{name} has no backups: {} does not exist", place.join(name));
            Error::new(Reason::NotFound, text)
        }
        _ => error,
    })?;
    Ok(Catalogue::new(name, store))
}

impl Backups {
    pub(in crate::cli) fn run(&self, global: &Global) -> Result<u8> {
        let config = global.load()?;
        let database = database(&config, &self.database)?;
        let from = self.from.as_deref();
        let (place, keep) = place(database, from)?;
        let plan = catalogue(database, from)?.plan(&keep, config.daemon.timezone)?;
        let (place, now) = (place.join(&database.name), clock::now());
        let told: Vec<_> =
            plan.iter().map(|(backup, decision)| told(&place, backup, decision, now)).collect();
        if global.json {
            out::json(&told)?;
        } else if told.is_empty() {
            out::text(&format!("{} has no backups yet", database.name))?;
        } else {
            let mut page = out::page();
            page.table(0, &render(&told, now));
            out::text(page.text())?;
        }
        Ok(exit::OK)
    }
}

fn told<'a>(
    place: &str,
    backup: &'a store::Backup,
    decision: &Decision,
    now: DateTime<Utc>,
) -> BackupOutput<'a> {
    let manifest = backup.manifest.as_ref();
    let (state, why) = match &backup.state {
        store::State::Good => ("good", None),
        store::State::Incomplete => ("incomplete", Some("it has no manifest")),
        store::State::Unconfirmed => ("unconfirmed", Some("it has not been read back yet")),
        store::State::Damaged(why) => ("damaged", Some(why.as_str())),
        store::State::Unknown(why) => ("unknown", Some(why.as_str())),
    };
    BackupOutput {
        name: &backup.name,
        path: format!("{place}/{}", backup.name),
        time: clock::past(backup.time, now),
        stored_bytes: backup.size,
        raw_bytes: manifest.map(|m| m.raw_bytes),
        state,
        why,
        verification: manifest.and_then(|m| m.verification.as_ref()),
        pinned: manifest.is_some_and(|m| m.pinned),
        keep: decision.keep,
        reasons: decision.reasons.iter().map(ToString::to_string).collect(),
    }
}

fn render(backups: &[BackupOutput<'_>], now: DateTime<Utc>) -> TextTable {
    let mut table = TextTable::new(["NAME", "BEGUN", "STORED", "RAW", "STATE", "ROTATION"]).right(&[2, 3]);
    for backup in backups {
        let state = match backup.verification {
            Some(verification) if backup.state == "good" => {
                format!("verified {}", words::ago(now, clock::past(verification.at, now)))
            }
            // It reads back as it was written, and nobody has restored it yet.
            _ if backup.state == "good" => String::from("unverified"),
            _ => backup.state.to_owned(),
        };
        let verb = if backup.keep { "keeps it" } else { "removes it" };
        let mut reasons = backup.reasons.join(", ");
        if let Some(why) = backup.why.filter(|why| !reasons.contains(why)) {
            reasons = format!("{reasons}; {why}");
        }
        table.row([
            // Enough to name it by; its compression says nothing here.
            backup.name.split('.').next().unwrap_or(backup.name).to_owned(),
            words::ago(now, backup.time),
            words::bytes(backup.stored_bytes),
            backup.raw_bytes.map_or_else(|| String::from("?"), words::bytes),
            state,
            format!("{verb}: {reasons}"),
        ]);
    }
    table
}
