//! Damage of the application's file: remembered from whichever job meets it until a check of the pages finds none, or
//! another file is in its place. Meanwhile nothing is written into the file, and no backup from before is removed
//! (HAZARDS H26). Must never repair anything by itself (H24).

use super::Context;
use super::verdicts::{self, Check, INTEGRITY};
use crate::error::{Error, Reason, Result};
use crate::sqlite::access;
use crate::sqlite::checks::{self, Depth};
use crate::state::facts::{self, DAMAGE, Damage};

/// What is known of the file that the path leads to now, and what to do. Of another file than the one that was damaged
/// nothing is known: its check then says so, too.
pub async fn known(context: &Context) -> Result<Option<Error>> {
    let name = context.database.name.clone();
    let known = context.state.with(move |c| facts::recall::<Option<Damage>>(c, &name, DAMAGE)).await?;
    let Some((Some(damage), at)) = known else { return Ok(None) };
    let now = access::identity(&context.database.path);
    if damage.file != now {
        if now.is_some() {
            checked(context, None).await?;
            let detail = "another file is in the place of the one that was damaged, and not checked yet";
            verdicts::keep(context, &[Check::unknown(INTEGRITY, detail)]).await?;
        }
        return Ok(None);
    }
    let name = &context.database.name;
    let at = at.with_timezone(&context.zone).format("%Y-%m-%d %H:%M");
    let text = format!(
        "the database is damaged (found {at}: {}); {}; once it is in order, litekeeper health {name} --deep lets \
         everything go on",
        damage.what,
        what_to_do(name)
    );
    Ok(Some(Error::new(Reason::Damaged, text)))
}

/// An error where damage is known: for jobs that write into the file.
pub async fn refuse(context: &Context) -> Result<()> {
    match known(context).await? {
        Some(damage) => Err(damage.context("nothing is written")),
        None => Ok(()),
    }
}

/// Keeps what a check of the pages found: damage, or that there is none.
pub async fn checked(context: &Context, what: Option<String>) -> Result<()> {
    let (name, file) = (context.database.name.clone(), access::identity(&context.database.path));
    let damage = what.map(|what| Damage { what, file });
    context.state.with(move |c| facts::remember(c, &name, DAMAGE, &damage)).await
}

/// What a job came upon that reads or writes the database, as the error to report, with what to do. Kept where a second look
/// sees damage, too, or ends before it has seen all: a disk that cannot read a page for once looks the same to SQLite
/// (SQLITE_IOERR_CORRUPTFS becomes SQLITE_CORRUPT).
pub async fn met(context: &Context, error: &Error) -> Error {
    told(context, error, false).await
}

/// The same of what a copy of the pages has: there is nothing to be looked at a second time.
pub async fn copied(context: &Context, error: &Error) -> Error {
    told(context, error, true).await
}

async fn told(context: &Context, error: &Error, is_copied: bool) -> Error {
    let noted = match known(context).await {
        Ok(None) if is_copied || is_there(context).await => note(context, error).await,
        known => known.map(drop),
    };
    let path = context.database.path.display().to_string();
    let what = match &error.message {
        text if text.starts_with(&path) => text.clone(),
        text => format!("{path} is damaged, or its disk cannot be read: {text}"),
    };
    let text = format!("{what}; {}", what_to_do(&context.database.name));
    match noted {
        Ok(()) => Error::new(Reason::Damaged, text),
        Err(unnoted) => Error::new(Reason::Damaged, format!("{text}; {}", unnoted.message)),
    }
}

/// No longer than writers may be held up by a reader, and also when the run that asks is told to stop.
async fn is_there(context: &Context) -> bool {
    let call = context.call.apart().within(context.database.maintain.max_block);
    let looked = context.lent(&call, |connection| checks::integrity(connection, Depth::Quick, None)).await;
    looked.map_or(true, |found| !found.structure.is_empty())
}

async fn note(context: &Context, error: &Error) -> Result<()> {
    let (kind, name) = (context.kind, &context.database.name);
    let what = format!("{kind} met it ({})", error.message);
    let detail = format!(
        "the file is damaged, or its disk cannot be read: {what}; litekeeper health {name} --deep tells what is \
         wrong; {}",
        what_to_do(name)
    );
    checked(context, Some(what)).await?;
    verdicts::keep(context, &[Check::bad(INTEGRITY, Reason::Damaged, detail)]).await
}

/// The two ways out of a damaged file.
pub fn what_to_do(database: &str) -> String {
    format!(
        "restore a backup (litekeeper restore {database} --to PATH), or save what can be read of it (litekeeper recover \
         {database} --to PATH)"
    )
}
