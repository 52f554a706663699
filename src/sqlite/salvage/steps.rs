//! How far a salvage is, and what ends it before its end.

use crate::error::{Error, Reason, Result};
use crate::terms::progress::{Unit, Watch};

/// How far the work is.
pub(super) struct Steps<'a> {
    pub(super) done: u64,
    pub(super) total: u64,
    pub(super) watch: &'a dyn Watch,
}

impl Steps<'_> {
    pub(super) fn one(&mut self) -> Result<()> {
        self.done += 1;
        self.total = self.total.max(self.done);
        self.go_on()
    }

    pub(super) fn go_on(&self) -> Result<()> {
        self.watch.step(self.done, self.total, Unit::Steps)
    }
}

/// What a part of the schema has against being made again is told; what ends the work ends it.
pub(super) fn stopped(error: Error) -> Result<Error> {
    match error.reason {
        Reason::NoSpace | Reason::Io | Reason::Cancelled | Reason::Deadline => Err(error),
        _ => Ok(error),
    }
}
