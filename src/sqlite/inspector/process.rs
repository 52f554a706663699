//! The process that is asked: opens one file by the rules of [`open`], and answers until nobody
//! asks any more. Must never outlive the one that asks, and never write anything but its answers.

use std::io::{self, BufRead as _, Write as _};
use std::path::Path;
use std::process::abort;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rusqlite::ffi::{SQLITE_NOMEM, SQLITE_TOOBIG};
use rusqlite::{Connection, InterruptHandle};
use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use super::question::{Answer, Question, Subject};
use crate::error::{Error, Reason, Result};
use crate::sqlite::checks;
use crate::sqlite::files::access;
use crate::sqlite::files::paths::file_bytes;
use crate::sqlite::look::schema;
use crate::sqlite::open::{self, bounds, strictness};

/// How long the statement at work may take to end, and its connection to close, when nobody waits
/// any more.
const TO_END: Duration = Duration::from_millis(250);

/// Answers what is asked on standard input, on standard output, until the input ends.
pub fn answer() -> Result<()> {
    // Where memory runs out, this process is the one to go, and not the one that asks
    // (proc_pid_oom_score_adj(5)).
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    // Whoever stops the one that asks, from a terminal or as a service, reaches this process too.
    // It is that one which says when to end.
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        flag::register(signal, Arc::default()).map_err(|e| Error::io("cannot ignore a signal", &e))?;
    }
    let (handles, interrupts) = channel();
    let lines = read(interrupts)?;
    let Ok(file) = lines.recv() else { return Ok(()) };
    let file: Subject = serde_json::from_str(&file).map_err(|e| misunderstood(&e))?;
    let mut connection = None;
    for line in lines {
        let question: Question = serde_json::from_str(&line).map_err(|e| misunderstood(&e))?;
        let opened = match connection.take() {
            Some(connection) => Ok(connection),
            None => opened(&file).inspect(|connection| {
                // Both live as long as this process.
                let _ = handles.send(connection.get_interrupt_handle());
            }),
        };
        match opened {
            Ok(opened) => ask(connection.insert(opened), &question)?,
            Err(error) => say::<()>(Err(error))?,
        }
    }
    Ok(())
}

fn ask(connection: &Connection, question: &Question) -> Result<()> {
    // The application may change its schema between two questions.
    strictness::relax(connection)?;
    match question {
        Question::Open => say(Ok(())),
        Question::Tables => say(checks::tables(connection)),
        Question::Integrity { depth, table } => say(checks::integrity(connection, *depth, table.as_deref())),
        Question::References { table } => say(references(connection, table)),
        Question::Schema => say(schema::text(connection)),
        Question::Rows { table } => say(rows(connection, table)),
    }
}

fn references(connection: &Connection, table: &str) -> Result<Option<checks::References>> {
    let has_any = checks::has_foreign_keys(connection, table)?;
    has_any.then(|| checks::references(connection, table)).transpose()
}

fn rows(connection: &Connection, table: &str) -> Result<u64> {
    Ok(connection.query_row(&schema::count_in_steps(table), [], |row| row.get(0))?)
}

fn opened(file: &Subject) -> Result<Connection> {
    match file {
        Subject::Copy { path } => {
            let bytes = file_bytes(path);
            bounds::of_process(bytes)?;
            let connection = open::immutable(path)?;
            bounds::of_connection(&connection, bytes)?;
            Ok(connection)
        }
        Subject::Live { path, identity, busy_timeout } => {
            let found = access::check(path)?;
            let bytes = bounds::bytes_of(path);
            bounds::of_process(bytes)?;
            let connection = open::another(path)?;
            if identity.is_some_and(|expected| expected != found) || access::identity(path) != Some(found) {
                return Err(replaced(path));
            }
            connection.busy_timeout(*busy_timeout)?;
            bounds::of_connection(&connection, bytes)?;
            Ok(connection)
        }
    }
}

fn replaced(path: &Path) -> Error {
    Error::new(
        Reason::Replaced,
        format!("another file was put in place of {} during the run", path.display()),
    )
}

/// The lines of standard input. When it ends, so does this process: by itself where it can, and
/// otherwise at once.
fn read(interrupts: Receiver<InterruptHandle>) -> Result<Receiver<String>> {
    let (lines, receiver) = channel();
    let reading = move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if lines.send(line).is_err() {
                break;
            }
        }
        drop(lines);
        for interrupt in interrupts.try_iter() {
            interrupt.interrupt();
        }
        std::thread::sleep(TO_END);
        // One call of a function that takes hours looks at nothing.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        abort();
    };
    let spawned = std::thread::Builder::new().name("questions".into()).spawn(reading);
    spawned.map_err(|e| Error::io("cannot start a thread", &e))?;
    Ok(receiver)
}

fn say<T: Serialize>(found: Result<T>) -> Result<()> {
    let answer = found.map_or_else(|error| Answer::Failed(explained(error).into()), Answer::Found);
    let mut line = serde_json::to_vec(&answer).map_err(|e| misunderstood(&e))?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line).and_then(|()| out.flush()).map_err(|e| Error::io("cannot answer", &e))
}

/// SQLite's words for what is past the bounds say nothing of why.
fn explained(error: Error) -> Error {
    if !matches!(error.primary(), Some(SQLITE_TOOBIG | SQLITE_NOMEM)) {
        return error;
    }
    let text = format!(
        "an expression of its schema (a CHECK, a generated column, an index) takes more memory than the file has any use \
         for ({})",
        error.message
    );
    Error::new(Reason::Sqlite, text)
}

fn misunderstood(cause: &serde_json::Error) -> Error {
    Error::new(Reason::Sqlite, format!("a question that makes no sense: {cause}"))
}
