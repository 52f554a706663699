//! `litekeeper restore`. Needs neither the daemon nor its state, nor the database: after a disaster
//! there may be nothing but the configuration and the backups.

mod elsewhere;
mod in_place;

use std::cell::RefCell;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use clap::Args;
use serde::Serialize;

use self::elsewhere::Elsewhere;
use super::backups::catalogue;
use crate::cli::global::{Global, database};
use crate::cli::terminal::page::Page;
use crate::cli::terminal::progress::Follower;
use crate::cli::terminal::shell::quoted;
use crate::cli::terminal::{out, time};
use crate::cli::{exit, interrupt, log};
use crate::config::{Config, Database};
use crate::error::{Error, Reason, Result};
use crate::jobs::verify;
use crate::pool::Call;
use crate::sqlite::files::space::{self, Need};
use crate::state::handover::Handover;
use crate::store::restore::in_place::Hooks;
use crate::store::{Backup, Catalogue, Manifest, State, restore};
use crate::terms::progress::Watch;
use crate::{clock, words};

/// How long the daemon may take to let go of the database: to see that it is wanted, and to end
/// what runs.
const TO_LET_GO: Duration = Duration::from_secs(30);

/// Restore a backup to a new file, or in place of the database, and check it.
///
/// --to never overwrites anything. --in-place replaces the database when nobody has it open, and
/// keeps the old one beside it. The running daemon need not be stopped: it lets go of the database,
/// within 30 s, and goes on with the new one. Works without the daemon, and when the database is
/// gone. The bytes are always compared with the backup's checksum; integrity_check is left out
/// where `verify` ran it on these very bytes.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0   ok
  1   failed, or refused
  2   usage
  10  no such database or backup
  11  the database is in use: somebody has it open, or a job is at work that the
      daemon did not end within 30 s
  12  the backup is damaged
  78  the configuration is not valid

With --dry-run: the code that the restore would end with, were it tried now.

With --json:
  {database, backup, begun, to, bytes, dry_run, check, warnings: [TEXT],
   next: [TEXT]}
`begun` is the time of the state, `check` what the check said (null where none
was made: see `warnings`), `next` what is left to do. With --in-place also:
  {plan: [TEXT], refused: [TEXT], holders: [{pid, command, user, unit}],
   unseen, kept: [PATH], back: [TEXT]}
`refused` is why it is not done, `holders` who has the database open, `unseen`
why there may be more, `kept` the old database and the files kept with it,
`back` the commands that put it back.")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(in crate::cli) struct Restore {
    /// Name of the database in the configuration.
    #[arg(value_name = "DB")]
    database: String,
    /// Its file name, or the beginning of its time that only one has: 2026-11-23, 20261123T05
    /// [default: the newest good one]
    #[arg(value_name = "BACKUP", conflicts_with = "at")]
    backup: Option<String>,
    /// The newest good backup that was begun at this time or before: 2026-11-23 05:00, in
    /// daemon.timezone, or 2026-11-23T05:00:00+01:00.
    #[arg(long, value_name = "TIME", value_parser = time::read)]
    at: Option<time::TimeArgument>,
    /// The new file. Neither it nor a -wal, -shm or -journal file beside it may exist.
    #[arg(long, value_name = "PATH", required_unless_present = "in_place", conflicts_with = "in_place")]
    to: Option<PathBuf>,
    /// Replace the database. Refused while anybody but the daemon has it open. The old one is kept
    /// beside it.
    #[arg(long)]
    in_place: bool,
    /// With --in-place: go on where processes of other users or other containers cannot be looked
    /// into.
    #[arg(long, requires = "in_place")]
    accept_unseen: bool,
    /// Run integrity_check even if `verify` found this backup good before.
    #[arg(long)]
    full_check: bool,
    /// Take it from the copy of this name.
    #[arg(long, value_name = "COPY")]
    from: Option<String>,
    /// Only say what would be restored and what stands in the way.
    #[arg(long)]
    dry_run: bool,
}

/// What is printed.
#[derive(Serialize)]
pub(super) struct RestoreOutput {
    database: String,
    backup: String,
    begun: DateTime<Utc>,
    to: PathBuf,
    pub(in crate::cli) bytes: Option<u64>,
    dry_run: bool,
    check: Option<String>,
    pub(super) warnings: Vec<String>,
    next: Vec<String>,
    #[serde(flatten)]
    in_place: Option<in_place::InPlaceOutput>,
}

