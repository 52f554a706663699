//! The one error of the program: what failed, why, and whether trying again can help. Must never
//! carry SQL literals, credentials or row data: its text reaches the log and the run history.

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::descriptors;
pub use cause::Cause;
pub use reason::{Class, Reason};

mod cause;
mod reason;

/// What failed, why, and what to do about it, in one sentence or two for the operator.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Why, as one word.
    pub reason: Reason,
    /// What failed and what to do: complete sentences without a final full stop.
    pub message: String,
    /// What SQLite said, where the error is one of its.
    pub sqlite: Option<Failure>,
    /// The file that the message names.
    pub file: Option<PathBuf>,
}

/// What SQLite said of a statement, as far as decisions are made by it. Its text is for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Failure {
    /// Its extended result code (<https://www.sqlite.org/rescode.html>).
    pub code: i32,
    /// What SQLite has no code for.
    pub cause: Option<Cause>,
}

impl Failure {
    /// The primary result code: the low byte.
    pub const fn primary(&self) -> i32 {
        self.code & 0xFF
    }

    fn of(cause: &rusqlite::Error, text: &str) -> Option<Self> {
        let code = match cause {
            rusqlite::Error::SqliteFailure(failure, _) => failure.extended_code,
            rusqlite::Error::SqlInputError { error, .. } => error.extended_code,
            _ => return None,
        };
        Some(Self { code, cause: Cause::of(text) })
    }
}

/// `Result` with this crate's [`struct@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with its reason and its text.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), sqlite: None, file: None }
    }

    /// An error of the operating system, with what was being done:
    /// `cannot write /x/y: No space left on device`.
    pub fn io(doing: impl fmt::Display, cause: &std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        let reason = match cause.kind() {
            _ if is_out_of_descriptors(cause) => {
                let text = format!("{doing}: {}; {}", strip_os_code(cause), descriptors::REMEDY);
                return Self::new(Reason::NoDescriptors, text);
            }
            K::NotFound => Reason::NotFound,
            K::PermissionDenied => Reason::Permission,
            K::ReadOnlyFilesystem => Reason::ReadOnly,
            K::StorageFull | K::QuotaExceeded => Reason::NoSpace,
            _ => Reason::Io,
        };
        Self::new(reason, format!("{doing}: {}", strip_os_code(cause)))
    }

    /// The same error of a file that its message names.
    #[must_use]
    pub fn of(mut self, file: &Path) -> Self {
        self.file = Some(file.to_owned());
        self
    }

    /// What SQLite has no code for, where it said so.
    pub fn cause(&self) -> Option<&Cause> {
        self.sqlite.as_ref()?.cause.as_ref()
    }

    /// The same error as one of the text by which a schema makes `name`, which its application reads:
    /// `unsupported` where it is known to be refused only here, `damaged` otherwise.
    #[must_use]
    pub fn of_schema(mut self, name: &str) -> Self {
        let cause = Cause::of_schema(&self.message)
            .or_else(|| self.cause().cloned().filter(Cause::is_of_the_application));
        self.reason = if cause.is_some() { Reason::Unsupported } else { Reason::Damaged };
        self.message = not_read(name, &self.message);
        if let Some(failure) = &mut self.sqlite {
            failure.cause = cause;
        }
        self
    }

    /// SQLite's primary result code, where the error is one of its.
    pub fn primary(&self) -> Option<i32> {
        self.sqlite.as_ref().map(Failure::primary)
    }

    /// The same error with what was being done put in front: `backup of x: …`.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// Whether trying again can help.
    pub const fn class(&self) -> Class {
        self.reason.class()
    }
}

fn is_out_of_descriptors(cause: &std::io::Error) -> bool {
    matches!(Errno::from_io_error(cause), Some(Errno::MFILE | Errno::NFILE))
}

