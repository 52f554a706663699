//! VERBS: the command line is parsed here, each verb calls the library and shows what comes back; a file a verb.
//! Must hold no logic of its own. What a verb is asked for goes to stdout, everything else to stderr.

pub mod exit;
mod interrupt;
mod log;
mod terminal;
mod verbs;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser, Subcommand};

use self::verbs::{
    advise, backups, check, demo, documents, history, inspect, job, pin, recover, restore, run, slow, status,
    watch_locks,
};
use crate::config::{Config, DEFAULT_PATH, Database};
use crate::error::{Error, Reason, Result};
use crate::sqlite::pauses::FLAG;

/// Keeps SQLite databases: backs them up, maintains, prunes and watches them while their applications use them.
#[derive(Debug, Parser)]
#[command(name = "litekeeper", version, max_term_width = 100)]
#[command(after_help = exit::help())]
struct Arguments {
    /// The configuration file.
    #[arg(long, global = true, value_name = "PATH", env = "LITEKEEPER_CONFIG", hide_env_values = true, default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// Print one JSON value instead of text.
    #[arg(long, global = true)]
    json: bool,
    /// Least important messages to log: error, warn, info, debug or trace.
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<tracing::Level>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Run),
    Demo(demo::Demo),
    Check(check::Check),
    Status(status::Status),
    Backup(job::Backup),
    Verify(job::Verify),
    Cleanup(job::Cleanup),
    Maintain(job::Maintain),
    Health(job::Health),
    Backups(backups::Backups),
    Pin(pin::Pin),
    Unpin(pin::Unpin),
    Restore(restore::Restore),
    Recover(recover::Recover),
    History(history::History),
    Slow(slow::Slow),
    Advise(advise::Advise),
    #[command(hide = true)]
    Documents(documents::Documents),
    #[command(hide = true)]
    Inspect(inspect::Inspect),
    #[command(hide = true, long_flag = FLAG)]
    WatchLocks(watch_locks::WatchLocks),
}

/// The whole command line, for what is made from it: man pages, completions, the reference.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// What every verb gets.
struct Global {
    config: PathBuf,
    json: bool,
    log_level: Option<tracing::Level>,
}

impl Global {
    fn load(&self) -> Result<Config> {
        Ok(Config::load(&self.config)?)
    }
}

/// Parses the command line, does what it says, and returns the exit code.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version count as an error to clap, but are what was asked for.
            let code = if error.use_stderr() { exit::USAGE } else { exit::OK };
            let _ = error.print();
            if code == exit::USAGE && std::env::args_os().any(|argument| argument == "--json") {
                exit::tell_usage(&error.to_string());
            }
            return code.into();
        }
    };
    let global = Global { config: arguments.config, json: arguments.json, log_level: arguments.log_level };
    let result = match arguments.verb {
        Verb::Run(verb) => verb.run(&global),
        Verb::Demo(verb) => verb.run(&global),
        Verb::Check(verb) => verb.run(&global),
        Verb::Status(verb) => verb.run(&global),
        Verb::Backup(verb) => verb.run(&global),
        Verb::Verify(verb) => verb.run(&global),
        Verb::Cleanup(verb) => verb.run(&global),
        Verb::Maintain(verb) => verb.run(&global),
        Verb::Health(verb) => verb.run(&global),
        Verb::Backups(verb) => verb.run(&global),
        Verb::Pin(verb) => verb.run(&global),
        Verb::Unpin(verb) => verb.run(&global),
        Verb::Restore(verb) => verb.run(&global),
        Verb::Recover(verb) => verb.run(&global),
        Verb::History(verb) => verb.run(&global),
        Verb::Slow(verb) => verb.run(&global),
        Verb::Advise(verb) => verb.run(&global),
        Verb::Documents(verb) => verb.run(),
        Verb::Inspect(verb) => verb.run(&global),
        Verb::WatchLocks(verb) => verb.run(),
    };
    match result {
        Ok(code) => code.into(),
        Err(error) => {
            exit::tell(&error, global.json);
            exit::code(error.reason).into()
        }
    }
}

/// A runtime for verbs that work asynchronously. It ends with the verb, and so after everything that needs it.
fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::io("cannot start the asynchronous runtime", &e))?;
    let result = runtime.block_on(work);
    // Dropped, it would wait for ever for a thread that hangs in a disk and that everybody gave up.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}

/// The database that the user names.
fn database<'a>(config: &'a Config, name: &str) -> Result<&'a Arc<Database>> {
    config.databases.get(name).ok_or_else(|| unknown_database(name, config))
}

fn unknown_database(name: &str, config: &Config) -> Error {
    let names: Vec<_> = config.databases.keys().map(String::as_str).collect();
    let distance = |known: &&str| strsim::damerau_levenshtein(&name.to_lowercase(), &known.to_lowercase());
    let nearest = names.iter().copied().min_by_key(distance).filter(|known| distance(known) <= 2);
    let remedy = match (nearest, names.is_empty()) {
        (Some(known), _) => format!("did you mean {known}?"),
        (None, true) => String::from("it has none"),
        (None, false) => format!("it has: {}", names.join(", ")),
    };
    Error::new(Reason::NotFound, format!("the configuration has no database {name}; {remedy}"))
}