impl Restore {
    pub(in crate::cli) fn run(&self, global: &Global) -> Result<u8> {
        let config = global.load()?;
        let database = database(&config, &self.database)?;
        log::start_quietly(global, config.daemon.log_format);
        let at = match self.at.map(|at| at.instant(config.daemon.timezone)).transpose() {
            Ok(at) => at,
            Err(why) => {
                out::say(&format!("litekeeper: --at: {why}"));
                return Ok(exit::USAGE);
            }
        };
        let to = self.to.as_deref().unwrap_or(&database.path);
        let to = std::path::absolute(to).map_err(|e| Error::io("cannot find the current directory", &e))?;
        let named = |catalogue: &Catalogue| match at {
            Some(at) => catalogue.at(at),
            None => catalogue.find(self.backup.as_deref().unwrap_or("latest")),
        };
        let elsewhere =
            Elsewhere { configuration: &global.config, database, asked: self, to: &to, named: &named };
        let opened = catalogue(database, self.from.as_deref()).and_then(|here| Ok((named(&here)?, here)));
        let (backup, catalogue) = opened.map_err(|error| elsewhere.instead(error))?;
        let mut told = RestoreOutput {
            database: database.name.clone(),
            backup: backup.name.clone(),
            begun: backup.time,
            bytes: backup.manifest.as_ref().map(|m| m.raw_bytes),
            dry_run: self.dry_run,
            check: None,
            warnings: if backup.is_good() {
                Vec::new()
            } else {
                vec![format!("this backup is {}", backup.state)]
            },
            next: Vec::new(),
            in_place: None,
            to: to.clone(),
        };
        if self.backup.as_deref().is_none_or(|name| name == "latest") {
            let passed_over = catalogue.list()?.into_iter().filter(|newer| {
                newer.time > backup.time && !newer.is_good() && at.is_none_or(|at| newer.time <= at)
            });
            for newer in passed_over {
                if self.in_place && matches!(newer.state, State::Unknown(_) | State::Unconfirmed) {
                    return Err(undecided(&newer, &backup));
                }
                told.warnings.push(format!("passed over {}, which is newer: {}", newer.name, newer.state));
            }
            if !told.warnings.is_empty()
                && let Some(better) = elsewhere.newer_than(&backup)
            {
                if self.in_place {
                    return Err(outdone(&backup, &better));
                }
                told.warnings.push(better);
            }
        }
        let restored = self.restored(&config, database, &catalogue, &backup, &mut told);
        let code = restored.map_err(|error| elsewhere.instead_of(error, &backup))?;
        if global.json {
            out::json(&told)?;
        } else {
            let mut page = out::page();
            render(&mut page, &told, config.daemon.timezone);
            out::text(page.text())?;
        }
        Ok(code)
    }

    /// To where it was asked for; gives the exit code.
    fn restored(
        &self,
        config: &Config,
        database: &Database,
        catalogue: &Catalogue,
        backup: &Backup,
        told: &mut RestoreOutput,
    ) -> Result<u8> {
        if self.in_place {
            return self.replace(config, database, catalogue, backup, told);
        }
        restore::may_be_made(&told.to)?;
        has_room(&told.to, told.bytes)?;
        if !self.dry_run {
            let to = told.to.clone();
            let done = self.work(&call()?, config, told, backup, |progress, check| {
                restore::restore(catalogue, backup, &to, progress, check)
            })?;
            told.bytes = Some(done);
            told.next = next(database, &backup.name, self.from.as_deref(), &to);
        }
        Ok(exit::OK)
    }

    /// In place of the database; gives the exit code.
    fn replace(
        &self,
        config: &Config,
        database: &Database,
        catalogue: &Catalogue,
        backup: &Backup,
        told: &mut RestoreOutput,
    ) -> Result<u8> {
        // Held to the end: no job begins meanwhile, and the daemon leaves the database alone.
        let mut handover = Handover::begin(&config.daemon.state_dir, &database.name);
        let daemon = handover.as_ref().ok().and_then(Handover::daemon);
        let path = told.to.clone();
        let look = |yields| restore::in_place::plan(&path, told.bytes, self.accept_unseen, yields);
        let mut plan = look(daemon)?;
        plan.refusals.extend(handover.as_ref().err().cloned());
        told.to.clone_from(&plan.path);
        told.warnings.extend(plan.warnings.iter().cloned());
        told.in_place = Some(in_place::InPlaceOutput::of(&plan, told.bytes));
        if self.dry_run {
            return Ok(plan.refusals.first().map_or(exit::OK, |refusal| exit::code(refusal.reason)));
        }
        plan.permits()?;
        let call = call()?;
        if let Ok(handover) = &mut handover {
            handover.complete(TO_LET_GO, &mut in_place::letting_go(&call, &database.name))?;
            plan = look(None)?;
            told.in_place = Some(in_place::InPlaceOutput::of(&plan, told.bytes));
        }
        let done = self.work(&call, config, told, backup, |watch, check| {
            let hooks = Hooks { check, waiting: &in_place::waiting(&call, &plan) };
            restore::in_place::restore(catalogue, backup, &plan, database.pool.busy_timeout, watch, &hooks)
        })?;
        told.bytes = Some(done.bytes);
        told.warnings.extend(done.warnings);
        if let Some(in_place) = &mut told.in_place {
            in_place.done(&plan.path, done.kept);
        }
        Ok(exit::OK)
    }

