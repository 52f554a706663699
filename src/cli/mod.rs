//! VERBS: the command line is parsed here, each verb calls the library and shows what comes back; a
//! file a verb. Must hold no logic of its own. What a verb is asked for goes to stdout, everything
//! else to stderr.

pub mod exit;
mod global;
mod interrupt;
mod journal;
mod log;
mod terminal;
mod verbs;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use self::global::Global;
use self::verbs::{
    advise, backups, check, demo, documents, history, inspect, job, pin, recover, restore, run, slow, status,
    watch_locks,
};
use crate::config::DEFAULT_PATH;
use crate::descriptors;
use crate::sqlite::{inspector, pauses};

/// Keeps SQLite databases: backs them up, maintains, prunes and watches them while their
/// applications use them.
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
    #[command(hide = true, long_flag = inspector::FLAG)]
    Inspect(inspect::Inspect),
    #[command(hide = true, long_flag = pauses::FLAG)]
    WatchLocks(watch_locks::WatchLocks),
}

/// The whole command line, for what is made from it: man pages, completions, the reference.
pub fn command() -> clap::Command {
    Arguments::command()
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
    descriptors::raise();
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
        Verb::Documents(verb) => verb.run(&command()),
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
