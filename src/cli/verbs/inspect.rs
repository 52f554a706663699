//! Answers what another litekeeper asks of a file ([`crate::sqlite::inspector`]). Not for people.

use clap::Args;

use crate::cli::exit;
use crate::cli::global::Global;
use crate::error::Result;
use crate::sqlite::inspector;

/// Checks a file for another litekeeper.
#[derive(Debug, Args)]
pub(in crate::cli) struct Inspect;

impl Inspect {
    #[allow(clippy::unused_self, reason = "as every verb")]
    pub(in crate::cli) fn run(&self, _: &Global) -> Result<u8> {
        inspector::answer().map(|()| exit::OK)
    }
}
