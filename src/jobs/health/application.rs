//! The check `application_sqlite`: which SQLite the processes have that use the database, and
//! whether it is one whose checkpoints can lose commits (HAZARDS H29). Never bad: who runs a
//! distribution's SQLite cannot change it today.

use std::collections::BTreeSet;

use crate::error::Result;
use crate::jobs::Run;
use crate::jobs::verdicts::{APPLICATION_SQLITE, Check};
use crate::sqlite::files::versions::{self, FAULT, User, Users};

pub(super) fn check(run: &Run) -> Result<Check> {
    let users = run.in_background(|| versions::of_users(&run.database.path, run))?;
    Ok(judged(&users))
}

fn judged(users: &Users) -> Check {
    // Without its number, so that a program that was only started anew is no news.
    let said: BTreeSet<String> =
        users.seen.iter().map(|user| user.in_words(&user.process.program())).collect();
    let mut parts: Vec<String> = said.into_iter().collect();
    let is_faulty = users.seen.iter().any(User::is_faulty);
    if is_faulty {
        parts.push(FAULT.to_owned());
    }
    parts.extend(users.unseen.clone());
    let is_known = users.unseen.is_none() && users.seen.iter().all(|user| user.sqlite.is_some());
    if parts.is_empty() {
        parts.push(String::from("no other process has the database open now"));
    }
    let detail = parts.join("; ");
    match (is_faulty, is_known) {
        (true, _) => Check::warning(APPLICATION_SQLITE, detail),
        (false, true) => Check::good(APPLICATION_SQLITE, detail),
        (false, false) => Check::unknown(APPLICATION_SQLITE, detail),
    }
}
