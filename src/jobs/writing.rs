//! Whether a job may write into the database's file. Asked before each piece of work that does.

use super::{Run, damage};
use crate::error::{Error, Reason, Result};
use crate::sqlite::files::aliases;

/// An error where damage is known, or where the file has a second name: also outside WAL mode,
/// because what a crash of ours leaves half written would be undone from a `-journal` that the
/// application looks for under its own name, and the other way round (HAZARDS H31).
pub fn refuse(run: &Run) -> Result<()> {
    damage::refuse(run)?;
    match aliases::second(&run.database.path) {
        Some(second) => Err(Error::new(Reason::SecondName, format!("nothing is written: {second}"))),
        None => Ok(()),
    }
}
