//! How far a salvage is, and what ends it before its end.

use std::sync::Arc;

use crate::error::{Error, Reason, Result};

/// Told how many of how many steps are done, and whether to go on.
pub type Going<'a> = &'a mut dyn FnMut(u64, u64) -> Result<()>;

/// Asked whether to stop, by SQLite while it builds an index, which may take as long as all the rest.
pub type Stop = Arc<dyn Fn() -> bool + Send + Sync>;

/// How far the work is.
pub(super) struct Steps<'a> {
    pub(super) done: u64,
    pub(super) total: u64,
    pub(super) going: Going<'a>,
}

impl Steps<'_> {
    pub(super) fn one(&mut self) -> Result<()> {
        self.done += 1;
        self.total = self.total.max(self.done);
        self.go_on()
    }

    pub(super) fn go_on(&mut self) -> Result<()> {
        (self.going)(self.done, self.total)
    }
}

/// What a part of the schema has against being made again is told; what ends the work ends it.
pub(super) fn stopped(error: Error) -> Result<Error> {
    match error.reason {
        Reason::NoSpace | Reason::Io | Reason::Cancelled | Reason::Deadline => Err(error),
        _ => Ok(error),
    }
}
