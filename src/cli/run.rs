//! `litekeeper run`.

use clap::Args;

use super::{Global, block_on, exit, log};
use crate::error::Result;
use crate::supervisor;

/// Run the daemon in the foreground.
///
/// HUP reads the configuration again; TERM and INT stop the daemon once its jobs have ended, at the latest after
/// `daemon.shutdown_grace`; a second one stops it at once.
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(super) struct Run {}

impl Run {
    pub(super) fn run(&self, global: &Global) -> Result<u8> {
        let config = global.load()?;
        log::start(config.daemon.log_format, global.log_level.unwrap_or(tracing::Level::INFO));
        block_on(supervisor::run(global.config.clone(), config, |_| {}))?;
        Ok(exit::OK)
    }
}
