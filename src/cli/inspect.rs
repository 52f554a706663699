//! Answers what another litekeeper asks of a file ([`crate::sqlite::inspector`]). Not for people.

use clap::Args;

use super::{Global, exit};
use crate::error::Result;
use crate::sqlite::inspector;

/// Checks a file for another litekeeper.
#[derive(Debug, Args)]
pub(super) struct Inspect;

impl Inspect {
    #[allow(clippy::unused_self, reason = "as every verb")]
    pub(super) fn run(&self, _: &Global) -> Result<u8> {
        inspector::answer().map(|()| exit::OK)
    }
}
