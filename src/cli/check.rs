//! `litekeeper check`.

use clap::Args;

use super::{Global, exit};
use crate::error::Result;
use crate::words;

/// Check the configuration, by the same code as a reload.
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(super) struct Check {}

impl Check {
    #[expect(clippy::print_stdout, reason = "the verb's output")]
    pub(super) fn run(&self, global: &Global) -> Result<u8> {
        let config = global.load()?;
        let databases = words::plural(config.databases.len() as u64, "database", "databases");
        println!("{}: valid, {databases}", global.config.display());
        Ok(exit::OK)
    }
}
