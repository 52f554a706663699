//! Damage of the application's file: remembered from whichever job meets it until a check of the
//! pages finds none, or another file is in its place. Meanwhile nothing is written into the file,
//! and no backup from before is removed (HAZARDS H26). Must never repair anything by itself (H24).

use super::Run;
use super::reading;
use super::verdicts::{self, Check, INTEGRITY};
use crate::error::{Error, Reason, Result};
use crate::metrics::events::DatabaseDamaged;
use crate::pool;
use crate::sqlite::checks::{Depth, Found};
use crate::sqlite::files::access;
use crate::state::facts::{self, DAMAGE, Damage};

/// What is known of the file that the path leads to now, and what to do. Of another file than the
/// one that was damaged nothing is known: its check then says so, too.
pub fn known(run: &Run) -> Result<Option<Error>> {
    Ok(in_detail(run)?.map(|(_, error)| error))
}

/// The same, with what is wrong in short before it.
pub fn in_detail(run: &Run) -> Result<Option<(String, Error)>> {
    let name = &run.database.name;
    let known = run.state.now(|c| facts::recall_dated(c, name, DAMAGE))?;
    let now = access::identity(&run.database.path);
    let is_known = known.as_ref().is_some_and(|(damage, _)| damage.as_ref().is_some_and(|d| d.file == now));
    run.pool.set_damaged(is_known);
    let Some((Some(damage), at)) = known else { return Ok(None) };
    if damage.file != now {
        if now.is_some() {
            checked(run, None)?;
            let detail = "another file is in the place of the one that was damaged, and not checked yet";
            verdicts::keep(run, &[Check::unknown(INTEGRITY, detail)])?;
        }
        return Ok(None);
    }
    let at = at.map_or_else(
        || String::from("at an unknown time"),
        |at| at.with_timezone(&run.zone).format("%Y-%m-%d %H:%M").to_string(),
    );
    let text = format!(
        "the database is damaged (found {at}: {}); {}; once it is in order, litekeeper health {name} --deep lets \
         everything go on",
        damage.what,
        what_to_do(name)
    );
    Ok(Some((damage.what, Error::new(Reason::Damaged, text))))
}

/// An error where damage is known: for jobs that write into the file.
pub fn refuse(run: &Run) -> Result<()> {
    match known(run)? {
        Some(damage) => Err(damage.context("nothing is written")),
        None => Ok(()),
    }
}

/// Keeps what a check of the pages found: damage, or that there is none.
pub fn checked(run: &Run, what: Option<String>) -> Result<()> {
    let file = access::identity(&run.database.path);
    let damage = what.map(|what| Damage { what, file });
    run.pool.set_damaged(damage.is_some());
    DatabaseDamaged { database: &run.database.name, is_damaged: damage.is_some() }.emit();
    run.remember(DAMAGE, &damage)
}

/// What a job came upon that reads or writes the database, as the error to report, with what to do.
/// Kept where a second look sees damage, too, or ends before it has seen all: a disk that cannot
/// read a page for once looks the same to SQLite (SQLITE_IOERR_CORRUPTFS becomes SQLITE_CORRUPT).
pub fn met(run: &Run, error: &Error) -> Error {
    // A look that ended before it had seen all is no reason to go on.
    let is_there =
        !matches!(known(run), Ok(None)) || looked(run).map_or(true, |found| !found.structure.is_empty());
    told(run, error, is_there)
}

/// What a backup has whose bytes are those that were read. Somebody may have changed them since,
/// and what lies beside them: of the database only its own check speaks.
pub fn copied(run: &Run, error: &Error) -> Error {
    let name = &run.database.name;
    let of_database = match looked(run) {
        Ok(found) if !found.structure.is_empty() => return told(run, error, true),
        Ok(_) => "a quick check of the database itself finds no damage",
        Err(_) => "a check of the database itself could not be finished in time",
    };
    let text = format!("{error}; {of_database}; litekeeper health {name} --deep checks all of it");
    Error::new(Reason::Damaged, text)
}

fn told(run: &Run, error: &Error, is_there: bool) -> Error {
    let noted = match known(run) {
        Ok(None) if is_there => note(run, error),
        known => known.map(drop),
    };
    let what = match &error.file {
        Some(_) => error.message.clone(),
        None => format!(
            "{} is damaged, or its disk cannot be read: {}",
            run.database.path.display(),
            error.message
        ),
    };
    let text = format!("{what}; {}", what_to_do(&run.database.name));
    match noted {
        Ok(()) => Error::new(Reason::Damaged, text).of(&run.database.path),
        Err(unnoted) => {
            Error::new(Reason::Damaged, format!("{text}; {}", unnoted.message)).of(&run.database.path)
        }
    }
}

/// No longer than writers may be held up by a reader, and also when the run that asks is told to
/// stop.
fn looked(run: &Run) -> Result<Found> {
    let call = run.call.apart().within(run.database.maintain.max_block);
    let mut inspector = reading::inspector(&run.database);
    run.lent(&call, |_| inspector.integrity(Depth::Quick, None, &pool::go_on))
}

fn note(run: &Run, error: &Error) -> Result<()> {
    let (kind, name) = (run.kind, &run.database.name);
    let what = format!("{kind} met it ({})", error.message);
    let detail = format!(
        "the file is damaged, or its disk cannot be read: {what}; litekeeper health {name} --deep tells what is \
         wrong; {}",
        what_to_do(name)
    );
    checked(run, Some(what))?;
    verdicts::keep(run, &[Check::bad(INTEGRITY, Reason::Damaged, detail)])
}

/// The two ways out of a damaged file.
pub fn what_to_do(database: &str) -> String {
    format!(
        "restore a backup (litekeeper restore {database} --to PATH), or save what can be read of it (litekeeper recover \
         {database} --to PATH)"
    )
}