/// `No space left on device (os error 28)` without the number, which tells an operator nothing.
fn strip_os_code(cause: &std::io::Error) -> String {
    let text = cause.to_string();
    match text.rfind(" (os error ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// SQLite's text without what it quotes of a statement, where that may be a value.
fn without_data(text: String) -> String {
    for quoting in [
        "unrecognized token: ",
        "bad JSON path: ",
        "fts5: syntax error near ",
        "malformed MATCH expression: ",
        "unknown special query: ",
    ] {
        if let Some(at) = text.find(quoting) {
            return text[..at + quoting.len()].trim_end().trim_end_matches(':').to_owned();
        }
    }
    let is_value = |rest: &str| {
        rest.starts_with(|c: char| c.is_ascii_digit() || "'\"`[".contains(c))
            || rest.chars().nth(1) == Some('\'')
    };
    match text.strip_prefix("near \"") {
        Some(rest) if rest.len() > 1 && is_value(rest) => String::from("syntax error near a value"),
        _ => text,
    }
}

/// What is said of a part of a schema that cannot be read here.
fn not_read(name: &str, why: &str) -> String {
    format!("{name} of its schema cannot be read here: {why}")
}

/// Whether SQLite met a hot journal where it may only read.
const fn is_to_be_rolled_back(failure: &rusqlite::ffi::Error) -> bool {
    failure.extended_code == rusqlite::ffi::SQLITE_READONLY_ROLLBACK
}

/// How SQLite's own word for an error of the operating system begins. It names no file.
const DISK_ERROR: &str = "disk I/O error";

impl From<rusqlite::Error> for Error {
    fn from(cause: rusqlite::Error) -> Self {
        use rusqlite::ffi::ErrorCode as C;
        let text = match &cause {
            // `SqlInputError` shows the whole SQL text; its message alone names the table or
            // function.
            rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
            // RAISE may put the row's own values into its text.
            rusqlite::Error::SqliteFailure(failure, _)
                if failure.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_TRIGGER =>
            {
                String::from("a trigger refuses it (RAISE)")
            }
            // SQLite takes the room for this file in advance, and has no other word for a disk that
            // has none.
            rusqlite::Error::SqliteFailure(failure, _)
                if failure.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE =>
            {
                format!(
                    "{DISK_ERROR}: its -shm file cannot be made or grown; free some space if that disk is full"
                )
            }
            rusqlite::Error::SqliteFailure(failure, _) if is_to_be_rolled_back(failure) => String::from(
                "what a crash left in its -journal must be undone before it can be read, and that takes the right to \
                 write; let its application open it where it is writable",
            ),
            other => other.to_string(),
        };
        let text = without_data(text);
        let failure = Failure::of(&cause, &text);
        let is_refused = failure.as_ref().is_some_and(|f| matches!(f.cause, Some(Cause::RefusedSchema(_))));
        let text = cause::schema(&text)
            .filter(|_| is_refused)
            .map_or_else(|| text.clone(), |(name, why)| not_read(name, why));
        let reason = match cause.sqlite_error_code() {
            Some(C::DatabaseBusy | C::DatabaseLocked) => Reason::Busy,
            Some(C::OperationInterrupted) => Reason::Cancelled,
            Some(C::DatabaseCorrupt) if !is_refused => Reason::Damaged,
            Some(C::NotADatabase) => Reason::NotADatabase,
            _ if matches!(&cause, rusqlite::Error::SqliteFailure(f, _) if is_to_be_rolled_back(f)) => {
                Reason::ReadOnly
            }
            Some(C::ReadOnly | C::PermissionDenied) => Reason::Permission,
            Some(C::DiskFull) => Reason::NoSpace,
            Some(C::SystemIoFailure) => Reason::Io,
            _ if failure
                .as_ref()
                .and_then(|f| f.cause.as_ref())
                .is_some_and(Cause::is_of_the_application) =>
            {
                Reason::Unsupported
            }
            _ => Reason::Sqlite,
        };
        Self { sqlite: failure, ..Self::new(reason, text) }
    }
}