    /// Restores by `how`, with progress on the terminal and what the check says in `told`.
    fn work<T>(
        &self,
        call: &Call,
        config: &Config,
        told: &mut RestoreOutput,
        backup: &Backup,
        how: impl FnOnce(&dyn Watch, Checking<'_>) -> Result<T>,
    ) -> Result<T> {
        let watch = Follower::new(call, format!("restore of {}", told.database));
        let (said, warned) = (RefCell::new(None), RefCell::new(None));
        let done = how(&watch, &|path| match self.judge(config, path, backup, &watch) {
            Ok(text) => {
                said.replace(Some(text));
                Ok(())
            }
            // Only the application has what it takes; that is no reason to keep its data from it.
            Err(error) if error.reason == Reason::Unsupported => {
                warned.replace(Some(format!("it could not be checked: {error}")));
                Ok(())
            }
            Err(error) => Err(error.context(format!("{} is not restored", backup.name))),
        })?;
        told.check = said.into_inner();
        told.warnings.extend(warned.into_inner());
        Ok(done)
    }

    /// What is known of the unpacked file, whose bytes are those of the manifest, where there is
    /// one.
    fn judge(&self, config: &Config, path: &Path, backup: &Backup, watch: &dyn Watch) -> Result<String> {
        match backup.manifest.as_ref().and_then(Manifest::verified) {
            Some(before) if !self.full_check => {
                let zone = config.daemon.timezone;
                let at = time::local(before.at, zone);
                Ok(format!("the same bytes as verified on {at} ({zone}): {}", before.message))
            }
            _ => verify::check(path, backup.manifest.as_ref(), watch),
        }
    }
}

/// What the first TERM or INT stops. Once per process.
fn call() -> Result<Call> {
    Ok(Call::new("restore", &interrupt::token()?, None))
}

/// What judges an unpacked file.
type Checking<'a> = &'a dyn Fn(&Path) -> Result<()>;

/// Nobody should find out afterwards that an older state than he meant is in place.
fn undecided(newer: &Backup, good: &Backup) -> Error {
    Error::new(
        Reason::Refused,
        format!(
            "{} is newer than {}, the newest that is known to be good, and may be good: {}. Name the one that you want, \
             or let `litekeeper verify` look at the newer one",
            newer.name, good.name, newer.state
        ),
    )
}

/// The same where a newer good one is known: of what it is, it is said what to type.
fn outdone(here: &Backup, better: &str) -> Error {
    let text = format!(
        "{} is older than a good one elsewhere; name it to have it all the same; {better}",
        here.name
    );
    Error::new(Reason::Refused, text)
}

fn has_room(target: &Path, bytes: Option<u64>) -> Result<()> {
    let directory = target.parent().unwrap_or(Path::new("/")).to_owned();
    space::check(&[Need { directory, bytes: bytes.unwrap_or(0) }], "the restored database")
}

/// What is left to do, for a shell.
fn next(database: &Database, backup: &str, from: Option<&str>, restored: &Path) -> Vec<String> {
    let new = quoted(restored);
    let mut next = Vec::new();
    if let (Ok(old), Ok(file)) = (std::fs::metadata(&database.path), std::fs::metadata(restored)) {
        if (old.uid(), old.gid()) != (file.uid(), file.gid()) {
            next.push(format!("chown {}:{} {new}", old.uid(), old.gid()));
        }
        if old.mode() & 0o7777 != file.mode() & 0o7777 {
            next.push(format!("chmod {:04o} {new}", old.mode() & 0o7777));
        }
    }
    if restored != database.path {
        // Not a list of moves: what lies beside the database when they are typed is not known now.
        next.push(String::from("# To have it in the place of the database, stop the application. Then:"));
        let from = from.map(|copy| format!(" --from {}", quoted(Path::new(copy)))).unwrap_or_default();
        next.push(format!("litekeeper restore {} {backup}{from} --in-place", database.name));
    }
    next
}

fn render(page: &mut Page, told: &RestoreOutput, zone: Tz) {
    let verb = match &told.in_place {
        Some(in_place) if in_place.is_refused() => "would not restore",
        _ if told.dry_run => "would restore",
        _ => "restored",
    };
    page.line(format!("{verb} {}", told.backup));
    let now = clock::now();
    let ago = words::ago(now, clock::past(told.begun, now));
    page.beside("  to        ", &told.to.display().to_string());
    page.beside("  state of  ", &format!("{} ({zone}), {ago}", time::local(told.begun, zone)));
    page.beside("  size      ", &told.bytes.map_or_else(|| String::from("unknown"), words::bytes));
    if let Some(check) = &told.check {
        page.beside("  check     ", check);
    }
    if let Some(in_place) = &told.in_place {
        in_place.render_kept(page);
    }
    for warning in &told.warnings {
        page.beside("warning: ", warning);
    }
    if let Some(in_place) = &told.in_place {
        in_place.render(page, told.dry_run);
    }
    if !told.next.is_empty() {
        page.line("next");
    }
    for step in &told.next {
        // Not broken, so that it can be copied.
        page.line(format!("  {step}"));
    }
}
