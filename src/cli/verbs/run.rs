//! `litekeeper run`.

use clap::Args;

use crate::cli::global::{Global, block_on};
use crate::cli::{exit, log};
use crate::error::{Error, Result};
use crate::supervisor;

/// Run the daemon in the foreground.
///
/// HUP reads the configuration again; TERM and INT stop the daemon once its jobs have ended, at the
/// latest after `daemon.shutdown_grace`; a second one stops it at once.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0   stopped as told
  1   failed
  2   usage
  11  locked by another run: another daemon keeps its state in the same directory
  78  the configuration is not valid")]
pub(in crate::cli) struct Run {}

impl Run {
    #[expect(clippy::unused_self, reason = "as every verb")]
    pub(in crate::cli) fn run(&self, global: &Global) -> Result<u8> {
        let config = global.load()?;
        log::start(config.daemon.log_format, global.log_level.unwrap_or(tracing::Level::INFO));
        // By its full path, others find out whether this daemon is that of their configuration.
        let path = std::path::absolute(&global.config)
            .map_err(|e| Error::io("cannot find the current directory", &e))?;
        block_on(supervisor::run(path, config, |_| {}))?;
        Ok(exit::OK)
    }
}
