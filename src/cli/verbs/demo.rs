//! `litekeeper demo`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::cli::global::{Global, block_on};
use crate::cli::terminal::out;
use crate::cli::{exit, log};
use crate::clock;
use crate::commands;
use crate::config::Config;
use crate::demo::{self, Player};
use crate::error::Result;
use crate::supervisor;
use crate::words;

/// Show everything at work, with nothing installed: a sample database, an application that writes
/// to it, and the daemon with schedules of seconds.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0   stopped as told
  1   failed
  2   usage
  11  locked by another run: this demo runs already")]
pub(in crate::cli) struct Demo {
    /// Where to put everything; by default one directory for each user below the temporary
    /// directory.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Address of the status page and the metrics.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9742")]
    listen: SocketAddr,
}

impl Demo {
    pub(in crate::cli) fn run(&self, global: &Global) -> Result<u8> {
        let dir = match &self.dir {
            Some(dir) => dir.clone(),
            None => demo::default_dir()?,
        };
        demo::check_address(self.listen)?;
        let demo = demo::prepare(&dir, self.listen, clock::now())?;
        let begun = match &demo.written {
            Some(written) => format!(
                "Wrote a sample attendance database: {} users, {} days of attendance in three years.",
                words::count(written.users as u64),
                words::count(written.attendance as u64)
            ),
            None => format!("Going on with the demo in {}; remove it to start afresh.", demo.dir.display()),
        };
        out::text(&format!(
            "{begun}\n  database       {}\n  configuration  {}\n  backups        {}\n  state          {}",
            demo.database.display(),
            demo.configuration.display(),
            demo.backups.display(),
            demo.state.display()
        ))?;

        commands::name_configuration(&demo.configuration);
        let config = Config::load(&demo.configuration)?;
        log::start(config.daemon.log_format, global.log_level.unwrap_or(tracing::Level::INFO));
        let player = Player::start(&demo.database)?;
        let ran = block_on(supervisor::run(demo.configuration.clone(), config, |address| {
            let places = address
                .map(|at| format!("  status page    http://{at}/\n  metrics        http://{at}/metrics\n"));
            // The daemon has begun; output that cannot be written does not stop it.
            let _ = out::text(&format!(
                "{}An application writes to the database all the while. Ctrl-C stops everything.",
                places.unwrap_or_default()
            ));
        }));
        let result = player.stop()?;
        ran?;
        let errors = match (result.errors, result.first_error) {
            (0, _) => String::from("saw no error"),
            (n, first) => {
                format!("saw {}: {}", words::plural(n, "error", "errors"), first.unwrap_or_default())
            }
        };
        out::text(&format!(
            "The application wrote {} times, waited {} at most, and {errors}.\nEverything is still in {}.",
            words::count(result.commits),
            words::duration(result.worst_wait.as_secs_f64()),
            demo.dir.display()
        ))?;
        Ok(exit::OK)
    }
}
