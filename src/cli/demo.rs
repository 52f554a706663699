//! `litekeeper demo`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::{Global, block_on, exit, log};
use crate::clock;
use crate::config::Config;
use crate::demo::{self, Player};
use crate::error::Result;
use crate::supervisor;
use crate::words;

/// Show everything at work, with nothing installed: a sample database, an application that writes to it, and the
/// daemon with schedules of seconds.
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(super) struct Demo {
    /// Where to put everything; by default one directory for each user below the temporary directory.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Address of the status page and the metrics.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9742")]
    listen: SocketAddr,
}

impl Demo {
    #[expect(clippy::print_stdout, reason = "the verb's output")]
    pub(super) fn run(&self, global: &Global) -> Result<u8> {
        let dir = match &self.dir {
            Some(dir) => dir.clone(),
            None => demo::default_dir()?,
        };
        let demo = demo::prepare(&dir, self.listen, clock::now())?;
        match &demo.written {
            Some(written) => println!(
                "Wrote a sample attendance database: {} users, {} days of attendance in three years.",
                words::count(written.users as u64),
                words::count(written.attendance as u64)
            ),
            None => println!("Going on with the demo in {}; remove it to start afresh.", demo.dir.display()),
        }
        println!("  database       {}", demo.database.display());
        println!("  configuration  {}", demo.configuration.display());
        println!("  backups        {}", demo.backups.display());
        println!("  state          {}", demo.state.display());

        let config = Config::load(&demo.configuration)?;
        log::start(config.daemon.log_format, global.log_level.unwrap_or(tracing::Level::INFO));
        let player = Player::start(&demo.database)?;
        let ran = block_on(supervisor::run(demo.configuration.clone(), config, |address| {
            if let Some(address) = address {
                println!("  status page    http://{address}/");
                println!("  metrics        http://{address}/metrics");
            }
            println!("An application writes to the database all the while. Ctrl-C stops everything.");
        }));
        let result = player.stop()?;
        ran?;
        println!(
            "The application wrote {} times, waited {} at most, and {}.",
            words::count(result.commits),
            words::duration(result.worst_wait.as_secs_f64()),
            match (result.errors, result.first_error) {
                (0, _) => String::from("saw no error"),
                (n, first) =>
                    format!("saw {}: {}", words::plural(n, "error", "errors"), first.unwrap_or_default()),
            }
        );
        println!("Everything is still in {}.", demo.dir.display());
        Ok(exit::OK)
    }
}
